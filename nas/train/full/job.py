"""The job of a full training run: everything that its weights depend on, and how it starts."""

import hashlib
from collections.abc import Mapping
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Tensor, nn

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.data.augment import Scaling
from nas.data.base import ImageData
from nas.errors import NasError
from nas.models.build import build_model
from nas.models.start import zero_init_residual
from nas.train.defaults import METRIC_NAMES
from nas.train.first_weights import (
    gate_means_of,
    head_and_fresh_parameters,
    inherit_for,
    normalization_for,
    re_estimate_statistics,
)
from nas.train.full.distributed import ALONE, DistributedRun, Processes
from nas.train.loader import val_batch_size
from nas.train.loop import OnBatch, TrainingRun
from nas.train.precision import PRECISIONS, resolve_precision
from nas.train.recipes.schema import TrainingRecipe
from nas.train.teachers import Teacher
from nas.weights.base import Normalization, TrainedNetwork


@frozen(eq=False)
class TrainingJob:
    """Describe a full training run of one network, and start it.

    Attributes:
        arch: Architecture of the network; its resolution and its classes are those of the data.
        data: Images, with a test split.
        recipe: Hyperparameters.
        timeout_s: Duration in seconds within which the run ends, which decides the number of epochs; None takes the
            epochs of the recipe.
        device: Device that trains, as `find_device` returns it.
        seed: Seed of all random numbers.
        source: Network whose weights the first weights are inherited from; None starts from random weights.
        source_name: Name of the source, "" if there is none.
        metric: Name of the metric that chooses the best epoch.
        processes: Processes that train together.
        teacher: Teacher whose outputs the network learns beside the labels, or None.
        targets: Probabilities `(images, classes)` of the training images in place of their labels, or None; they
            belong to the fingerprint of the data.

    Raises:
        NasError: The images do not fit the network, there are too few of them, or the device does not support the
            precision of the recipe.
        WeightsError: The normalization of the source is unknown.
    """

    arch: Architecture
    data: ImageData
    recipe: TrainingRecipe
    timeout_s: float | None = None
    device: str = "cpu"
    seed: int = 0
    source: TrainedNetwork | None = None
    source_name: str = ""
    metric: str = METRIC_NAMES[0]
    processes: Processes = ALONE
    teacher: Teacher | None = None
    targets: Tensor | None = None
    normalization: Normalization = field(init=False)

    @normalization.default
    def _find_normalization(self) -> Normalization:
        if self.source is None:
            return Normalization(self.data.mean, self.data.std)
        return normalization_for(self.source, self.data.channels)

    def __attrs_post_init__(self) -> None:
        resolve_precision(self.device, self.recipe.precision)
        found = (self.data.channels, self.data.resolution, self.data.num_classes)
        expected = (self.arch.in_channels, self.arch.resolution, self.arch.classes)
        if found != expected:
            raise NasError(
                f"the images have {found[0]} channels, {found[1]} pixels and {found[2]} classes, and the network takes "
                f"{expected[0]}, {expected[1]} and {expected[2]}",
                "load the images as the network takes them",
            )
        # With a time limit, the run may be as short as one epoch.
        smallest = self._fitted(self.recipe.epochs if self.timeout_s is None else 1)
        if smallest.batch_size < 2 * self.processes.count * smallest.accumulation:
            raise NasError(
                f"a batch has {smallest.batch_size} images, and {self.processes.count} processes train in "
                f"{smallest.accumulation} parts; each needs at least two images of a batch",
                "raise batch_size or lower min_total_steps in the recipe, or start fewer processes",
            )
        if len(self.data.train) < 2 * self.processes.count:
            raise NasError(
                f"{self.data.name} has {len(self.data.train)} training images; batch normalization needs at least two "
                "in each process",
                "add images",
            )

    def describe(self) -> Mapping[str, Any]:
        """Return everything that the weights depend on, except the device and its software, as plain JSON values."""
        values = attrs.asdict(self.recipe)
        if self.timeout_s is not None:
            del values["epochs"]
        return {
            "architecture": hashlib.sha256(format_text(self.arch).encode()).hexdigest()[:12],
            "data": self.data.fingerprint,
            "classes": hashlib.sha256(repr(self.data.classes).encode()).hexdigest()[:12],
            "pretrained": None if self.source is None else self.source.digest,
            "teacher": None if self.teacher is None else self.teacher.digest,
            **{f"recipe.{name}": value for name, value in values.items()},
            "precision": resolve_precision(self.device, self.recipe.precision),
            "timeout": self.timeout_s,
            "seed": self.seed,
            "metric": self.metric,
            "processes": self.processes.count,
        }

    @property
    def allows_tf32(self) -> bool:
        """Return whether convolutions may round to TF32; see `nas.train.seeded`."""
        return PRECISIONS[resolve_precision(self.device, self.recipe.precision)].tf32

    def recipe_for(self, epochs: int, halvings: int = 0) -> TrainingRecipe | None:
        """Return the recipe of a run of so many epochs, with the part of a batch halved so often; None if too small.

        Its batch suits the number of images; see `TrainingRecipe.fitted`.
        """
        recipe: TrainingRecipe | None = self._fitted(epochs)
        for _ in range(halvings):
            recipe = None if recipe is None else recipe.with_half_batch()
        return recipe

    def _fitted(self, epochs: int) -> TrainingRecipe:
        is_alone = self.processes.count == 1
        # A recorded step cannot exchange gradients with other processes.
        recipe = attrs.evolve(self.recipe, epochs=epochs, cuda_graphs=self.recipe.cuda_graphs and is_alone)
        return recipe.fitted(len(self.data.train))

    def batch_size_for(self, epochs: int) -> int:
        """Return the number of images of a batch of a run of so many epochs."""
        return self._fitted(epochs).batch_size

    def start(self, recipe: TrainingRecipe, halvings: int = 0, on_batch: OnBatch | None = None) -> TrainingRun:
        """Return a training run before its first step, with weights from torch's generators.

        Args:
            recipe: Recipe as `recipe_for` returns it.
            halvings: How often the part of a batch was halved, because memory ran out.
            on_batch: Callback for every step, or None.
        """
        trained = recipe.adapt(self.arch)
        model, factors = build_model(trained), dict[str, float]()
        if self.source is not None:
            gates = gate_means_of(self.source, self.data, self.device)
            inherited = inherit_for(self.source, trained, self.data.classes, self.seed, gates)
            model.load_state_dict(dict(inherited.tensors))
            factors = dict.fromkeys(head_and_fresh_parameters(model, inherited), recipe.head_rate)
        elif recipe.quiet_start:
            zero_init_residual(model)
        run = self._run(model, recipe, halvings, on_batch, factors)
        if self.source is not None:
            re_estimate_statistics(run)
        return run

    def _run(
        self,
        model: nn.Module,
        recipe: TrainingRecipe,
        halvings: int,
        on_batch: OnBatch | None,
        rate_factors: Mapping[str, float],
    ) -> TrainingRun:
        # A step takes 1.4 to 1.6 times as long with channels first on a CPU (docs/short_training.md).
        model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        kind = TrainingRun if self.processes.count == 1 else DistributedRun
        return kind(
            data=self.data,
            model=model,
            recipe=recipe,
            epochs=recipe.epochs,
            device=self.device,
            on_batch=on_batch,
            metric=self.metric,
            # Validation needs less memory than a step of the same batch, so it shrinks with the steps' batch.
            val_batch=max(1, val_batch_size(self.arch.resolution) >> halvings),
            optimizer=recipe.make_optimizer(model, rate_factors),
            scaling=Scaling(self.normalization.mean, self.normalization.std, self.device),
            teacher=self.teacher,
            targets=None if self.targets is None else self.targets.to(self.device),
        )
