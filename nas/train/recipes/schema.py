"""The keys of a recipe of full training, with their allowed values, and what follows from them."""

import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs
from attrs import Attribute, field, frozen
from torch import nn
from torch.optim import Optimizer

from nas.arch.spec import Architecture
from nas.errors import NasError
from nas.train.optimizers import ALGORITHMS, Algorithm
from nas.train.precision import AUTO, PRECISIONS
from nas.train.recipe import NO_FACTORS, SMALLEST_BATCH, Recipe
from nas.train.recipes.values import Names, Numbers, Truths, Values, format_value
from nas.train.schedules import FORMS, Schedule

# Keys of the metadata of an attribute.
VALUES, TEXT = "values", "text"

# A batch is not made smaller than this to have more steps: smaller ones learned no more (docs/training.md).
FITTED_BATCH = 32

LOSSES = ("cross-entropy", "squared")
FLIPS = ("random", "alternating", "none")
POLICIES = (
    "none",
    "randaugment",
    "autoaugment-cifar10",
    "autoaugment-imagenet",
    "autoaugment-svhn",
    "augmix",
)
# Power of the batch size, relative to `rate_batch`, that the learning rate is multiplied by: for SGD the rate is
# proportional to the batch (arXiv 1706.02677), for adaptive methods to its square root (arXiv 2205.10287).
RATE_RULES: Mapping[str, float] = MappingProxyType({"none": 0.0, "linear": 1.0, "root": 0.5})

_SHARE = Numbers(0, 1)
_SHARE_BELOW_1 = Numbers(0, 1, below=True)
_OPTIONAL_SHARE = Numbers(0, 1, below=True, optional=True)
_POSITIVE = Numbers(0, above=True)
_POSITIVE_SHARE = Numbers(0, 1, above=True)
_NOT_NEGATIVE = Numbers(0)


def _check(_recipe: object, attribute: "Attribute[Any]", value: Any) -> None:
    values: Values = attribute.metadata[VALUES]
    if not values.holds(value):
        shown = reprlib.repr(value) if isinstance(value, str) else format_value(value)[:80]
        raise NasError(
            f"{attribute.name} of the recipe is {shown}; it must be {values.rule}", f"change {attribute.name}"
        )


def _key(default: Any, values: Values, text: str) -> Any:
    """Return an attribute with its allowed values and a sentence that describes it."""
    return field(default=default, validator=_check, metadata={VALUES: values, TEXT: text})


