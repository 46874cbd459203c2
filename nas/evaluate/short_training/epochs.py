"""The base class of evaluators that train each network epoch by epoch on the user's images."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import attrs
import torch
from attrs import field, frozen
from torch import Generator

from nas.arch.code import format_text
from nas.arch.proxy import proxy_resolution
from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.data.share import share
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Notify, ignore_message
from nas.noise import Correct, ValidationSplit
from nas.train.checkpoint import Checkpoint, CheckpointFile, CheckpointFolder, CheckpointMismatchError, NoCheckpoint
from nas.train.defaults import METRIC_NAMES
from nas.train.device import find_device, median_seconds
from nas.train.loader import GPU_VAL_BATCH, VAL_BATCH, val_batch_size
from nas.train.loop import OnBatch, TrainingRun
from nas.train.memory import OutOfMemoryError, free_device_memory, unified_memory_errors
from nas.train.metrics import METRICS, describe_split
from nas.train.precision import PRECISIONS, resolve_precision
from nas.train.recipe import Recipe
from nas.train.seeded import epoch_seed, seeded


@frozen
class EpochEvaluator(ABC):
    """Train each network from its first weights and give the accuracy after each epoch.

    A subclass defines the network that is trained (`_adapted`), its first weights (`_start`) and its description. This
    class defines seeds, checkpoints, what happens when memory runs out, and how an evaluator is sent. `TrainEvaluator`
    describes the attributes.

    Raises:
        NasError: The training split has fewer than two images, the metric is unknown, or the device does not support
            the recipe's precision.
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
    full_resolution: int | None = None
    _folder: CheckpointFolder | None = field(init=False, eq=False, repr=False)
    _reduced_batches: dict[Architecture, int] = field(init=False, factory=dict, eq=False, repr=False)
    _correct: dict[Architecture, Correct] = field(init=False, factory=dict, eq=False, repr=False)

    @_folder.default
    def _make_folder(self) -> CheckpointFolder | None:
        if self.checkpoints is None:
            return None
        return CheckpointFolder(self.checkpoints, self.checkpoint_s, self.notify)

    def __attrs_post_init__(self) -> None:
        if self.metric not in METRICS:
            raise NasError(f"unknown metric {self.metric!r}", f"use one of {', '.join(METRICS)}")
        resolve_precision(self.device, self.recipe.precision)
        if len(self.data.train) < 2:
            raise NasError(
                f"{self.data.name} has {len(self.data.train)} training image; batch normalization needs at least two",
                "add images",
            )

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Return an iterator over the validation accuracies after each of `budget` epochs.

        The learning rate falls to 0 in the last epoch, so a run of fewer epochs is another run, not a shorter one.

        Raises:
            NasError: The budget is below one epoch, or the architecture takes another number of channels.
            EvaluationError: A loss is not finite, or memory ran out; raised when the accuracy is requested.
        """
        if budget < 1:
            raise NasError(f"the budget is {budget} epochs; a training run needs at least one", "raise the budget")
        self._adapted(arch)  # raises here, and not when the first accuracy is requested
        return self._accuracies(arch, budget)

    def _accuracies(self, arch: Architecture, budget: int) -> Iterator[float]:
        file = self._checkpoint(arch, budget)
        with file.in_use():
            yield from self._train_in_memory(arch, budget, file)

    def _checkpoint(self, arch: Architecture, budget: int) -> CheckpointFile | NoCheckpoint:
        return NoCheckpoint() if self._folder is None else self._folder.file(self._described_run(arch, budget))

    def _described_run(self, arch: Architecture, budget: int) -> Mapping[str, Any]:
        """Return everything that the accuracies of an evaluation depend on, as plain JSON values."""
        described = {name: value for name, value in self.describe().items() if name != "environment"}
        return {**described, "architecture": format_text(arch), "epochs": budget}

    def _train_in_memory(self, arch: Architecture, budget: int, file: CheckpointFile | NoCheckpoint) -> Iterator[float]:
        """Train, with half the batch each time that memory runs out; accuracies that were yielded are not repeated.

        A smaller batch starts from the first epoch: part of an epoch has changed the weights with the larger batch, and
        no seed would reproduce them. The accuracies still to come are those of a whole run with the smaller batch.
        """
        checkpoint, recipe = self._resume_point(file, budget)
        yielded: list[float] = []
        while recipe is not None:
            self._remember_batch(arch, recipe)
            try:
                yield from self._train(arch, budget, recipe, yielded, file, checkpoint)
            except CheckpointMismatchError:
                file.report_unusable()
                checkpoint, recipe = None, self.recipe
                continue
            except OutOfMemoryError as error:
                epoch, batch_size = error.epoch, recipe.batch_size
            else:
                return
            # The failed run's memory is free only after the except block: the error refers to the frames that it came
            # through, and they refer to the model.
            free_device_memory(self.device)
            checkpoint, recipe = None, recipe.with_half_batch()
        raise EvaluationError(
            f"out of memory in epoch {epoch} with batches of {batch_size} images; smaller batches are not tried",
            "lower the resolution",
        )

    def _resume_point(
        self, file: CheckpointFile | NoCheckpoint, budget: int
    ) -> tuple[Checkpoint | None, Recipe | None]:
        """Return the checkpoint of a run, or None, and the recipe with the batch size that the run had reached."""
        checkpoint = file.read(budget)
        recipe: Recipe | None = self.recipe
        # The batch is halved step by step as in the interrupted run, which also gives the learning rate of that run.
        while checkpoint is not None and recipe is not None and recipe.batch_size != checkpoint.batch_size:
            recipe = recipe.with_half_batch()
        if recipe is None:
            file.report_unusable()
            return None, self.recipe
        return checkpoint, recipe

    def _remember_batch(self, arch: Architecture, recipe: Recipe) -> None:
        """Keep a reduced batch size for the metadata."""
        self._reduced_batches.pop(arch, None)
        if recipe.batch_size < self.recipe.batch_size:
            self._reduced_batches[arch] = recipe.batch_size

    def _train(
        self,
        arch: Architecture,
        budget: int,
        recipe: Recipe,
        yielded: list[float],
        file: CheckpointFile | NoCheckpoint,
        checkpoint: Checkpoint | None,
    ) -> Iterator[float]:
        """Train from the start or from a checkpoint, and append the accuracies that are yielded to `yielded`.

        Raises:
            CheckpointMismatchError: The checkpoint does not fit; nothing was yielded.
            OutOfMemoryError: Memory ran out.
        """
        began = time.perf_counter()
        # Epoch 0 stands for the initial weights, which therefore do not depend on random numbers drawn before.
        with self._epoch_context(0):
            run = self._start(self._adapted(arch), budget, recipe)
            if checkpoint is not None:
                checkpoint.restore(run)
        seconds = time.perf_counter() - began + (checkpoint.seconds if checkpoint else 0)
        if checkpoint is not None:
            yielded.extend(checkpoint.accuracies)
            if checkpoint.epoch == budget:  # no epoch is left that would validate
                self._correct[arch] = run.all_correct().numpy()
            yield from checkpoint.accuracies
        # The next run needs the memory of this one, and must not wait until the collector frees it.
        with closing(run):
            for epoch in range(checkpoint.epoch + 1 if checkpoint else 1, budget + 1):
                began = time.perf_counter()
                with self._epoch_context(epoch) as generator:
                    run.epoch(epoch, generator)
                    correct = run.all_correct()
                # Time between two epochs belongs to the caller.
                seconds += time.perf_counter() - began
                accuracy = run.rate(correct)
                self._correct[arch] = correct.numpy()
                # A restart with a smaller batch trains the first epochs again; their accuracies were yielded before.
                is_new = epoch > len(yielded)
                if is_new:
                    yielded.append(accuracy)
                # Files are written before the accuracy is yielded: the caller may stop, or be killed, while it has it.
                file.write(run, epoch, yielded, seconds)
                if epoch == budget:
                    self._finish(arch, budget, run, accuracy, seconds)
                if is_new:
                    yield accuracy

    def with_seed(self, seed: int) -> Self:
        """Return the evaluator with another seed for weights, order of images and augmentation; see `Reseedable`."""
        return self._evolved(seed=seed)

    def _evolved(self, **changes: Any) -> Self:
        """Return the evaluator with other attributes, for the same folder of checkpoints."""
        other = attrs.evolve(self, **changes)
        if self._folder is not None and other._folder is not None:
            # The last run of this evaluator may have been pruned; the other evaluator then removes its file.
            other._folder.abandoned.update(self._folder.abandoned)
        return other

    def to_send(self) -> Self:
        """Return the evaluator without callbacks, with images in shared memory; see `Sendable`.

        Raises:
            DataError: The images cannot be shared.
        """
        share(self.data)
        return attrs.evolve(self, on_batch=None, notify=ignore_message)

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return the batch size of the architecture's last evaluation, if memory ran out with the recipe's."""
        return {"batch_size": self._reduced_batches[arch]} if arch in self._reduced_batches else {}

    def validation_split(self) -> ValidationSplit:
        """Return size and chance rate of the validation split; see `Validating`."""
        return describe_split(self.data.val.labels, self.metric)

    def correct(self, arch: Architecture) -> Correct | None:
        """Return which validation images the last epoch classified correctly, once; see `Validating`."""
        return self._correct.pop(arch, None)

    def seconds_per_epoch(self, arch: Architecture, batches: int = 3) -> float:
        """Return the estimated duration of an epoch with its validation, in seconds; see `Timed`.

        Args:
            arch: Architecture to train.
            batches: Number of steps, and of validated batches, whose median duration is used; one more warms up.

        Raises:
            EvaluationError: Memory ran out.
        """
        try:
            return self._estimate(arch, batches)
        except OutOfMemoryError:
            raise EvaluationError(
                f"out of memory with batches of {self.recipe.batch_size} images", "lower the resolution"
            ) from None

    def seconds_per_step(self, arch: Architecture) -> float | None:
        """Return the duration of one training step in seconds, after one that warms up; None if it is not on the CPU.

        Raises:
            EvaluationError: Memory ran out.
        """
        if self.device != "cpu":
            return None
        with self._epoch_context(1) as generator:
            run = self._start(self._adapted(arch), 1, self.recipe)
            batch = run.shuffled_batches(generator)[0]
            return median_seconds(lambda: run.step(batch, 0.0, generator).item(), 1)

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """Return everything that the accuracies depend on, as plain JSON values."""

    def _describe_training(self) -> dict[str, Any]:
        """Return the part of the description that all evaluators of this kind share."""
        return {
            "data": self.data.name,
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            # Only where networks have several resolutions: other studies have the settings of earlier versions.
            **({} if self.full_resolution is None else {"full_resolution": self.full_resolution}),
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

    def _estimate(self, arch: Architecture, batches: int) -> float:
        with self._epoch_context(1) as generator:
            run = self._start(self._adapted(arch), 1, self.recipe)
            batch, val_batches = run.shuffled_batches(generator)[0], run.val_batches()
            with closing(run):
                for _ in range(run.first_steps - 1):  # `median_seconds` leaves out one more
                    run.step(batch, 0.0, generator)
                # `item` reads a number from the device, and so waits until its work is done.
                step = median_seconds(lambda: run.step(batch, 0.0, generator).item(), batches)
                validation = median_seconds(lambda: run.correct(val_batches[0]).sum().item(), batches)
        return step * run.steps_per_epoch + validation * len(val_batches)

    @abstractmethod
    def _adapted(self, arch: Architecture) -> Architecture:
        """Return the architecture that is trained on the images.

        Raises:
            NasError: The architecture takes another number of channels.
        """

    @abstractmethod
    def _start(self, arch: Architecture, budget: int, recipe: Recipe) -> TrainingRun:
        """Return a training run before its first step.

        Args:
            arch: Architecture as `_adapted` returns it.
            budget: Number of epochs.
            recipe: The evaluator's recipe, possibly with a smaller batch.
        """

    def _finish(  # noqa: B027 -- some evaluators have nothing left to do
        self, arch: Architecture, budget: int, run: TrainingRun, accuracy: float, seconds: float
    ) -> None:
        """Do what is left after the last epoch of an evaluation; its accuracy has not been yielded yet.

        Args:
            arch: Architecture of the evaluation.
            budget: Number of epochs.
            run: The finished training run.
            accuracy: Its last accuracy.
            seconds: Duration of its start and its epochs in seconds, also of those before it was interrupted.
        """

    def _pixels(self, arch: Architecture) -> int:
        """Return the height and width of the images that a network receives, in pixels."""
        return proxy_resolution(self.data.resolution, arch.resolution, self.full_resolution)

    def _check_channels(self, arch: Architecture) -> None:
        if arch.in_channels != self.data.channels:
            raise NasError(
                f"the architecture takes {arch.in_channels} channels, and the images have {self.data.channels}",
                f"use an architecture with channels={self.data.channels}",
            )

    def _val_batch(self, recipe: Recipe, pixels: int) -> int:
        # Validation needs less memory than a step of the same batch, so it shrinks in proportion to the steps' batch.
        most = GPU_VAL_BATCH if self.device.startswith("cuda") else VAL_BATCH
        return max(1, val_batch_size(pixels, most) * recipe.batch_size // self.recipe.batch_size)

    @property
    def _allows_tf32(self) -> bool:
        return PRECISIONS[resolve_precision(self.device, self.recipe.precision)].tf32

    @contextmanager
    def _epoch_context(self, epoch: int) -> Iterator[Generator]:
        """Yield the generator of an epoch, with torch's generators seeded and memory errors unified.

        Every epoch has a seed of its own, so that no state of a generator has to survive a `yield` or a checkpoint.
        """
        seed = epoch_seed(self.seed, epoch)
        with seeded(seed, self.device, tf32=self._allows_tf32) as generator, unified_memory_errors(epoch):
            yield generator
