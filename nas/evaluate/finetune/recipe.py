"""The hyperparameters of fine-tuning, and of distillation from the fine-tuned source network."""

import math
from typing import Any

import attrs
from attrs import field, frozen

from nas.arch.spec import Architecture
from nas.train.recipe import Recipe, must_be


def _with_default(name: str, default: float) -> Any:
    """Return an attribute of `Recipe` with another default; it keeps the rule for its values."""
    return field(default=default, validator=attrs.fields_dict(Recipe)[name].validator)


@frozen
class FinetuneRecipe(Recipe):
    """Hold the hyperparameters of a training run that continues from inherited weights.

    `experiments/pretrained/finetune.md` compares the defaults with other values.

    Attributes:
        head_rate: Factor of the learning rate of the head, and of other parts that inherit nothing.
        min_steps: Smallest number of steps of an epoch. An epoch passes over a small data set several times, because
            the few steps of one pass change a network too little.

    Raises:
        NasError: A value is outside its range.
    """

    learning_rate: float = _with_default("learning_rate", 1e-3)
    warm_up: float = _with_default("warm_up", 0.3)
    weight_decay: float = _with_default("weight_decay", 0.01)
    label_smoothing: float = _with_default("label_smoothing", 0.0)
    norm_momentum: float | None = _with_default("norm_momentum", 0.1)
    # The outputs of the teacher are those for images that are not shifted.
    shift: float = _with_default("shift", 0.0)
    quiet_start: bool = False
    head_rate: float = field(default=2.0, validator=must_be("a number above 0", lambda value: value > 0))

    min_steps: int = field(default=30, validator=must_be("0 or more", lambda value: value >= 0))

    def passes_per_epoch(self, images: int) -> int:
        """Return how often an epoch trains on each of so many images.

        >>> [FinetuneRecipe(min_steps=30).passes_per_epoch(images) for images in (240, 480, 2000)]
        [5, 2, 1]
        """
        return max(1, math.ceil(self.min_steps / self._steps_per_pass(images)))

    def adapt(self, arch: Architecture) -> Architecture:
        """Return the architecture as it is trained; the shapes of its weights do not change.

        It has the recipe's batch-norm momentum, and neither dropout nor stochastic depth: a short training run needs
        none, and the features of a network with dropout are no target for distillation.
        """
        adapted = super().adapt(arch)
        return attrs.evolve(adapted, head=attrs.evolve(adapted.head, dropout=0.0), drop_path=0.0)


@frozen
class DistillationRecipe:
    """Hold the hyperparameters of the teacher and of what the networks learn from it.

    Attributes:
        training: Hyperparameters of the fine-tuning of the source network, which is the teacher.
        epochs: Number of epochs of this fine-tuning.
        share: Share of the teacher in the loss; see `nas.train.distillation.Distillation`.
        temperature: Temperature of the probabilities.
        feature_weight: Weight of the distance of the features.

    Raises:
        NasError: A value is outside its range.
    """

    training: FinetuneRecipe = field(factory=lambda: FinetuneRecipe(shift=1 / 16))
    epochs: int = field(default=6, validator=must_be("1 or more", lambda value: value >= 1))
    share: float = field(default=0.5, validator=must_be("a number from 0 to 1", lambda value: 0 <= value <= 1))
    temperature: float = field(default=2.0, validator=must_be("a number above 0", lambda value: value > 0))
    feature_weight: float = field(default=2.0, validator=must_be("0 or more", lambda value: value >= 0))
