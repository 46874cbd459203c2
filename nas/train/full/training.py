"""Training of a network from its first epoch, or from where it was interrupted, to its last one."""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import torch
from attrs import define, field
from torch import Generator, Tensor

from nas.errors import EvaluationError, NasError
from nas.train.full.curve import EpochResult, best_epoch
from nas.train.full.distributed import agreed
from nas.train.full.folder import TrainingFolder
from nas.train.full.job import TrainingJob
from nas.train.full.progress import Progress, damaged, read_progress, write_progress
from nas.train.full.report import Log, Report
from nas.train.full.timing import epochs_within, seconds_per_epoch
from nas.train.loop import TrainingRun
from nas.train.memory import OutOfMemoryError, free_device_memory, is_out_of_memory, unified_memory_errors
from nas.train.recipe import Recipe
from nas.train.seeded import epoch_seed, seeded
from nas.version import __version__
from nas.weights.base import TrainedNetwork


@define(eq=False)
class FullTraining:
    """Train the network of a job in a folder, whose lock the caller holds.

    Attributes:
        job: The job.
        folder: Folder of the files.
        report: Receiver of messages and results.
        recipe: Recipe as text, which is stored with the weights.
        logs: Receivers of the values of each epoch.
        began: Time of the process's clock from which a time limit counts.
    """

    job: TrainingJob
    folder: TrainingFolder
    report: Report
    recipe: str
    logs: Sequence[Log] = ()
    began: float = field(factory=time.monotonic)
    _losses: list[float] = field(factory=list, init=False)
    _file_problem: str = field(default="", init=False)

    def run(self) -> Progress:
        """Train all epochs that are left, and return the progress after the last one.

        Raises:
            NasError: The progress in the folder belongs to another training run or is damaged, the time limit is
                shorter than an epoch, or the files of the last epoch cannot be written.
            EvaluationError: A loss is not finite, the run diverged, or memory ran out.
        """
        progress = read_progress(self.folder.progress, self.job.describe())
        if progress is not None and progress.is_done:
            self._say(f"the training run in {self.folder.path} is complete: {progress.epochs} epochs; nothing is trained")
            self._write_networks(progress, progress.best, self._last(progress))
            return progress
        epochs = progress.epochs if progress is not None else self._epochs()
        if progress is None and self.job.processes.is_first:
            self.folder.write_start(self.job.arch, self.recipe)
        return self._in_memory(epochs, progress)

    def _epochs(self) -> int:
        if self.job.epochs is not None:
            return self.job.epochs
        assert self.job.timeout_s is not None  # noqa: S101 -- a job has one of them
        with unified_memory_errors(0):
            epoch_s = seconds_per_epoch(self.job)
        left = self.job.timeout_s - (time.monotonic() - self.began)
        # Each process measures its own durations, and all have to agree.
        epochs = agreed(epochs_within(max(left, 0.0), epoch_s), self.job.processes)
        self._say(f"an epoch takes about {epoch_s:.3g} s, so {epochs} epochs are trained within the time limit")
        return epochs

    def _in_memory(self, epochs: int, progress: Progress | None) -> Progress:
        """Train, with half the batch each time that memory runs out, from the first epoch on."""
        recipe: Recipe | None = self.job.recipe
        while progress is not None and recipe is not None and recipe.batch_size != progress.batch_size:
            recipe = recipe.with_half_batch()
        if recipe is None:
            raise damaged(self.folder.progress)
        while recipe is not None:
            try:
                return self._train(recipe, epochs, progress)
            except OutOfMemoryError as error:
                epoch, batch_size = error.epoch, recipe.batch_size
            # The failed run's memory is free only after the except block, because the error refers to its frames.
            free_device_memory(self.job.device)
            # Other processes would go on with the larger batch.
            progress, recipe = None, recipe.with_half_batch() if self.job.processes.count == 1 else None
            if recipe is not None:
                self._say(
                    f"out of memory in epoch {epoch} with batches of {batch_size} images; the training run starts "
                    f"again with {recipe.batch_size}"
                )
        raise EvaluationError(
            f"out of memory in epoch {epoch} with batches of {batch_size} images; smaller batches are not tried",
            "lower the resolution, or batch_size in the recipe",
        )

    def _train(self, recipe: Recipe, epochs: int, progress: Progress | None) -> Progress:
        # Epoch 0 stands for the first weights, which therefore do not depend on random numbers drawn before.
        with self._epoch_context(0):
            run = self.job.start(recipe, epochs, self._on_batch)
            if progress is not None:
                self._restore(run, progress)
                self._say(f"epoch {progress.epoch} of {epochs} is done; the training run continues after it")
        if progress is not None:
            # The process may have been killed after it wrote the progress and before it wrote the networks.
            self._write_networks(progress, progress.best, scored(run))
        curve = [] if progress is None else list(progress.curve)
        best = {} if progress is None else progress.best
        for epoch in range(len(curve) + 1, epochs + 1):
            curve.append(self._epoch(run, epoch, curve))
            if best_epoch(curve) == epoch:
                best = scored(run)
            progress = Progress(epochs, recipe.batch_size, tuple(curve), run.state_dict(), best)
            self._write(progress, scored(run))
            self._publish(curve, epochs)
            # The next epoch changes the tensors of the run in place.
            best = {name: tensor.clone() for name, tensor in best.items()} if best_epoch(curve) == epoch else best
        assert progress is not None  # noqa: S101 -- there is at least one epoch
        return progress

    def _restore(self, run: TrainingRun, progress: Progress) -> None:
        try:
            run.load_state_dict(progress.state)
            # The tensors are those of the network, and no others.
            TrainedNetwork(self.job.arch, progress.best)
        except (ArithmeticError, AttributeError, LookupError, NasError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            raise damaged(self.folder.progress) from None

    def _epoch(self, run: TrainingRun, epoch: int, curve: Sequence[EpochResult]) -> EpochResult:
        began = time.perf_counter()
        self._losses.clear()
        with self._epoch_context(epoch) as generator:
            try:
                run.epoch(epoch, generator)
            except EvaluationError as error:
                kept = f"the weights of epoch {best_epoch(curve)} stay in {self.folder.path}" if curve else ""
                raise EvaluationError(error.problem, "; ".join(filter(None, (error.remedy, kept)))) from None
            trained = time.perf_counter() - began
            accuracy = run.validate()
        group = run.optimizer.param_groups[0]
        images = sum(map(len, run.shuffled_batches(Generator()))) * self.job.processes.count
        return EpochResult(
            epoch,
            fmean(self._losses),
            accuracy,
            float(group["lr"]) / float(group["rate_factor"]),
            images / trained,
            time.perf_counter() - began,
        )

    def _publish(self, curve: Sequence[EpochResult], epochs: int) -> None:
        result = curve[-1]
        if not self.job.processes.is_first:
            return
        self.report.on_epoch(result, epochs, (epochs - result.epoch) * fmean(one.seconds for one in curve))
        values = {name: value for name, value in result.as_json().items() if name != "epoch"}
        for log in self.logs:
            log.log(result.epoch, values)

    def _write(self, progress: Progress, last: Mapping[str, Tensor]) -> None:
        """Write the files of an epoch. If one cannot be written, former files stay; after the last epoch it is an error.

        Raises:
            NasError: A file of the last epoch cannot be written.
        """
        if not self.job.processes.is_first:
            return
        try:
            # The progress comes first: whatever it says, the other files are made from it.
            write_progress(self.folder.progress, self.job.describe(), progress)
            self._write_networks(progress, progress.best, last)
        except NasError as error:
            if progress.is_done:
                raise
            if error.problem != self._file_problem:
                self._say(f"{error.problem}; the files of the former epoch stay, and the training run continues")
            self._file_problem = error.problem

    def _write_networks(self, progress: Progress, best: Mapping[str, Tensor], last: Mapping[str, Tensor]) -> None:
        if not self.job.processes.is_first:
            return
        self.folder.write_best(self.network(best, progress.best_result, progress.epochs))
        self.folder.write_last(self.network(last, progress.curve[-1], progress.epochs))

    def network(self, tensors: Mapping[str, Tensor], result: EpochResult, epochs: int) -> TrainedNetwork:
        """Return the network of an epoch, with what is known about its training run."""
        source = {} if self.job.source is None else {"pretrained": self.job.source.digest}
        provenance = {
            "source": "" if self.job.source is None else self.job.source.provenance.get("source", ""),
            **source,
            "data": self.job.data.name,
            "fingerprint": self.job.data.fingerprint,
            "pixels": str(self.job.arch.resolution),
            "epoch": str(result.epoch),
            "epochs": str(epochs),
            "seed": str(self.job.seed),
            self.job.metric: str(result.accuracy),
            "recipe": self.recipe,
            "nas": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        }
        return TrainedNetwork(self.job.arch, tensors, self.job.data.classes, self.job.normalization, provenance)

    def _last(self, progress: Progress) -> Mapping[str, Tensor]:
        average = progress.state.get("average")
        found = progress.state.get("model") if average is None else average.get("model")
        if not isinstance(found, dict):
            raise damaged(self.folder.progress)
        return found

    def _on_batch(self, step: int, steps: int, loss: float) -> None:
        self._losses.append(loss)
        if self.job.processes.is_first:
            self.report.on_batch(step, steps, loss)

    def _say(self, message: str) -> None:
        if self.job.processes.is_first:
            self.report.say(message)

    @contextmanager
    def _epoch_context(self, epoch: int) -> Iterator[Generator]:
        """Yield the generator of an epoch, with torch's generators seeded and memory errors unified."""
        seed = epoch_seed(self.job.seed, epoch)
        with (
            seeded(seed, self.job.device, tf32=self.job.allows_tf32) as generator,
            unified_memory_errors(epoch),
        ):
            yield generator


def scored(run: TrainingRun) -> dict[str, Any]:
    """Return the tensors of the network that a training run validates: the moving average, if it has one."""
    model = run.model if run.average is None else run.average.model
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}
