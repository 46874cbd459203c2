"""How a proxy training goes: the recipe's numbers, its optimizer and its learning rate."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
import torch
from attrs import field, frozen
from attrs.validators import ge, gt, in_, lt
from torch.optim import Optimizer

from nas.arch.spec import Architecture

Groups = Sequence[Mapping[str, Any]]


def _sgd(groups: Groups, recipe: "Recipe") -> Optimizer:
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True, fused=True)


def _adamw(groups: Groups, recipe: "Recipe") -> Optimizer:
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True)


def _rmsprop(groups: Groups, recipe: "Recipe") -> Optimizer:
    return torch.optim.RMSprop(groups, lr=recipe.learning_rate, alpha=0.9, eps=1e-3, momentum=0.9, foreach=True)


OPTIMIZERS: Mapping[str, Callable[[Groups, "Recipe"], Optimizer]] = MappingProxyType(
    {"sgd": _sgd, "adamw": _adamw, "rmsprop": _rmsprop}
)


@frozen
class Recipe:
    """What a short training does; the defaults are those that did best in 3 to 5 epochs at 32 pixels.

    Attributes:
        optimizer: "sgd" (Nesterov), "adamw" or "rmsprop" (as in EfficientNet).
        batch_size: images of a step, about: the batches of an epoch are of one size, give or take an image.
        learning_rate: at its peak.
        warm_up: the share of all steps in which the learning rate rises to its peak; then it falls to 0.
        weight_decay: of the weights; normalisation and biases have none.
        label_smoothing: share of the target that is spread over all classes.
        shift: the largest random offset of an image, as a share of its side.
        norm_momentum: batch normalisation's, in torch's sense, in place of the architecture's: with the papers' 0.01 the
            running statistics need hundreds of steps. None keeps the architecture's.
        regularise: keep the architecture's dropout and stochastic depth, which hold a short training back.
    """

    optimizer: str = field(default="sgd", validator=in_(tuple(OPTIMIZERS)))
    batch_size: int = field(default=64, validator=ge(2))
    learning_rate: float = field(default=0.1, validator=gt(0))
    warm_up: float = field(default=0.25, validator=[ge(0), lt(1)])
    weight_decay: float = field(default=5e-4, validator=ge(0))
    label_smoothing: float = field(default=0.1, validator=[ge(0), lt(1)])
    shift: float = field(default=1 / 16, validator=[ge(0), lt(1)])
    norm_momentum: float | None = 0.1
    regularise: bool = False
    eps: float = 1e-3

    def adapt(self, arch: Architecture) -> Architecture:
        if self.norm_momentum is not None:
            arch = attrs.evolve(arch, norm=attrs.evolve(arch.norm, momentum=self.norm_momentum))
        if self.regularise:
            return arch
        return attrs.evolve(arch, drop_path=0.0, head=attrs.evolve(arch.head, dropout=0.0))

    def make_optimizer(self, model):
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        return OPTIMIZERS[self.optimizer]([{"params": decayed, "weight_decay": self.weight_decay}, {"params": plain, "weight_decay": 0.0}], self)

    def rate(self, step, steps):
        done = step / steps
        if done < self.warm_up: return self.learning_rate * (done+1/steps) / self.warm_up
        return self.learning_rate * .5 * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up)))
