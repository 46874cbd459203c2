"""The request for a search: everything that can be asked for, checked when it is created."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Union

from attrs import evolve, field, frozen
from attrs.converters import optional

from nas.api.engines import ENGINES, check_engine
from nas.api.evaluators import (
    ACCURACY_UNITS,
    FINETUNE,
    PYTHON,
    TRAIN,
    TRAINING,
    EvaluatorOptions,
    Function,
    check_options,
    function_name,
    halves,
)
from nas.api.fields import (
    check_functions,
    check_name_of_study,
    check_not_negative,
    check_number,
    check_positive,
    check_pretrained,
    check_share,
    check_space,
    check_text,
    check_texts,
    one_of,
    whole_number,
)
from nas.errors import NasError
from nas.search.defaults import BAND, CONFIRM, COST_TIMEOUT_S, EPOCHS, KEEP_WEIGHTS, RETRIES, SCREENED, TRIALS
from nas.search.patience import Patience, parse_patience
from nas.studies.defaults import DEFAULT_STORAGE
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.space.decode import SearchSpace
    from nas.weights.base import TrainedNetwork

# Values for evaluators that train no candidate: there is one accuracy, and no epoch before it to prune after.
UNTRAINED: Mapping[str, Any] = MappingProxyType({"epochs": 1, "pruner": "none"})


@frozen
class SearchRequest:
    """Hold what a search is asked for, in the words of the command line.

    Attributes:
        targets: Targets like "flops=400M"; the first one also sets the cost range, more are upper limits.
        costs: Functions that give costs of the user's own, by the names of the costs: "python:MODULE:FUNCTION",
            "python-onnx:MODULE:FUNCTION", or a function of an architecture.
        cost_timeout_s: Longest duration of a call of such a function in another process, in seconds.
        devices: Devices that a latency target refers to, for example "cpu:threads=4"; equal ones share the work.
        table: File of a latency table of the device; None takes one that fits, or measures candidates.
        space: Search space: its name, its file, or the space itself. None takes the networks around the pretrained
            source, or without one "mnasnet".
        fixes: Options of choices that are fixed, by the names of the choices.
        evaluator: Evaluator that gives the accuracies, for example "table:FILE", or a function of an architecture. None
            takes "finetune" with a pretrained source, and else "train".
        pretrained: Pretrained network whose weights the candidates inherit: a source such as "efficientnet-lite0", or
            what `nas.load_weights` returns. None starts from random weights.
        normalization: Normalization of the images that replaces that of the source.
        distill: Whether candidates also learn the predictions of the fine-tuned source.
        keep_weights: Number of the best trials whose fine-tuned weights are kept.
        weights_dir: Folder for fine-tuned weights.
        screen: Number of random networks that the evaluator before the "+" screens.
        accuracy: Column of accuracies in a table; "" chooses one.
        ignore_columns: Patterns of columns of a table that are ignored.
        accuracy_unit: Unit of the accuracies in a table, "percent" or "share"; "auto" finds it from the values.
        trials: Number of trials in the whole study.
        study: Name of the study; "" makes one from the settings.
        storage: Optuna URL of the database.
        start_from: Known networks that are evaluated first, as references or architectures.
        resolution: Height and width of the images of the target task in pixels; None takes those of the space.
        classes: Number of classes of the target task; None takes those of the data, and for the embedded digits or an
            evaluator without images those of the space.
        precision: Precision of weights and activations, for targets in bytes.
        data: Images: "digits", a folder, a Parquet file or folder, or a Hugging Face hub name.
        epochs: Number of epochs for each training run.
        proxy_resolution: Height and width of the images in a training run in pixels; in a space with several
            resolutions, those of the largest one. None takes 32, or with a pretrained source those of the network.
        images: Number of training images; None takes all of them.
        validation_share: Share of the images that validates; None takes a fifth, or more of a small set.
        train_on: Device for training runs, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.
        metric: Measure of a training run, "accuracy" or "balanced".
        supernet_epochs: Epochs of the training run of a supernet; None takes the default of the recipe.
        supernet_dir: Folder for the weights of supernets.
        seed: Seed of all random numbers.
        objective: "soft", "hard", "absolute" or "pareto".
        w: Exponent of the cost in the score; None takes the one of the objective.
        band: Lower bound of the cost range, as a share of the first target.
        sampler: Name of the sampler; None or "" takes the default.
        pruner: Name of the pruner.
        confirm: Number of the best networks that are re-trained with more seeds.
        engine: "processes" for processes of this machine, or "ray" for a Ray cluster.
        workers: Number of processes that evaluate at the same time; None takes the default of the engine.
        address: Address of the Ray cluster, HOST:PORT or "auto".
        trial_cpus: CPU cores of a trial on Ray.
        trial_gpus: GPUs of a trial on Ray.
        threads: Number of threads of each training run on the CPU; None chooses it by a short probe.
        retries: Number of times that a trial is started again after its process was ended, before it fails.
        checkpoint_dir: Folder for the checkpoints of long training runs.
        timeout_s: Duration in seconds after which no trial begins; None is no limit.
        patience: Number of trials in a row without improvement that end the search, "auto", or a chance such as "1%"
            of a gain; None is no limit.
        trial_timeout_s: Longest duration of one evaluation in seconds, after which its trial fails; None is no limit.
        given: Names of the options that the user gave. An option that the evaluator or the engine does not use is an
            error if it was given.

    Raises:
        NasError: A number is outside its range.
    """

    targets: tuple[str, ...] = field(validator=check_texts)
    costs: Mapping[str, str | Function] = field(factory=dict, validator=check_functions)
    cost_timeout_s: float = COST_TIMEOUT_S
    devices: tuple[str, ...] = field(default=(), validator=check_texts)
    table: Path | None = None
    space: Union[str, "SearchSpace", None] = field(default=None, validator=check_space)
    fixes: Mapping[str, str] = field(factory=dict)
    evaluator: str | Function | None = None
    pretrained: Union[str, "TrainedNetwork", None] = field(default=None, validator=check_pretrained)
    normalization: str | None = None
    distill: bool = True
    keep_weights: int = whole_number(KEEP_WEIGHTS, 0, 10_000)
    weights_dir: Path = field(default=Path("nas-weights"), converter=Path)
    screen: int = whole_number(SCREENED, 5, 10_000)
    accuracy: str = field(default="", validator=check_text)
    ignore_columns: tuple[str, ...] = field(default=(), validator=check_texts)
    accuracy_unit: str = one_of(ACCURACY_UNITS, ACCURACY_UNITS[0])
    trials: int = whole_number(TRIALS, 1)
    study: str = field(default="", validator=check_name_of_study)
    storage: str = field(default=DEFAULT_STORAGE, validator=check_text)
    start_from: Sequence[Union[str, "Architecture"]] = ()
    resolution: int | None = whole_number(None, 1, 10_000)
    classes: int | None = whole_number(None, 2, 10_000_000)
    precision: str = field(default="fp32", validator=check_text)
    data: str = field(default="digits", validator=check_text)
    epochs: int = whole_number(EPOCHS, 1)
    proxy_resolution: int | None = whole_number(None, 4, 1024)
    images: int | None = whole_number(None, 2)
    validation_share: float | None = field(default=None, validator=check_share)
    train_on: str | None = None
    metric: str = one_of(METRIC_NAMES, METRIC_NAMES[0])
    supernet_epochs: int | None = whole_number(None, 1)
    supernet_dir: Path = field(default=Path("nas-supernets"), converter=Path)
    seed: int = whole_number(0, 0, 2**31 - 1)
    objective: str = field(default="soft", validator=check_text)
    w: float | None = field(default=None, validator=check_number)
    band: float = field(default=BAND, validator=check_not_negative)
    sampler: str | None = None
    pruner: str = field(default="median", validator=check_text)
    confirm: int = whole_number(CONFIRM, 0, 100)
    engine: str = one_of(ENGINES, ENGINES[0])
    workers: int | None = whole_number(None, 1, 1024)
    address: str = field(default="auto", validator=check_text)
    trial_cpus: float = field(default=1.0, validator=check_positive)
    trial_gpus: float = field(default=0.0, validator=check_not_negative)
    threads: int | None = whole_number(None, 1, 1024)
    retries: int = whole_number(RETRIES, 0, 100)
    checkpoint_dir: Path = field(default=Path("nas-checkpoints"), converter=Path)
    timeout_s: float | None = None
    patience: Patience | None = field(default=None, converter=optional(parse_patience))
    trial_timeout_s: float | None = None
    given: frozenset[str] = frozenset()

    @property
    def evaluator_text(self) -> str:
        """Return the evaluator as it is written on the command line.

        Raises:
            NasError: The evaluator is a function without a name.
        """
        evaluator = self.evaluator or (TRAIN if self.pretrained is None else FINETUNE)
        return evaluator if isinstance(evaluator, str) else f"{PYTHON}:{function_name(evaluator)}"

    @property
    def evaluator_options(self) -> EvaluatorOptions:
        """Return the options of the evaluators."""
        return EvaluatorOptions(
            seed=self.seed,
            metric=self.metric,
            train_on=self.train_on,
            images=self.images,
            # By their whole paths: an evaluated function may change the working directory.
            checkpoint_dir=self.checkpoint_dir.absolute(),
            supernet_epochs=self.supernet_epochs,
            supernet_dir=self.supernet_dir.absolute(),
            accuracy=self.accuracy,
            ignore_columns=self.ignore_columns,
            accuracy_unit=self.accuracy_unit,
            distill=self.distill,
            teacher_dir=self.weights_dir.absolute(),
        )


def settle(request: SearchRequest) -> SearchRequest:
    """Check that all given options are used, and replace those of training if no candidate is trained.

    Raises:
        NasError: There is no such evaluator, or the evaluator does not use a given option.
        StudyError: The engine does not use a given option.
    """
    text = request.evaluator_text
    if request.normalization is not None and request.pretrained is None:
        raise NasError(
            "a normalization belongs to a pretrained network, and none is given",
            "add one like --pretrained efficientnet-lite0, or leave --normalization out",
        )
    check_options(text, request.given)
    check_engine(request.engine, request.given)
    return request if halves(text)[1] in TRAINING else evolve(request, **UNTRAINED)
