"""Scores an architecture by training it shortly on the user's images: the proxy of a search."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Generator

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.data.share import share
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Notify, ignore_message
from nas.models.build import build_model
from nas.models.start import start_quietly
from nas.train.checkpoint import Checkpoint, CheckpointFile, CheckpointFolder, CheckpointMismatchError, NoCheckpoint
from nas.train.defaults import METRIC_NAMES
from nas.train.device import find_device, median_seconds
from nas.train.loop import VAL_BATCH, OnBatch, TrainingRun
from nas.train.memory import OutOfMemoryError, free_device_memory, unified_memory_errors
from nas.train.metrics import METRICS
from nas.train.precision import PRECISIONS, resolve_precision
from nas.train.recipe import Recipe
from nas.train.seeded import seeded


@frozen
class TrainEvaluator:
    """Accuracy on the val part after each epoch of a training on the train part.

    The same evaluator gives the same accuracies again on the same machine: weights, order, augmentation and dropout are
    drawn from `seed`, and torch's global generators are left as they were. They are used while an epoch runs, so two
    evaluations may take turns in a thread, but must not run in two threads at once.

    Where memory runs out the training begins again with half the batch; `remarks` tells the batch that was used.

    Args:
        data: the images; kept as bytes on the device while an architecture is trained.
        seed: of everything random.
        device: as `find_device` gives it.
        recipe: how the training goes.
        on_batch: called for each step; see `OnBatch`.
        metric: "accuracy", or "balanced" for the mean over classes of the share of their images that are told right.
        checkpoints: a folder where trainings are kept from epoch to epoch, so that one whose process is ended goes on
            from there with the accuracies that it would have had, in another process if need be; see
            `CheckpointFolder`. None keeps none.
        checkpoint_s: seconds of training, below which they are not worth a file.
        notify: told in sentences what becomes of these files.

    Raises:
        NasError: too few images, no such metric, or a precision that the device does not have.
    """

    data: ImageData
    seed: int = 0
    device: str = field(default="cpu", converter=find_device)
    recipe: Recipe = field(factory=Recipe)
    on_batch: OnBatch | None = None
    metric: str = METRIC_NAMES[0]
    checkpoints: Path | None = None
    checkpoint_s: float = 30.0
    notify: Notify = ignore_message
    _shelf: CheckpointFolder | None = field(init=False, eq=False, repr=False)
    _lowered: dict[Architecture, int] = field(init=False, factory=dict, eq=False, repr=False)

    @_shelf.default
    def _make_shelf(self) -> CheckpointFolder | None:
        return None if self.checkpoints is None else CheckpointFolder(self.checkpoints, self.checkpoint_s, self.notify)

    def __attrs_post_init__(self) -> None:
        if self.metric not in METRICS:
            raise NasError(f"unknown metric {self.metric!r}", f"use one of {', '.join(METRICS)}")
        resolve_precision(self.device, self.recipe.precision)
        if len(self.data.train) < 2:
            raise NasError(f"{self.data.name} has {len(self.data.train)} image to train on", "give it at least two")

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Validation accuracy after each of `budget` epochs; the learning rate falls to 0 at the last one.

        Raises:
            NasError: the budget is no epoch, or the architecture does not take colour images.
            EvaluationError: the loss is not finite, or memory ran out; told when the epoch is asked for.
        """
        if budget < 1:
            raise NasError(f"a budget of {budget} epochs", "train for at least one")
        self._adapted(arch)  # refuses what does not fit before anything is asked for
        return self._accuracies(arch, budget)

    def _accuracies(self, arch: Architecture, budget: int) -> Iterator[float]:
        slot = self._checkpoint(arch, budget)
        with slot.in_use():
            yield from self._followed(arch, budget, slot)

    def _checkpoint(self, arch: Architecture, budget: int) -> CheckpointFile | NoCheckpoint:
        if self._shelf is None:
            return NoCheckpoint()
        described = {name: value for name, value in self.describe().items() if name != "environment"}
        return self._shelf.file({**described, "architecture": format_text(arch), "epochs": budget})

    def _followed(self, arch: Architecture, budget: int, slot: CheckpointFile | NoCheckpoint) -> Iterator[float]:
        """Trains with smaller batches as long as memory runs out; what was told already is trained, not told, again.

        The accuracies to come are then those of a whole training with the smaller batch: what is left of the larger
        one's weights has seen a part of an epoch, and no seed could give it again.
        """
        kept, recipe = self._found(slot, budget)
        told: list[float] = []
        while recipe is not None:
            self._note(arch, recipe)
            try:
                yield from self._trained(arch, budget, recipe, told, slot, kept)
            except CheckpointMismatchError:
                slot.report_unusable()
                kept, recipe = None, self.recipe
                continue
            except OutOfMemoryError as error:
                epoch, tried = error.epoch, recipe.batch_size
            else:
                return
            # Only here is the failed training's memory free: an error holds on to the frames that it came through.
            free_device_memory(self.device)
            kept, recipe = None, recipe.with_half_batch()
        raise EvaluationError(
            f"out of memory in epoch {epoch} with batches of {tried} images, and fewer are not tried",
            "lower the resolution",
        )

    def _found(self, slot: CheckpointFile | NoCheckpoint, budget: int) -> tuple[Checkpoint | None, Recipe | None]:
        """What is kept of a training, and the recipe with the batch that it had come to."""
        kept = slot.read(budget)
        recipe: Recipe | None = self.recipe
        while kept is not None and recipe is not None and recipe.batch_size != kept.batch_size:
            recipe = recipe.with_half_batch()
        if recipe is None:
            slot.report_unusable()
            return None, self.recipe
        return kept, recipe

    def _note(self, arch: Architecture, recipe: Recipe) -> None:
        """Keep a lowered batch for the remarks."""
        self._lowered.pop(arch, None)
        if recipe.batch_size < self.recipe.batch_size:
            self._lowered[arch] = recipe.batch_size

    def _trained(
        self,
        arch: Architecture,
        budget: int,
        recipe: Recipe,
        told: list[float],
        slot: CheckpointFile | NoCheckpoint,
        kept: Checkpoint | None,
    ) -> Iterator[float]:
        """Train from the beginning or from what is kept; what is told is added to `told`.

        Raises:
            CheckpointMismatchError: what is kept does not fit; nothing was told.
        """
        with self._epoch(0):
            training = self._start(self._adapted(arch), budget, recipe)
            if kept is not None:
                kept.restore(training)
        if kept is not None:
            told.extend(kept.accuracies)
            yield from kept.accuracies
        for epoch in range(kept.epoch + 1 if kept else 1, budget + 1):
            with self._epoch(epoch) as generator:
                training.epoch(epoch, generator)
                accuracy = training.validate()
            is_new = epoch > len(told)
            if is_new:
                told.append(accuracy)
            slot.write(training, epoch, told)
            if is_new:
                yield accuracy

    def with_seed(self, seed: int) -> "TrainEvaluator":
        """The same training of other weights, in another order; see `Reseedable`."""
        other = attrs.evolve(self, seed=seed)
        if self._shelf is not None and other._shelf is not None:
            other._shelf.abandoned.update(self._shelf.abandoned)
        return other

    def to_send(self) -> "TrainEvaluator":
        """The same without callbacks; see `Sendable`.

        Raises:
            DataError: the images cannot be shared.
        """
        share(self.data)
        return attrs.evolve(self, on_batch=None, notify=ignore_message)

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """The batch size of its last evaluation where memory ran out with the recipe's."""
        return {"batch_size": self._lowered[arch]} if arch in self._lowered else {}

    def describe(self) -> Mapping[str, Any]:
        """Everything the accuracies depend on, as plain JSON values."""
        return {
            "evaluator": "train",
            "data": self.data.name,
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            "classes": self.data.num_classes,
            "images": {"train": len(self.data.train), "val": len(self.data.val)},
            "recipe": attrs.asdict(self.recipe),
            "seed": self.seed,
            "precision": resolve_precision(self.device, self.recipe.precision),
            "metric": self.metric,
            "environment": {
                "device": self.device,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
        }

    def seconds_per_epoch(self, arch: Architecture, batches: int = 3) -> float:
        """An estimate: the median of a few steps, and of a few batches of the validation, after one to warm up.

        Raises:
            EvaluationError: memory runs out.
        """
        try:
            return self._estimate(arch, batches)
        except OutOfMemoryError:
            raise EvaluationError(
                f"out of memory with batches of {self.recipe.batch_size} images", "lower the resolution"
            ) from None

    def _estimate(self, arch: Architecture, batches: int) -> float:
        with self._epoch(1) as generator:
            training = self._start(self._adapted(arch), 1, self.recipe)
            batch, checks = training.shuffled_batches(generator)[0], training.val_batches()
            # Reading a number waits for the device.
            step = median_seconds(lambda: training.step(batch, 0.0, generator).item(), batches)
            check = median_seconds(lambda: training.correct(checks[0]).sum().item(), batches)
        return step * training.steps_per_epoch + check * len(checks)

    def _adapted(self, arch: Architecture) -> Architecture:
        if arch.in_channels != 3:
            raise NasError(f"the architecture takes {arch.in_channels} channels", "images have 3; set channels=3")
        adapted = arch.adapted(resolution=self.data.resolution, classes=self.data.num_classes)
        return self.recipe.adapt(adapted)

    def _start(self, arch: Architecture, budget: int, recipe: Recipe) -> TrainingRun:
        model = build_model(arch)
        if recipe.quiet_start:
            start_quietly(model)
        # Channels last trains 2.5 times as fast on a CPU.
        model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Validation takes no more memory than a step where its batch is lowered alike.
        val_batch = max(1, VAL_BATCH * recipe.batch_size // self.recipe.batch_size)
        return TrainingRun(self.data, model, recipe, budget, self.device, self.on_batch, self.metric, val_batch)

    @property
    def _may_round(self) -> bool:
        return PRECISIONS[resolve_precision(self.device, self.recipe.precision)].tf32

    @contextmanager
    def _epoch(self, epoch: int) -> Iterator[Generator]:
        """Seeds of its own for every epoch, so that nothing is carried over a `yield`."""
        with (
            seeded(self.seed * 1_000_003 + epoch, self.device, tf32=self._may_round) as generator,
            unified_memory_errors(epoch),
        ):
            yield generator
