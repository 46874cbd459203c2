"""Training of a network from its first epoch, or from where it was interrupted, to its last one."""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import attrs
import torch
from attrs import define, field
from torch import Generator, Tensor

from nas.data.wording import counted
from nas.errors import EvaluationError, NasError
from nas.train.full.curve import EpochResult, best_epoch
from nas.train.full.distributed import agreed
from nas.train.full.folder import TrainingFolder
from nas.train.full.job import TrainingJob
from nas.train.full.progress import Progress, damaged, read_progress, write_progress
from nas.train.full.report import Report
from nas.train.full.result import running_metrics
from nas.train.full.timing import epochs_within, seconds_per_epoch
from nas.train.loop import TrainingRun
from nas.train.memory import OutOfMemoryError, free_device_memory, is_out_of_memory, unified_memory_errors
from nas.train.recipes.files import format_recipe
from nas.train.recipes.schema import TrainingRecipe
from nas.train.seeded import epoch_seed, seeded
from nas.train.tracking import Tracker
from nas.version import __version__
from nas.weights.base import TrainedNetwork, check_tensors

# Number of measurements after each of which the size of a batch may change.
_MOST_PLANS = 3


@define(eq=False)
class FullTraining:
    """Train the network of a job in a folder, whose lock the caller holds.

    Attributes:
        job: The job.
        folder: Folder of the files.
        report: Receiver of messages and results.
        logs: Receivers of the values of each epoch.
        began: Time of the process's clock from which a time limit counts.
    """

    job: TrainingJob
    folder: TrainingFolder
    report: Report
    logs: Sequence[Tracker] = ()
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
        if progress is not None:
            self._check(progress)
            # The process may have been killed after it wrote the progress and before it wrote the networks.
            with self._kept_files(progress):
                self._write_networks(progress)
        if progress is not None and progress.is_done:
            self._say(
                f"the training run in {self.folder.path} is complete ({counted(progress.epochs, 'epoch')}): "
                "nothing is trained"
            )
            return progress
        epochs = self._epochs() if progress is None else progress.epochs
        return self._in_memory(epochs, progress)

    def _epochs(self) -> int:
        """Return the number of epochs of the job: the given one, or the largest that ends within the time limit."""
        if self.job.timeout_s is None:
            return self.job.recipe.epochs
        epochs = self.job.recipe.epochs
        for _ in range(_MOST_PLANS):
            measured = self.job.batch_size_for(epochs)
            with unified_memory_errors(0):
                epoch_s = seconds_per_epoch(self.job, epochs, self._seconds_to_write)
            left = self.job.timeout_s - (time.monotonic() - self.began)
            # Each process measures its own durations, and all have to agree.
            left, epoch_s = agreed((left, epoch_s), self.job.processes)
            epochs = epochs_within(left, epoch_s, self.job.timeout_s)
            # A run of few epochs may have smaller batches, whose epochs take longer.
            if self.job.batch_size_for(epochs) >= measured:
                break
        self._say(f"an epoch takes about {epoch_s:.3g} s, so the time limit allows {counted(epochs, 'epoch')}")
        return epochs

    def _seconds_to_write(self, run: TrainingRun) -> float:
        """Return the duration of writing the files of an epoch, which are removed again, in seconds."""
        if not self.job.processes.is_first:
            return 0.0
        result = EpochResult(epoch=1, loss=0.0, accuracy=0.0, learning_rate=0.0, images_per_second=0.0, seconds=0.0)
        tensors = _scored(run)
        with TemporaryDirectory(prefix=".timing-", dir=self.folder.path) as place:
            began = time.perf_counter()
            other = FullTraining(self.job, TrainingFolder(Path(place)), self.report)
            other._write(Progress(1, 0, (result,), run.state_dict(), tensors, tensors))
            return time.perf_counter() - began

    def _in_memory(self, epochs: int, progress: Progress | None) -> Progress:
        """Train, with half the part of a batch each time that memory runs out, from the first epoch on."""
        halvings = 0 if progress is None else progress.halvings
        while (recipe := self.job.recipe_for(epochs, halvings)) is not None:
            try:
                return self._train(recipe, halvings, progress)
            except OutOfMemoryError as error:
                epoch = error.epoch
            # The failed run's memory is free only after the except block, because the error refers to its frames.
            free_device_memory(self.job.device)
            if self.job.processes.count > 1:  # the other processes would go on with the larger batch
                break
            progress, halvings = None, halvings + 1
            self._say(f"out of memory in epoch {epoch}; the training run starts again with half the images at a time")
        raise EvaluationError(
            f"out of memory in epoch {epoch}, and smaller batches are not tried",
            "lower the resolution, or batch_size in the recipe",
        )

    def _train(self, recipe: TrainingRecipe, halvings: int, progress: Progress | None) -> Progress:
        # Epoch 0 stands for the first weights, which therefore do not depend on random numbers drawn before.
        with self._epoch_context(0):
            run = self.job.start(recipe, halvings, self._on_batch)
            if progress is not None:
                self._restore(run, progress)
                self._say(f"epoch {progress.epoch} of {recipe.epochs} is done; the training run continues after it")
        curve = () if progress is None else progress.curve
        for result in curve:  # the process may have been killed before it logged the last one
            self._log(result)
        best = {} if progress is None else progress.best
        for epoch in range(len(curve) + 1, recipe.epochs + 1):
            curve = (*curve, self._epoch(run, epoch, curve))
            last = _scored(run)
            # The next epoch changes the tensors of the run in place.
            best = {name: tensor.clone() for name, tensor in last.items()} if best_epoch(curve) == epoch else best
            progress = Progress(recipe.epochs, halvings, curve, run.state_dict(), best, last)
            self._write(progress)
            self._publish(progress)
        assert progress is not None  # noqa: S101 -- there is at least one epoch
        return progress

    def _check(self, progress: Progress) -> None:
        try:
            for tensors in (progress.best, progress.last):
                check_tensors(self.job.arch, tensors)
        except NasError:
            raise damaged(self.folder.progress) from None
        if self.job.recipe_for(progress.epochs, progress.halvings) is None:
            raise damaged(self.folder.progress)

    def _restore(self, run: TrainingRun, progress: Progress) -> None:
        try:
            run.load_state_dict(progress.state)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
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
        group, images = run.optimizer.param_groups[0], len(self.job.data.train)
        return EpochResult(
            epoch=epoch,
            loss=fmean(self._losses),
            accuracy=accuracy,
            learning_rate=float(group["lr"]) / float(group["rate_factor"]),
            images_per_second=run.recipe.passes_per_epoch(images) * images / trained,
            seconds=time.perf_counter() - began,
        )

    def _publish(self, progress: Progress) -> None:
        result = progress.curve[-1]
        if not self.job.processes.is_first:
            return
        left = (progress.epochs - result.epoch) * fmean(one.seconds for one in progress.curve)
        self.report.on_epoch(result, progress.epochs, left)
        self._log(result)

    def _log(self, result: EpochResult) -> None:
        values = {name: value for name, value in result.as_json().items() if name != "epoch"}
        for log in self.logs:
            log.log(result.epoch, values)

    def _write(self, progress: Progress) -> None:
        """Write the files of an epoch."""
        with self._kept_files(progress):
            # The progress comes first: whatever it says, the other files are made from it.
            if self.job.processes.is_first:
                write_progress(self.folder.progress, self.job.describe(), progress)
                self.folder.write_metrics(running_metrics(self.job, progress))
            self._write_networks(progress)

    @contextmanager
    def _kept_files(self, progress: Progress) -> Iterator[None]:
        """Report that a file cannot be written inside the context; the former file stays.

        Raises:
            NasError: A file of the last epoch cannot be written.
        """
        try:
            yield
        except NasError as error:
            if progress.is_done:
                raise NasError(
                    error.problem,
                    "make room in the folder, or make it writable, and repeat the command, which continues",
                ) from None
            if error.problem != self._file_problem:
                kept = (
                    "the files of the former epoch stay" if self.folder.progress.exists() else "no epoch is saved yet"
                )
                self._say(f"{error.problem}; {kept}, and the training run continues")
            self._file_problem = error.problem

    def _write_networks(self, progress: Progress) -> None:
        if self.job.processes.is_first:
            self.folder.write_job(self.job.arch, self._recipe_text(progress.epochs))
            self.folder.write_best(self.best_network(progress))
            self.folder.write_last(self._network(progress.last, progress.curve[-1], progress.epochs))

    def best_network(self, progress: Progress) -> TrainedNetwork:
        """Return the network after its best epoch, with what is known about its training run."""
        return self._network(progress.best, progress.best_result, progress.epochs)

    def _network(self, tensors: Mapping[str, Tensor], result: EpochResult, epochs: int) -> TrainedNetwork:
        job = self.job
        provenance = {
            "source": job.source_name or "random weights",
            **({} if job.source is None else {"source_tensors": job.source.digest}),
            "data": job.data.name,
            "fingerprint": job.data.fingerprint,
            "epoch": f"{result.epoch} of {epochs}",
            "seed": str(job.seed),
            f"validation {job.metric}": str(result.accuracy),
            "recipe": self._recipe_text(epochs),
            "nas": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        }
        return TrainedNetwork(job.arch, tensors, job.data.classes, job.normalization, provenance)

    def _recipe_text(self, epochs: int) -> str:
        return format_recipe(attrs.evolve(self.job.recipe, epochs=epochs))

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


def _scored(run: TrainingRun) -> dict[str, Tensor]:
    """Return the tensors of the network that a training run validates: the moving average, if it has one."""
    model = run.model if run.average is None else run.average.model
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}
