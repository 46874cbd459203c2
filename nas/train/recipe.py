"""How a proxy training goes: the recipe's numbers, its optimizer and its learning rate."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
import torch
from attrs import Attribute, field, frozen
from torch import nn
from torch.optim import Optimizer

from nas.arch.spec import Architecture
from nas.errors import NasError
from nas.train.precision import AUTO, PRECISIONS

Groups = Iterable[dict[str, Any]]


def _sgd(groups: Groups, learning_rate: float) -> Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True, fused=True)


def _adamw(groups: Groups, learning_rate: float) -> Optimizer:
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def _rmsprop(groups: Groups, learning_rate: float) -> Optimizer:
    return torch.optim.RMSprop(groups, lr=learning_rate, alpha=0.9, eps=1e-3, momentum=0.9, foreach=True)


# What the learning rate is multiplied by where the batch is halved: in proportion for SGD (arXiv 1706.02677), by the
# square root for adaptive methods (arXiv 2205.10287).
HALVED: Mapping[str, float] = MappingProxyType({"adamw": 0.5**0.5, "sgd": 0.5, "rmsprop": 0.5**0.5})
# A batch is not halved to fewer images than these: normalisation needs some.
SMALLEST_BATCH = 8

OPTIMIZERS: Mapping[str, Callable[[Groups, float], Optimizer]] = MappingProxyType(
    {"adamw": _adamw, "sgd": _sgd, "rmsprop": _rmsprop}
)


def _is(rule: str, holds: Callable[[Any], bool]) -> Callable[[object, "Attribute[Any]", Any], None]:
    def check(_recipe: object, attribute: "Attribute[Any]", value: Any) -> None:
        if not holds(value):
            raise NasError(f"the recipe's {attribute.name} is {value!r}", f"use {rule}")

    return check


_SHARE = _is("a number from 0 to below 1", lambda value: 0 <= value < 1)


@frozen
class Recipe:
    """What a short training does; the defaults did best in 3 to 5 epochs on images of 32 pixels.

    Attributes:
        optimizer: "adamw", "sgd" (Nesterov) or "rmsprop" (EfficientNet's).
        batch_size: images of a step; an epoch's images are dealt out evenly, so that none is left over.
        learning_rate: at its peak.
        warm_up: the share of all steps in which the learning rate rises to its peak; from there it falls to 0.
        weight_decay: of weights; normalisation and biases have none.
        label_smoothing: the share of a target that is spread over all classes.
        shift: the largest random offset of an image, as a share of its side.
        norm_momentum: batch normalisation's in place of the architecture's, in torch's sense; None keeps that one, but
            the papers' 0.01 needs hundreds of steps until its running statistics can be used.
        quiet_start: begin with a classifier of zeros and with branches that add nothing to their skips; the papers'
            initialisation needs more steps than a short training has.
        ema: the share of a running average of weights that each step keeps; the average is what is scored. 0 scores the
            weights themselves, which did as well: the learning rate falls to 0.
        precision: of the arithmetic: "fp32", "bf16", "fp16", on a graphics card also "tf32", or "auto" for the
            device's usual one.

    Raises:
        NasError: a number lies outside its range.
    """

    optimizer: str = field(default="adamw", validator=_is(f"one of {', '.join(OPTIMIZERS)}", OPTIMIZERS.__contains__))
    batch_size: int = field(default=32, validator=_is("2 or more", lambda value: value >= 2))
    learning_rate: float = field(default=3e-3, validator=_is("a number above 0", lambda value: value > 0))
    warm_up: float = field(default=0.25, validator=_SHARE)
    weight_decay: float = field(default=0.05, validator=_is("0 or more", lambda value: value >= 0))
    label_smoothing: float = field(default=0.1, validator=_SHARE)
    shift: float = field(default=1 / 16, validator=_SHARE)
    norm_momentum: float | None = field(
        default=0.2, validator=_is("a number from above 0 to 1, or None", lambda value: value is None or 0 < value <= 1)
    )
    quiet_start: bool = True
    ema: float = field(default=0.0, validator=_SHARE)
    precision: str = field(
        default=AUTO, validator=_is(f"one of {', '.join((AUTO, *PRECISIONS))}", (AUTO, *PRECISIONS).__contains__)
    )

    def adapt(self, arch: Architecture) -> Architecture:
        """The architecture with what the recipe changes of it; the weights' shapes stay."""
        if self.norm_momentum is None:
            return arch
        return attrs.evolve(arch, norm=attrs.evolve(arch.norm, momentum=self.norm_momentum))

    def steps(self, images: int) -> int:
        """Steps of an epoch."""
        return max(1, images // self.batch_size)

    def smaller(self) -> "Recipe | None":
        """The recipe with half the batch and the learning rate that goes with it; None below the smallest batch."""
        if self.batch_size // 2 < SMALLEST_BATCH:
            return None
        rate = self.learning_rate * HALVED[self.optimizer]
        return attrs.evolve(self, batch_size=self.batch_size // 2, learning_rate=rate)

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        """The optimizer of a model's parameters; vectors (normalisation, biases) are not decayed."""
        decays: dict[float, list[nn.Parameter]] = {self.weight_decay: [], 0.0: []}
        for parameter in model.parameters():
            decays[self.weight_decay if parameter.ndim > 1 else 0.0].append(parameter)
        groups = [{"params": params, "weight_decay": decay} for decay, params in decays.items()]
        return OPTIMIZERS[self.optimizer](groups, self.learning_rate)

    def rate(self, done: float) -> float:
        """The learning rate when a share `done` of all steps is behind: up in a line, down in half a cosine."""
        if done < self.warm_up:
            return self.learning_rate * done / self.warm_up
        fallen = (done - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * (1 + math.cos(math.pi * fallen)) / 2
