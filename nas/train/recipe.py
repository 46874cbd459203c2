"""The hyperparameters of a short training run, with its optimizer and its learning rate schedule."""

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

ParameterGroups = Iterable[dict[str, Any]]


def _sgd(groups: ParameterGroups, learning_rate: float) -> Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True, fused=True)


def _adamw(groups: ParameterGroups, learning_rate: float) -> Optimizer:
    # On a CPU a step with lists of tensors (`foreach`) takes 1.01 to 1.10 times as long (docs/short_training.md).
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def _rmsprop(groups: ParameterGroups, learning_rate: float) -> Optimizer:
    # EfficientNet (arXiv 1905.11946, section 5.2): decay 0.9 and momentum 0.9; its code has eps 1e-3.
    return torch.optim.RMSprop(groups, lr=learning_rate, alpha=0.9, eps=1e-3, momentum=0.9, foreach=True)


# Factor of the learning rate when the batch is halved: for SGD the rate is proportional to the batch (Goyal et al.,
# arXiv 1706.02677), for adaptive methods to its square root (Malladi et al., arXiv 2205.10287).
HALF_BATCH_RATE_FACTORS: Mapping[str, float] = MappingProxyType({"adamw": 0.5**0.5, "sgd": 0.5, "rmsprop": 0.5**0.5})
NO_FACTORS: Mapping[str, float] = MappingProxyType({})
# A batch is not halved to fewer images: the statistics of batch normalization become too noisy.
SMALLEST_BATCH = 8

OPTIMIZERS: Mapping[str, Callable[[ParameterGroups, float], Optimizer]] = MappingProxyType(
    {"adamw": _adamw, "sgd": _sgd, "rmsprop": _rmsprop}
)


def must_be(rule: str, holds: Callable[[Any], bool]) -> Callable[[object, "Attribute[Any]", Any], None]:
    """Return a validator of an attribute.

    Args:
        rule: Rule in words, as it continues "it must be …".
        holds: Function that returns whether a value follows the rule.
    """

    def check(_recipe: object, attribute: "Attribute[Any]", value: Any) -> None:
        if not holds(value):
            raise NasError(
                f"{attribute.name} of the recipe is {value!r}; it must be {rule}", f"change {attribute.name}"
            )

    return check


_SHARE = must_be("a number from 0 to below 1", lambda value: 0 <= value < 1)