@frozen
class TrainingRecipe(Recipe):
    """Hold the hyperparameters of a full training run; `describe_keys` describes each of them.

    A value that the search's `Recipe` does not have is switched off by default, so that both train alike.

    Raises:
        NasError: A value is outside its range.

    Example:
        >>> recipe = TrainingRecipe(learning_rate=0.1, rate_rule="linear", batch_size=512)
        >>> recipe.peak_rate
        0.2
        >>> TrainingRecipe(mixup=-1)
        Traceback (most recent call last):
        nas.errors.NasError: mixup of the recipe is -1; it must be a number from 0 to 100
          change mixup
    """

    epochs: int = _key(20, Numbers(1, 100_000, whole=True), "Number of epochs.")
    batch_size: int = _key(32, Numbers(2, 1_000_000, whole=True), "Number of images of a step of the optimizer.")
    min_steps: int = _key(
        0,
        Numbers(0, 100_000, whole=True),
        "Smallest number of steps of an epoch; an epoch passes over few images repeatedly for it.",
    )
    min_total_steps: int = _key(
        0,
        Numbers(0, 10_000_000, whole=True),
        f"Smallest number of steps of all epochs; a batch is made smaller for it, to {FITTED_BATCH} images at least.",
    )
    accumulation: int = _key(
        1, Numbers(1, 10_000, whole=True), "Number of parts in which a batch is computed, to need less memory."
    )
    precision: str = _key(
        AUTO, Names((AUTO, *PRECISIONS)), "Arithmetic precision; `auto` is the usual one of the device."
    )
    cuda_graphs: bool = _key(
        False, Truths(), "Whether a step on a CUDA GPU is recorded once and replayed, which saves time of the CPU."
    )

    optimizer: str = _key(
        "adamw", Names(tuple(ALGORITHMS)), "Optimizer; `sgd` has Nesterov momentum, `rmsprop-tf` is TensorFlow's form."
    )
    momentum: float = _key(0.9, _SHARE_BELOW_1, "Momentum of `sgd` and RMSProp, and β1 of `adamw`.")
    square_decay: float = _key(
        0.999, _SHARE_BELOW_1, "Share of the average of squared gradients that a step keeps (RMSProp, β2 of `adamw`)."
    )
    epsilon: float = _key(1e-8, _POSITIVE, "Number that keeps the division by small gradients finite.")
    learning_rate: float = _key(3e-3, _POSITIVE, "Learning rate at its peak, for a batch of `rate_batch` images.")
    rate_rule: str = _key(
        "none", Names(tuple(RATE_RULES)), "How the learning rate grows with the batch, relative to `rate_batch`."
    )
    rate_batch: int = _key(256, Numbers(1, 1_000_000, whole=True), "Batch that `learning_rate` is given for.")
    head_rate: float = _key(1.0, _POSITIVE, "Factor of the learning rate of the head.")
    bias_rate: float = _key(
        1.0, _POSITIVE, "Factor of the learning rate of biases, those of batch normalization included."
    )
    layer_rate: float = _key(
        1.0, _POSITIVE_SHARE, "Factor of the learning rate from each stage to the one before it, towards the image."
    )
    weight_decay: float = _key(0.05, _NOT_NEGATIVE, "Weight decay of the weights of convolutions and linear layers.")
    decay_vectors: bool = _key(
        False, Truths(), "Whether biases and the parameters of batch normalization have weight decay too."
    )
    gradient_clip: float | None = _key(
        None, Numbers(0, above=True, optional=True), "Largest norm of the gradient of all weights together."
    )

    schedule: str = _key("cosine", Names(tuple(FORMS)), "Form of the learning rate after the warm-up.")
    warm_up: float = _key(0.25, _SHARE_BELOW_1, "Share of all steps in which the learning rate rises to its peak.")
    initial_rate: float = _key(0.0, _SHARE, "Learning rate at the beginning of the warm-up, relative to the peak.")
    final_rate: float = _key(
        0.0, _SHARE, "Learning rate at the end of `cosine`, `linear` and `one-cycle`, relative to the peak."
    )
    step_share: float = _key(
        0.3333, _POSITIVE_SHARE, "Share of all steps after which `step` and `exponential` apply `step_factor`."
    )
    step_factor: float = _key(0.1, _POSITIVE_SHARE, "Factor of the learning rate of `step` and `exponential`.")

    quiet_start: bool = _key(
        True, Truths(), "Whether the classifier and the last normalization of residual branches start at zero (zero-γ)."
    )
    norm_momentum: float | None = _key(
        0.2, Numbers(0, 1, above=True, optional=True), "Momentum of batch normalization; null is the architecture's."
    )
    dropout: float | None = _key(None, _OPTIONAL_SHARE, "Dropout before the classifier; null is the architecture's.")
    drop_path: float | None = _key(
        None, _OPTIONAL_SHARE, "Stochastic depth of the last block; null is the architecture's."
    )
    ema: float = _key(0.0, _SHARE_BELOW_1, "Share of a moving average of weights that a step keeps; 0 switches it off.")

    loss: str = _key("cross-entropy", Names(LOSSES), "Loss; `squared` is the rescaled squared loss (arXiv 2006.07322).")
    label_smoothing: float = _key(0.1, _SHARE_BELOW_1, "Share of the target that is spread over all classes.")
    squared_weight: float = _key(
        1.0, _POSITIVE, "Weight k of the true class in the squared loss; 15 for 1,000 classes."
    )
    squared_target: float = _key(
        1.0, _POSITIVE, "Target M of the true class in the squared loss; 30 for 1,000 classes."
    )

    shift: float = _key(1 / 16, _SHARE_BELOW_1, "Largest random offset of an image, as a share of its side.")
    flip: str = _key(
        "random", Names(FLIPS), "How images are mirrored, if the data allows it; `alternating` is every second epoch."
    )
    crop: float = _key(
        1.0, _POSITIVE_SHARE, "Smallest share of an image's area in a random resized crop; 1 switches it off."
    )
    policy: str = _key("none", Names(POLICIES), "Policy of random operations on colors and shapes.")
    randaugment_operations: int = _key(2, Numbers(1, 15, whole=True), "Number of operations of `randaugment`.")
    randaugment_magnitude: int = _key(9, Numbers(1, 29, whole=True), "Strength of the operations of `randaugment`.")
    augmix_weight: float = _key(12.0, _NOT_NEGATIVE, "Weight of the Jensen–Shannon divergence in the loss of `augmix`.")
    augmix_severity: int = _key(3, Numbers(1, 10, whole=True), "Strength of the operations of `augmix`.")
    augmix_width: int = _key(3, Numbers(1, 10, whole=True), "Number of chains of operations that `augmix` mixes.")
    augmix_depth: int = _key(3, Numbers(1, 10, whole=True), "Largest number of operations of a chain of `augmix`.")
    erasing: float = _key(0.0, _SHARE, "Probability that a random rectangle of an image is erased.")
    mixup: float = _key(
        0.0, Numbers(0, 100), "Parameter α of the distribution Beta(α, α) of mixup's shares; 0 switches mixup off."
    )
    cutmix: float = _key(
        0.0, Numbers(0, 100), "Parameter α of the distribution Beta(α, α) of CutMix's areas; 0 switches CutMix off."
    )

    initial_resolution: float = _key(
        1.0, _POSITIVE_SHARE, "Side of the images in the first epoch, relative to the network's resolution."
    )
    full_resolution_from: float = _key(
        0.8, _POSITIVE_SHARE, "Share of the epochs after which the images have the network's resolution."
    )
    resolution_multiple: int = _key(
        8, Numbers(1, 1024, whole=True), "Number that the side of smaller images is a multiple of, in pixels."
    )

    teacher_share: float = _key(0.5, _SHARE, "Share of the teacher in the loss, if there is a teacher.")
    teacher_temperature: float = _key(
        2.0, Numbers(0, 1000, above=True), "Temperature of the probabilities that are compared with the teacher's."
    )

    def __attrs_post_init__(self) -> None:
        if self.batch_size < 2 * self.accumulation:
            raise NasError(
                f"batch_size of the recipe is {self.batch_size} and accumulation is {self.accumulation}; each part of "
                "a batch must have 2 images or more",
                "raise batch_size, or lower accumulation",
            )
        if self.policy == "augmix" and (self.mixup or self.cutmix):
            # The divergence compares views of one image, and a mixed image is another one.
            raise NasError(
                f"policy of the recipe is augmix, mixup is {self.mixup:g} and cutmix is {self.cutmix:g}; augmix cannot "
                "be used together with mixup or CutMix",
                "set mixup and cutmix to 0, or choose another policy",
            )

    @property
    def peak_rate(self) -> float:
        """Return the learning rate at its peak, after the rule for the batch size."""
        return self.learning_rate * math.pow(self.batch_size / self.rate_batch, RATE_RULES[self.rate_rule])

    def passes_per_epoch(self, images: int) -> int:
        """Return how often an epoch trains on each of so many images."""
        return max(1, math.ceil(self.min_steps / self._steps_per_pass(images)))

    def fitted(self, images: int) -> "TrainingRecipe":
        """Return the recipe with a batch that gives `min_total_steps` steps in all epochs over so many images.

        >>> recipe = TrainingRecipe(epochs=5, batch_size=512, min_total_steps=1000)
        >>> [recipe.fitted(images).batch_size for images in (1_000, 20_000, 50_000, 200_000)]
        [32, 100, 250, 512]
        """
        if not self.min_total_steps:
            return self
        batch = max(FITTED_BATCH, 2 * self.accumulation, self.epochs * images // self.min_total_steps)
        return attrs.evolve(self, batch_size=min(self.batch_size, batch))

    def learning_rate_at(self, done: float) -> float:
        """Return the learning rate after a share of all steps, from 0 to 1."""
        schedule = Schedule(
            self.schedule, self.warm_up, self.initial_rate, self.final_rate, self.step_share, self.step_factor
        )
        return self.peak_rate * schedule(done)

    def adapt(self, arch: Architecture) -> Architecture:
        """Return the architecture as it is trained; the shapes of its weights do not change."""
        adapted = super().adapt(arch)
        if self.dropout is not None:
            adapted = attrs.evolve(adapted, head=attrs.evolve(adapted.head, dropout=self.dropout))
        return adapted if self.drop_path is None else attrs.evolve(adapted, drop_path=self.drop_path)

    def with_half_batch(self) -> "TrainingRecipe | None":
        """Return the recipe with parts of a batch that are half as large; None below `SMALLEST_BATCH` images.

        Unlike the recipe of a short training run, the optimizer's steps stay the same.
        """
        accumulation = 2 * self.accumulation
        if self.batch_size // accumulation < SMALLEST_BATCH:
            return None
        return attrs.evolve(self, accumulation=accumulation)

    def make_optimizer(self, model: nn.Module, rate_factors: Mapping[str, float] = NO_FACTORS) -> Optimizer:
        """Return an optimizer of the model's parameters.

        Args:
            model: Model to optimize, as `build_model` returns it.
            rate_factors: Factors of the learning rate of some parameters by name, in place of those by `head_rate` and
                `layer_rate`. A training run multiplies the learning rate of a step by the value `rate_factor` of a
                parameter group.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        stages = _count_stages(model)
        for name, parameter in model.named_parameters():
            decay = self.weight_decay if self.decay_vectors or parameter.ndim > 1 else 0.0
            factor = rate_factors.get(name, self._depth_factor(name, stages))
            factor *= self.bias_rate if name.endswith("bias") else 1.0
            groups.setdefault((decay, factor), []).append(parameter)
        options = [
            {"params": params, "weight_decay": decay, "rate_factor": factor}
            for (decay, factor), params in groups.items()
        ]
        algorithm = Algorithm(self.momentum, self.square_decay, self.epsilon)
        return ALGORITHMS[self.optimizer](options, self.peak_rate, algorithm)

    def _depth_factor(self, name: str, stages: int) -> float:
        """Return the factor of a parameter: `head_rate` for the head, a power of `layer_rate` for the rest."""
        if name.startswith("head."):
            return self.head_rate
        stage = _stage_of(name)
        # The last stage has the distance 1 from the head, and the stem is one stage before the first.
        return self.layer_rate ** (stages - stage)


def _stage_of(name: str) -> int:
    """Return the number of a parameter's stage, counted from 0; -1 for the stem."""
    found = re.match(r"stages\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _count_stages(model: nn.Module) -> int:
    return 1 + max((_stage_of(name) for name, _ in model.named_parameters()), default=-1)


def complete(recipe: Recipe) -> TrainingRecipe:
    """Return a recipe with all keys: a recipe of a short training run has none of the further techniques."""
    if isinstance(recipe, TrainingRecipe):
        return recipe
    return TrainingRecipe(**{name: getattr(recipe, name) for name in attrs.fields_dict(Recipe)})


def describe_keys() -> Iterator[tuple[str, str, str, str]]:
    """Yield each key's name, its allowed values in words, its default as text, and a sentence that describes it."""
    for attribute in attrs.fields(TrainingRecipe):
        values: Values = attribute.metadata[VALUES]
        yield attribute.name, values.rule, format_value(attribute.default), attribute.metadata[TEXT]
