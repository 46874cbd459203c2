"""Full training of one network: the public function, and the run that the command line uses too."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from attrs import frozen

from nas.api.architectures import file_stem
from nas.api.arguments import check_arguments
from nas.api.durations import parse_duration
from nas.api.errors import explain_missing
from nas.api.train_job import find_network, make_job, store_in_study
from nas.api.train_request import TrainRequest
from nas.errors import NasError
from nas.studies.defaults import DEFAULT_STORAGE

# torch is an optional package, so what needs it is imported when a function is called.
if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.train.full.folder import TrainingFolder
    from nas.train.full.job import TrainingJob
    from nas.train.full.report import Report
    from nas.train.tracking import Tracker
    from nas.weights.base import TrainedNetwork


@frozen
class TrainingResult:
    """Hold the result of a training run.

    Attributes:
        folder: Folder with the weights, which every command takes as a CHECKPOINT.
        metrics: Content of the file `metrics.json` of the folder: the accuracies with their intervals, and the curve.
        is_first_process: Whether this process has written the folder, and not another one that trained with it.

    >>> import nas
    >>> result = nas.train("mnasnet-small", resolution=16, epochs=1, images=64, train_on="cpu", out="small")
    >>> result.network.arch.classes, sorted(result.metrics["test"])
    (10, ['accuracy', 'assessment', 'high', 'images', 'low'])
    """

    folder: Path
    metrics: dict[str, Any]
    is_first_process: bool = True

    @property
    def network(self) -> "TrainedNetwork":
        """Return the network after its best epoch.

        Raises:
            WeightsError: The folder has no weights any more.
        """
        from nas.api.weights import load_weights

        return load_weights(self.folder)

    @property
    def accuracy(self) -> float:
        """Return the accuracy on the test split."""
        return float(self.metrics["test"]["accuracy"])


@check_arguments
@explain_missing()
def train(
    arch: Union[str, Path, "Architecture"],
    data: str | Path = "digits",
    *,
    pretrained: Union[str, Path, "TrainedNetwork", None] = None,
    normalization: str | None = None,
    recipe: str | Path | None = None,
    epochs: int | None = None,
    timeout: str | float | None = None,
    resolution: int | None = None,
    images: int | None = None,
    validation_share: float | None = None,
    train_on: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
    deterministic: bool = False,
    out: str | Path | None = None,
    weights_dir: str | Path = "nas-weights",
    storage: str = DEFAULT_STORAGE,
    teacher: str | Path | None = None,
    teacher_normalization: str | None = None,
    unlabeled: str | Path | None = None,
    rounds: int = 1,
    confidence: float = 0.3,
    per_class: int | None = None,
    grow: float = 0.0,
    tensorboard: str | Path | None = None,
    mlflow: str | None = None,
    progress: bool = False,
) -> TrainingResult:
    """Train a network on the training split, choose its best epoch on the validation split, and test it once.

    After each epoch everything is saved in the folder `out`. The same call continues a training run that was
    interrupted, and ends with the same weights on a CPU; a run that is complete is not repeated.

    The function prints nothing unless `progress` is true.

    Args:
        arch: Network: a reference as `nas.load_architecture` takes it, or an architecture.
        data: Images: "digits", a folder, a Parquet file or folder, or a Hugging Face hub name.
        pretrained: Source of the weights to start from, as `nas.load_weights` takes it, or what that function returns.
            By default, a network of a study starts from the weights that its search kept, and any other network from
            random ones, as "none" asks for.
        normalization: Normalization of the images that replaces that of `pretrained`; see `nas.load_weights`.
        recipe: Name or YAML file of the recipe; by default "finetune" with weights to start from, else "fast".
        epochs: Number of epochs; that of the recipe by default.
        timeout: Duration in which the run ends, such as "2h" or a number of seconds. The number of epochs is chosen so.
        resolution: Height and width of the images in pixels; those of the network by default.
        images: Number of training images; all by default.
        validation_share: Share of the images that validates where the data has no validation split of its own, above 0
            and at most 0.5; by default a fifth, or more of a small set.
        train_on: "cpu", "cuda" or "mps"; by default the fastest one that is available.
        metric: Measure that chooses the best epoch, "accuracy" or "balanced".
        seed: Seed of all random numbers.
        deterministic: Whether torch uses deterministic algorithms alone, so that a run on a GPU can be repeated too.
        out: Folder of the results; by default the name of the network and "-trained".
        weights_dir: Folder in which searches keep weights.
        storage: Optuna URL of the database that holds the study of a network.
        teacher: Teacher whose outputs the network learns beside the labels: a source as in `pretrained`, the folder of
            a training run, or an ONNX file. With `unlabeled`, the teacher that labels the images of the first round.
        teacher_normalization: Normalization of the teacher's images that replaces the one that the teacher states.
        unlabeled: Folder of images without labels, which a teacher labels (Noisy Student).
        rounds: Number of students, each of which is the teacher of the next one.
        confidence: Smallest probability of the most probable class with which an unlabeled image is used.
        per_class: Number of unlabeled images of each class; by default the mean number of confident images.
        grow: Compound coefficient by which each student is larger than its teacher.
        tensorboard: Folder that receives an event file for TensorBoard.
        mlflow: Tracking URI of MLflow, such as "sqlite:///mlflow.db".
        progress: Whether progress is shown on standard error.

    Returns:
        The folder and the metrics.

    Raises:
        NasError: An argument cannot be used, another process trains in the folder, or the folder holds another
            training run; the message says what differs.
        EvaluationError: The training run diverged, or memory ran out.
        DataError: The images cannot be used.
        MissingPackageError: A package of `hwnas[train]` is not installed.

    >>> import nas
    >>> nas.train("mnasnet-small", resolution=16, epochs=1, images=64, train_on="cpu").folder.name
    'mnasnet-small-trained'
    """
    from nas.train.full.report import NoReport

    request = TrainRequest(
        arch=str(arch) if isinstance(arch, Path) else arch,
        data=str(data),
        pretrained=str(pretrained) if isinstance(pretrained, Path) else pretrained,
        normalization=normalization,
        recipe=None if recipe is None else str(recipe),
        epochs=epochs,
        timeout_s=None if timeout is None else parse_duration(timeout),
        resolution=resolution,
        images=images,
        validation_share=validation_share,
        train_on=train_on,
        metric=metric,
        seed=seed,
        deterministic=deterministic,
        out=None if out is None else Path(out),
        weights_dir=weights_dir,
        storage=storage,
        teacher=None if teacher is None else str(teacher),
        teacher_normalization=teacher_normalization,
        unlabeled=None if unlabeled is None else Path(unlabeled),
        rounds=rounds,
        confidence=confidence,
        per_class=per_class,
        grow=grow,
        tensorboard=None if tensorboard is None else Path(tensorboard),
        mlflow=mlflow,
    )
    if not progress:
        return run_training(request, NoReport())
    from nas.api.train_progress import TrainProgress

    with TrainProgress() as bar:
        return run_training(request, bar)


@explain_missing()
def run_training(request: TrainRequest, report: "Report", logs: "Sequence[Tracker]" = ()) -> TrainingResult:
    """Run or continue a training run to its end, with its test; with unlabeled images, all its rounds.

    Args:
        request: What is asked for.
        report: Receiver of messages and of the results of epochs.
        logs: Receivers of the values of each epoch.

    Raises:
        NasError: As `train` raises it.
    """
    if request.unlabeled is None:
        return _train_once(request, report, logs)
    from nas.api.noisy_student import NoisyStudent

    network = find_network(request, report.say)
    folder = request.out or Path(f"{file_stem(network.name)}-trained")
    rounds = NoisyStudent(
        request,
        network.arch.adapted(resolution=request.resolution or network.arch.resolution, classes=network.arch.classes),
        None if network.source is None else network.source.network,
        folder,
        report,
        lambda round_, prepare, tests: _train_once(round_, report, logs, prepare, tests=tests).metrics,
    )
    return TrainingResult(folder, rounds.run())


def _train_once(
    request: TrainRequest,
    report: "Report",
    logs: "Sequence[Tracker]" = (),
    prepare: "Callable[[TrainingJob], TrainingJob]" = lambda job: job,
    *,
    tests: bool = True,
) -> TrainingResult:
    """Run or continue one training run to its end.

    Args:
        request: What is asked for.
        report: Receiver of messages and of the results of epochs.
        logs: Receivers of the values of each epoch.
        prepare: Function that changes the job before it is trained.
        tests: Whether the test split is used in the end.
    """
    began = time.monotonic()
    from nas.train.device import find_device
    from nas.train.full.distributed import find_processes, joined
    from nas.train.full.folder import TrainingFolder
    from nas.train.full.result import final_metrics, running_metrics
    from nas.train.full.training import FullTraining
    from nas.train.seeded import deterministic_algorithms
    from nas.train.tracking import closing_all

    processes = find_processes()
    device = processes.device(find_device(request.train_on))
    say = report.say if processes.is_first else _ignore
    network = find_network(request, say)
    folder = TrainingFolder(request.out or Path(f"{file_stem(network.name)}-trained"))
    job = prepare(make_job(request, network, device, processes, say))
    with ExitStack() as stack:
        # The other processes write nothing, and wait for the first one.
        stack.enter_context(folder.in_use() if processes.is_first else nullcontext())
        trackers = _open_trackers(request, folder, job, report) if processes.is_first else ()
        stack.enter_context(closing_all(trackers))
        stack.enter_context(deterministic_algorithms() if request.deterministic else nullcontext())
        stack.enter_context(joined(processes, device))
        training = FullTraining(job, folder, report, (*logs, *trackers), began)
        progress = training.run()
        metrics = running_metrics(job, progress)
        if processes.is_first and tests:
            draw = partial(_draw, folder.path, say)
            metrics = final_metrics(job, folder, training.best_network(progress), metrics, draw)
            store_in_study(request, network, folder.path, metrics, say)
    return TrainingResult(folder.path, metrics, processes.is_first)


def _draw(folder: Path, say: "Callable[[str], None]", assessment: "Mapping[str, Any]") -> None:
    """Write the drawings of a test; a failure is only reported, since the metrics hold all of their numbers."""
    from nas.api.evaluation import draw_assessment

    try:
        draw_assessment(folder.name, assessment, None, folder)
    except NasError as error:
        say(f"the test is not drawn: {error.problem}")


def _ignore(_message: str) -> None:
    """Ignore a message, which another process reports."""


def _open_trackers(
    request: TrainRequest, folder: "TrainingFolder", job: "TrainingJob", report: "Report"
) -> "tuple[Tracker, ...]":
    from nas.train.tracking import TrackedRun, open_trackers

    described = job.describe()
    text = json.dumps([str(folder.path.absolute()), dict(described)], sort_keys=True)
    run = TrackedRun(folder.path.name, hashlib.sha256(text.encode()).hexdigest()[:32], described)
    return open_trackers(request.tensorboard, request.mlflow, run, report.say)