@frozen
class Recipe:
    """Hold the hyperparameters of a short training run.

    The defaults gave the highest accuracies after 3 to 5 epochs on images of 32 pixels.

    Attributes:
        optimizer: "adamw", "sgd" (with Nesterov momentum) or "rmsprop" (with the constants of EfficientNet).
        batch_size: Number of images of a step. The images of an epoch are divided evenly among its steps, so that no
            image is left out; a batch may therefore have some images more.
        learning_rate: Learning rate at its peak.
        warm_up: Share of all steps in which the learning rate rises to its peak; afterwards it falls to 0.
        weight_decay: Weight decay of weights; normalization and biases have none.
        label_smoothing: Share of the target probability that is spread over all classes.
        shift: Largest random offset of an image, as a share of its side.
        norm_momentum: Momentum of batch normalization, in torch's sense, in place of the architecture's. None keeps
            the architecture's, but the papers' 0.01 needs hundreds of steps until the running statistics are usable.
        quiet_start: Whether the classifier and the last batch normalization of each residual branch start at zero. The
            papers' initialization needs more steps than a short training run has.
        ema: Share of a moving average of weights that each step keeps; the average is then scored. With 0 the weights
            themselves are scored, which did as well, because the learning rate falls to 0.
        precision: Arithmetic precision: "fp32", "bf16", "fp16", on a GPU also "tf32", or "auto" for the device's usual
            one.

    Raises:
        NasError: A value is outside its range.

    Example:
        >>> recipe = Recipe(batch_size=64, learning_rate=0.01)
        >>> recipe.steps_per_epoch(images=1000)
        15
        >>> [round(recipe.learning_rate_at(done), 3) for done in (0, 0.25, 0.625, 1)]
        [0.0, 0.01, 0.005, 0.0]
    """

    optimizer: str = field(
        default="adamw", validator=must_be(f"one of {', '.join(OPTIMIZERS)}", OPTIMIZERS.__contains__)
    )
    # Larger batches are faster, but there are fewer steps: after 3 epochs the accuracy is 34.5% with batches of 32 and
    # 31.6% with batches of 128 (docs/short_training.md).
    batch_size: int = field(default=32, validator=must_be("2 or more", lambda value: value >= 2))
    learning_rate: float = field(default=3e-3, validator=must_be("a number above 0", lambda value: value > 0))
    warm_up: float = field(default=0.25, validator=_SHARE)
    weight_decay: float = field(default=0.05, validator=must_be("0 or more", lambda value: value >= 0))
    label_smoothing: float = field(default=0.1, validator=_SHARE)
    shift: float = field(default=1 / 16, validator=_SHARE)
    norm_momentum: float | None = field(
        default=0.2,
        validator=must_be("a number from above 0 to 1, or None", lambda value: value is None or 0 < value <= 1),
    )
    quiet_start: bool = True
    ema: float = field(default=0.0, validator=_SHARE)
    precision: str = field(
        default=AUTO, validator=must_be(f"one of {', '.join((AUTO, *PRECISIONS))}", (AUTO, *PRECISIONS).__contains__)
    )

    def adapt(self, arch: Architecture) -> Architecture:
        """Return the architecture with the recipe's batch-norm momentum; the shapes of its weights do not change."""
        if self.norm_momentum is None:
            return arch
        return attrs.evolve(arch, norm=attrs.evolve(arch.norm, momentum=self.norm_momentum))

    def passes_per_epoch(self, images: int) -> int:  # noqa: ARG002 -- other recipes count them
        """Return how often an epoch trains on each of so many images; this recipe trains on each once."""
        return 1

    def steps_per_epoch(self, images: int) -> int:
        """Return the number of steps of an epoch over so many images, at least 1."""
        return self.passes_per_epoch(images) * self._steps_per_pass(images)

    def _steps_per_pass(self, images: int) -> int:
        return max(1, images // self.batch_size)

    def with_half_batch(self) -> "Recipe | None":
        """Return the recipe with half the batch and a matching learning rate, or None below `SMALLEST_BATCH`.

        >>> half = Recipe(optimizer="sgd", batch_size=32, learning_rate=0.1).with_half_batch()
        >>> half.batch_size, half.learning_rate
        (16, 0.05)
        """
        if self.batch_size // 2 < SMALLEST_BATCH:
            return None
        learning_rate = self.learning_rate * HALF_BATCH_RATE_FACTORS[self.optimizer]
        return attrs.evolve(self, batch_size=self.batch_size // 2, learning_rate=learning_rate)

    def make_optimizer(self, model: nn.Module, rate_factors: Mapping[str, float] = NO_FACTORS) -> Optimizer:
        """Return an optimizer of the model's parameters; vectors, which are norms and biases, have no weight decay.

        Args:
            model: Model to optimize.
            rate_factors: Factors of the learning rate of some parameters by name. A training run multiplies the
                learning rate of a step by the value `rate_factor` of a parameter group.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {(self.weight_decay, 1.0): [], (0.0, 1.0): []}
        for name, parameter in model.named_parameters():
            # No decay of biases and normalization, as in "Bag of tricks" (arXiv 1812.01187, section 3.1).
            decay = self.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((decay, rate_factors.get(name, 1.0)), []).append(parameter)
        options = [
            {"params": params, "weight_decay": decay, "rate_factor": factor}
            for (decay, factor), params in groups.items()
        ]
        return OPTIMIZERS[self.optimizer](options, self.learning_rate)

    def learning_rate_at(self, done: float) -> float:
        """Return the learning rate after a share of all steps: it rises linearly and falls as half a cosine.

        Args:
            done: Share of the steps that are done, from 0 to 1.
        """
        if done < self.warm_up:
            return self.learning_rate * done / self.warm_up
        fallen = (done - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * (1 + math.cos(math.pi * fallen)) / 2
