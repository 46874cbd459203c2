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

Groups = Iterable[dict[str, Any]]


def _sgd(groups: Groups, learning_rate: float) -> Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True, fused=True)


def _adamw(groups: Groups, learning_rate: float) -> Optimizer:
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def _rmsprop(groups: Groups, learning_rate: float) -> Optimizer:
    return torch.optim.RMSprop(groups, lr=learning_rate, alpha=0.9, eps=1e-3, momentum=0.9, foreach=True)


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

    def adapt(self, arch: Architecture) -> Architecture:
        """The architecture with what the recipe changes of it; the weights' shapes stay."""
        if self.norm_momentum is None:
            return arch
        return attrs.evolve(arch, norm=attrs.evolve(arch.norm, momentum=self.norm_momentum))

    def steps(self, images: int) -> int:
        """Steps of an epoch."""
        return max(1, images // self.batch_size)

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
