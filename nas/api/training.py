"""Training runs of fits, comparisons and checks: their evaluators, and the studies that keep them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.architectures import file_stem
from nas.api.engines import RAY, EngineOptions, cores_per_worker, make_workers
from nas.api.quiet import quiet_optuna
from nas.search.defaults import EPOCHS
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.evaluate.base import Evaluators
    from nas.evaluate.short_training.resized import TrainEvaluators
    from nas.noise import ValidationSplit
    from nas.search.events import Listener
    from nas.search.job_study import JobStudy

Say = Callable[[str], None]
PROBED = "mobilenetv2"  # the network whose training step is measured to choose the number of threads


@frozen
class TrainingOptions:
    """Hold the options of the training runs of a fit, a comparison or a check.

    Attributes:
        data: Source of the images: "digits", a folder, a Parquet file or folder, or a name on the Hugging Face hub.
        epochs: Number of epochs of each training run.
        proxy_resolution: Height and width of the images in a training run, in pixels.
        images: Number of training images; None takes all of them.
        validation_share: Share of the images that validates; None takes a fifth, or more of a small set.
        train_on: Device for training runs, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.
        metric: Measure of accuracy, "accuracy" or "balanced".
        seed: First seed of the training runs.
        seeds: Number of training runs for each network, each with a seed of its own.
        channels: Number of channels of the images, as the networks take them.
    """

    data: str = "digits"
    epochs: int = EPOCHS
    proxy_resolution: int = 32
    images: int | None = None
    validation_share: float | None = None
    train_on: str | None = None
    metric: str = METRIC_NAMES[0]
    seed: int = 0
    seeds: int = 1
    channels: int = 3

    @property
    def every_seed(self) -> range:
        """Return the seeds of all training runs of a network."""
        return range(self.seed, self.seed + self.seeds)


def make_evaluators(
    training: TrainingOptions, engine: EngineOptions, say: Say, full_resolution: int | None = None
) -> "Evaluators":
    """Return evaluators that train on the images that the options name.

    Args:
        training: Options of the training runs.
        engine: Options of the workers.
        say: Function that is called with sentences about the images and the number of threads.
        full_resolution: Largest resolution of the networks of a search space with several; None for other networks.

    Raises:
        NasError: The images cannot be read.
    """
    from nas.evaluate.short_training.resized import TrainEvaluators
    from nas.train.device import find_device

    device = find_device(training.train_on)
    evaluators = TrainEvaluators(
        training.data,
        training.images,
        device,
        metric=training.metric,
        channels=training.channels,
        validation_share=training.validation_share,
        full_resolution=full_resolution,
        held=None if full_resolution is None else training.proxy_resolution,
    )
    data = evaluators.at(training.proxy_resolution, training.seed).data
    for note in data.notes:
        say(f"{data.name}: {note}")
    threads = _choose_threads(training, engine, evaluators, say)
    return attrs.evolve(
        evaluators, threads=threads, fingerprint=data.fingerprint, place=_absolute_path(training.data, engine.engine)
    )


def validation_split(evaluators: "Evaluators", training: TrainingOptions) -> "ValidationSplit | None":
    """Return the validation split of training runs; None if their evaluators do not know it."""
    from nas.evaluate.base import Validating

    evaluator = evaluators.at(training.proxy_resolution, training.seed)
    return evaluator.validation_split() if isinstance(evaluator, Validating) else None


def _absolute_path(source: str, engine: str) -> str:
    """Return the absolute path of images in files for tasks of Ray, else ""; the study keeps the path as it was given.

    Ray runs its tasks in working directories of its own.
    """
    is_file = engine == RAY and source != "digits" and Path(source).exists()
    return str(Path(source).absolute()) if is_file else ""


def _choose_threads(
    training: TrainingOptions, engine: EngineOptions, evaluators: "TrainEvaluators", say: Say
) -> int | None:
    """Return the number of threads of each training run; None for tasks of Ray and for training runs on a GPU.

    It is the given number, or the smallest number that is about as fast as the fastest one in a short probe.
    """
    from nas.arch.presets import preset
    from nas.workers.threads import choose_threads

    cores = cores_per_worker(engine.engine, engine.workers)
    if engine.threads is not None or cores is None or cores == 1:
        return engine.threads or cores
    evaluator, arch = evaluators.at(training.proxy_resolution, training.seed), preset(PROBED)
    if evaluator.seconds_per_step(arch) is None:
        return None
    choice = choose_threads(lambda: evaluator.seconds_per_step(arch) or 0.0, cores)
    say(str(choice))
    return choice.threads


@contextmanager
def open_training_study(
    name: str,
    settings: Mapping[str, Any],
    evaluators: "Evaluators",
    epochs: int,
    engine: EngineOptions,
    *,
    storage: str,
    listen: "Listener",
) -> "Iterator[JobStudy]":
    """Start the workers and open the study that keeps training runs, while the context lasts.

    Args:
        name: Name of the study.
        settings: Settings that make its training runs comparable, as JSON values.
        evaluators: Evaluators of the training runs.
        epochs: Number of epochs of each training run.
        engine: Options of the workers.
        storage: URL of the database.
        listen: Function that is called with every event.

    Raises:
        NasError: The workers cannot be started, or the study cannot be opened or was made with other settings.
    """
    from nas.search.job_study import open_job_study
    from nas.search.session import open_session

    with (
        quiet_optuna(),
        open_session(make_workers(engine)) as session,
        open_job_study(
            name, settings, evaluators, epochs, session, storage=storage, retries=engine.retries, listen=listen
        ) as study,
    ):
        yield study


def study_name(kind: str, base: str, settings: Mapping[str, Any], training: TrainingOptions) -> str:
    """Return the name of a study; the same settings and options give the same name again.

    Args:
        kind: What the study is for, "fit" or "compare".
        base: Name of the network that is scaled.
        settings: Settings that make its training runs comparable, as JSON values.
        training: Options of the training runs.
    """
    parts = [settings, training.epochs, training.data, training.images, training.train_on]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:6]
    return f"{kind}-{file_stem(base)}-{digest}"
