"""Searches: the public function, and the planning and running that the command line uses too."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from attrs import evolve, frozen

from nas.api.architectures import file_stem
from nas.api.arguments import check_arguments
from nas.api.durations import parse_duration
from nas.api.engines import cores_per_worker, make_engine
from nas.api.errors import explain_missing
from nas.api.evaluators import FINETUNE, Function, OnBatch, halves
from nas.api.quiet import quiet_optuna
from nas.api.request import SearchRequest, settle
from nas.api.search_plan import make_plan
from nas.errors import StudyError
from nas.search.defaults import BAND, TRIALS
from nas.studies.defaults import DEFAULT_STORAGE

# Only for type checkers. Functions import what they use: `import nas` and `nas --help` load no torch, ONNX Runtime or
# Optuna.
if TYPE_CHECKING:
    from nas.api.study import Study
    from nas.arch.spec import Architecture
    from nas.search.events import Event
    from nas.search.kept_weights import KeptWeights
    from nas.search.plan import Plan
    from nas.space.decode import SearchSpace
    from nas.studies.records import StudyView
    from nas.weights.base import TrainedNetwork

Say = Callable[[str], None]
Listener = Callable[["Event"], None]
Words = str | Sequence[str]


def _ignore(_message: object) -> None:
    """Ignore a message or an event."""


@check_arguments
@explain_missing()
def search(
    space: Union[str, Path, "SearchSpace", None] = None,
    target: Words = (),
    data: str | Path = "digits",
    trials: int = TRIALS,
    *,
    evaluator: str | Function | None = None,
    pretrained: Union[str, Path, "TrainedNetwork", None] = None,
    normalization: str | None = None,
    distill: bool | None = None,
    keep_weights: int | None = None,
    weights_dir: str | Path | None = None,
    epochs: int | None = None,
    proxy_resolution: int | None = None,
    images: int | None = None,
    validation_share: float | None = None,
    train_on: str | None = None,
    metric: str | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    precision: str = "fp32",
    fix: Mapping[str, object] | None = None,
    costs: Mapping[str, str | Function] | None = None,
    cost_timeout: str | float | None = None,
    device: Words = (),
    table: str | Path | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    objective: str = "soft",
    w: float | None = None,
    band: float = BAND,
    start_from: Union[str, Path, "Architecture", Sequence[Union[str, Path, "Architecture"]]] = (),
    seed: int = 0,
    study: str = "",
    storage: str = DEFAULT_STORAGE,
    workers: int | None = None,
    engine: str = "processes",
    address: str | None = None,
    trial_cpus: float | None = None,
    trial_gpus: float | None = None,
    threads: int | None = None,
    retries: int | None = None,
    confirm: int | None = None,
    timeout: str | float | None = None,
    patience: int | str | None = None,
    trial_timeout: str | float | None = None,
    screen: int | None = None,
    accuracy: str | None = None,
    ignore_columns: Words = (),
    accuracy_unit: str | None = None,
    supernet_epochs: int | None = None,
    supernet_dir: str | Path | None = None,
    checkpoint_dir: str | Path | None = None,
    progress: bool = False,
) -> "Study":
    """Search for the most accurate architecture that meets a target.

    Costs are those of the target task (`resolution`, `classes`). Accuracies come from short training runs on `data`,
    the proxy task, or from another `evaluator`. A study with the same name and settings continues where it stopped.

    The function prints nothing unless `progress` is true. It writes to `storage`, to a folder of text records beside an
    SQLite file, and, where they are used, to `checkpoint_dir`, `supernet_dir` and `weights_dir`. The first Ctrl-C lets
    the running trials finish and returns the study; the second one raises `KeyboardInterrupt`.

    Args:
        space: Name or YAML file of a search space, "around:" and an architecture, or what `nas.load_space` returned. By
            default, the networks around the `pretrained` one, or without it "mnasnet".
        target: Target such as "flops=400M", "params=5M", "peak_memory=8MB", "size=5MB" or "latency=8ms", or a list of
            targets. The first one also sets the cost range; the others are upper limits. FLOPs are multiply-adds. A
            name of `costs` with an amount and any unit, such as "energy=12mJ", limits a cost of your own.
        data: Images for training runs: "digits", a folder, a Parquet file or folder, or a Hugging Face hub name.
        trials: Number of architectures to evaluate in the whole study.
        evaluator: "train", "finetune", "supernet", "table:FILE", "python:MODULE:FUNCTION" or "zero-cost:NAME"; by
            default "finetune" with `pretrained`, else "train". A cheap evaluator and a "+" before it screen the cost
            range, for example "zero-cost:combined+train". A function takes an `nas.Architecture` and returns an
            accuracy from 0 to 1, or a pair of that and a dictionary to store. A function that is named in a text is
            called in another process, which it may end without harm to the search; a function object is called in
            this process unless `workers` or `trial_timeout` is given.
        pretrained: Pretrained network whose weights the candidates inherit: a source as `nas.load_weights` takes it,
            such as "efficientnet-lite0", or what that function returns. It is fine-tuned as the baseline. By default,
            candidates start from random weights.
        normalization: Normalization of the images that replaces that of `pretrained`; see `nas.load_weights`.
        distill: Whether candidates also learn the predictions of the fine-tuned `pretrained` network, as by default.
        keep_weights: Number of the best trials whose fine-tuned weights are kept in `weights_dir`; 3 by default.
        weights_dir: Folder for fine-tuned weights; "nas-weights" by default.
        epochs: Number of epochs for each training run; 3 by default.
        proxy_resolution: Height and width of the images in a training run in pixels, those of the largest network where
            resolutions differ; by default 32, and with `pretrained` those of the network.
        images: Number of training images; all by default.
        validation_share: Share of the images that validates where the data has no validation split of its own, above 0
            and at most 0.5; by default a fifth, or more of a small set.
        train_on: "cpu", "cuda" or "mps"; by default the fastest one that is available.
        metric: "accuracy" (the default) or "balanced", the mean over classes.
        resolution: Height and width of the images of the target task in pixels; by default those of the space.
        classes: Number of classes of the target task; by default those of the data, and for the embedded digits or an
            evaluator without images those of the space.
        precision: Precision of weights and activations for `size` and `peak_memory`: "fp32", "fp16", "bf16" or "int8".
        fix: Choices of the space that are fixed, for example `{"stage1.kernel": 3}`.
        costs: Functions that give costs of your own, by names such as "energy". A function takes an `nas.Architecture`
            and returns a number above 0 in the unit of its target. It is called in this process; one that is named in a
            text, "python:MODULE:FUNCTION", is called in another process, which it may end without harm to the search.
            "python-onnx:MODULE:FUNCTION" names a function that takes the path of an ONNX file.
        cost_timeout: Longest duration of one call of such a function in another process: a text such as "2m", or
            seconds; 10 minutes by default.
        device: Device of a latency target, for example "cpu:threads=4" or "ssh://me@board"; several equal ones share
            the work.
        table: File of a latency table; by default one of exactly this device, or else candidates are measured.
        sampler: "surrogate" (the default), "tpe", "nsga2", "nsga3", "evolution", "random" or "optuna:CLASS".
        pruner: "median" (the default), "halving", "hyperband" or "none".
        objective: "soft", "hard", "absolute", or "pareto" for a whole front.
        w: Exponent of the cost in the score; by default the one of the objective, -0.07 for "soft".
        band: Share of the first target below which no architecture is evaluated.
        start_from: Known networks that are evaluated first: references as in `nas.load_architecture`, or architectures.
        seed: Seed of all random numbers.
        study: Name of the study; by default it is made from the settings.
        storage: Optuna URL of the database.
        workers: Number of processes that evaluate at the same time; 1 by default, which is this process. With more, a
            script needs `if __name__ == "__main__":` around its code, as Python's `multiprocessing` does.
        engine: "processes", or "ray" for a Ray cluster.
        address: Address of the Ray cluster, HOST:PORT; "auto" by default.
        trial_cpus: CPU cores of a trial on Ray; 1 by default.
        trial_gpus: GPUs of a trial on Ray; 0 by default.
        threads: Number of threads of each training run on the CPU; None chooses it by a short probe.
        retries: Number of times that a trial whose process was ended is started again; 3 by default.
        confirm: Number of the best networks that are re-trained with two more seeds in the end; 3 by default.
        timeout: Duration after which no trial begins: a text such as "2h", or seconds.
        patience: Number of trials in a row without improvement after which the search ends; or "1%" or "auto" to end it
            after 20 such trials if the chance of a gain above 0.1 points is at most 1%. `Study.outlook` has the chance.
        trial_timeout: Longest duration of one evaluation: a text such as "2h", or seconds. A longer one is stopped, and
            its trial fails. It is then done in another process, even with a single worker.
        screen: Number of random networks that the evaluator before a "+" screens; 100 by default.
        accuracy: Column of accuracies in a table; by default "accuracy" or "acc", else the one of the lowest seed.
        ignore_columns: Patterns of columns of a table that are ignored, for example "op*".
        accuracy_unit: "percent" or "share", the unit of the accuracies in a table; by default it is found from them.
        supernet_epochs: Number of epochs of the training run of a supernet; 60 by default, and 3 with `pretrained`.
        supernet_dir: Folder for the weights of supernets; "nas-supernets" by default.
        checkpoint_dir: Folder for the checkpoints of long training runs; "nas-checkpoints" by default.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The study with all its trials. Costs are in multiply-adds, parameters, bytes and milliseconds.

    Raises:
        TargetError: A target cannot be read, or no architecture of the space meets it.
        StudyError: The study was made with other settings, the database cannot be opened, or every trial failed.
        DataError: The images or the table cannot be used.
        MissingPackageError: The evaluator or the device needs a package that is not installed.
        NasError: Another argument cannot be used; the message says which and what to write instead.

    >>> import nas
    >>> study = nas.search("mnasnet", target="flops=100M", trials=6, evaluator="zero-cost:depth")
    >>> study.best.costs["macs"] <= 100e6
    True
    """
    words: dict[str, Any] = {
        "pretrained": str(pretrained) if isinstance(pretrained, Path) else pretrained,
        "normalization": normalization,
        "distill": distill,
        "keep_weights": keep_weights,
        "weights_dir": weights_dir,
        "epochs": epochs,
        "proxy_resolution": proxy_resolution,
        "images": images,
        "validation_share": validation_share,
        "train_on": train_on,
        "metric": metric,
        "pruner": pruner,
        "confirm": confirm,
        "screen": screen,
        "accuracy": accuracy,
        "accuracy_unit": accuracy_unit,
        "ignore_columns": _words(ignore_columns) or None,
        "supernet_epochs": supernet_epochs,
        "supernet_dir": supernet_dir,
        "checkpoint_dir": checkpoint_dir,
        "address": address,
        "trial_cpus": trial_cpus,
        "trial_gpus": trial_gpus,
        "threads": threads,
        "retries": retries,
        "cost_timeout_s": None if cost_timeout is None else parse_duration(cost_timeout),
    }
    # None stands for an option that was not given: only a given one is an error if nothing uses it.
    given = {name: value for name, value in words.items() if value is not None}
    request = SearchRequest(
        targets=_words(target),
        costs=costs or {},
        devices=_words(device),
        table=None if table is None else Path(table),
        space=str(space) if isinstance(space, Path) else space,
        fixes={name: str(option) for name, option in (fix or {}).items()},
        evaluator=evaluator,
        trials=trials,
        study=study,
        storage=storage,
        start_from=_references(start_from),
        resolution=resolution,
        classes=classes,
        precision=precision,
        data=str(data) if isinstance(data, Path) else data,
        seed=seed,
        objective=objective,
        w=w,
        band=band,
        sampler=sampler,
        engine=engine,
        workers=workers,
        timeout_s=None if timeout is None else parse_duration(timeout),
        patience=patience,
        trial_timeout_s=None if trial_timeout is None else parse_duration(trial_timeout),
        given=frozenset({*given, *({"data"} if data != "digits" else ())}),
        **given,
    )
    return _search(request, progress=progress)


def _search(request: SearchRequest, *, progress: bool) -> "Study":
    from nas.api.study import Study
    from nas.studies.opening import absolute_url

    storage = request.storage
    # A function that is called in this process may change the working directory.
    request = evolve(request, storage=absolute_url(storage))
    if progress:
        from nas.api.progress import SearchProgress

        with SearchProgress() as bar, plan_search(request, say=bar.say, on_batch=bar.on_batch) as planned:
            return Study(run_search(planned, listen=bar.listen), storage)
    with plan_search(request) as planned:
        return Study(run_search(planned), storage)


def _words(given: Words) -> tuple[str, ...]:
    return tuple(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else (given,)


def _references(
    given: Union[str, Path, "Architecture", Sequence[Union[str, Path, "Architecture"]]],
) -> tuple[Union[str, "Architecture"], ...]:
    """Return networks to start from; a single one need not be in a list."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    return tuple(str(one) if isinstance(one, Path) else one for one in several)


@frozen(eq=False)
class PlannedSearch:
    """Hold a search that was checked and can be run while its devices are connected.

    Attributes:
        plan: The plan.
        request: The request, with the values that are used instead of options that have no effect.
    """

    plan: "Plan"
    request: SearchRequest


def _check_main_module() -> None:
    """Raise StudyError in a worker process that imports a script which starts a search while it is imported.

    `multiprocessing` imports the main module in each worker process; without the guard the worker would run the whole
    search again, and then fail with a message of Python that does not name the search.
    """
    from nas.workers.processes import is_importing_main

    if is_importing_main():
        raise StudyError(
            "a worker process imports the script that starts the search, and so would start it again",
            'put the code of the script below `if __name__ == "__main__":`',
        )


@contextmanager
def plan_search(
    request: SearchRequest, *, say: Say = _ignore, on_batch: OnBatch | None = None
) -> Iterator[PlannedSearch]:
    """Load and check everything that a request names; nothing is stored.

    The connections to devices stay open until the context ends.

    Args:
        request: The request.
        say: Function that is called with sentences about the images, the device and what takes long.
        on_batch: Function that is called after each step of a training run with the step, the number of steps and the
            loss.

    Raises:
        NasError: Something in the request cannot be used.
    """
    _check_main_module()
    settled = settle(request)
    with quiet_optuna(), ExitStack() as devices:
        yield PlannedSearch(make_plan(settled, say, on_batch, devices), settled)


def run_search(planned: PlannedSearch, *, listen: Listener = _ignore, say: Say = _ignore) -> "StudyView":
    """Run a planned search to its end.

    Args:
        planned: The search; its context is still open.
        listen: Function that is called with every event of the search.
        say: Function that is called with a sentence if the weights of a trial cannot be kept.

    Returns:
        The study as it is stored.

    Raises:
        NasError: The study was made with other settings, or one trial after another failed.
    """
    from nas.api.dashboard import draw_front
    from nas.search.duration import evaluations_of_best
    from nas.search.run import run

    request = planned.request
    kept = kept_weights(planned, say)
    engine = partial(
        make_engine,
        request.engine,
        request.workers,
        request.address,
        request.trial_cpus,
        request.trial_gpus,
        limit_s=request.trial_timeout_s,
    )
    cores = cores_per_worker(request.engine, request.workers)
    plan, heard = planned.plan, listen
    if kept is not None:
        plan, heard = _with_weights(plan, kept), partial(_hear, listen, kept)
    view = run(plan, storage=request.storage, listen=heard, engine=engine, cores=cores, draw=draw_front)
    if kept is not None:
        # The process that finishes last re-trains the best trials, which may change their order.
        complete = view.counted >= request.trials and not evaluations_of_best(planned.plan)
        kept.finish(view, final=complete or bool(view.confirmed))
    return view


def _with_weights(plan: "Plan", kept: "KeptWeights") -> "Plan":
    """Return the plan with an evaluator that writes weights into the folder of the study.

    The name of the study is known only after the evaluator is made.
    """
    from nas.evaluate.finetune.evaluator import FinetuneEvaluator

    assert isinstance(plan.evaluator, FinetuneEvaluator)  # noqa: S101 -- no other evaluator keeps weights
    return evolve(plan, evaluator=evolve(plan.evaluator, weights=kept.written))


def _hear(listen: Listener, kept: "KeptWeights", event: "Event") -> None:
    """Keep the weights of a trial that has ended, and report the event."""
    kept.listen(event)
    listen(event)


def kept_weights(planned: PlannedSearch, say: Say = _ignore) -> "KeptWeights | None":
    """Return where the fine-tuned weights of the best trials are kept; None if the search keeps none.

    Args:
        planned: The search.
        say: Function that is called with a sentence if a file cannot be moved or removed.
    """
    from nas.objective import PARETO
    from nas.search.kept_weights import KeptWeights

    request, study = planned.request, planned.plan.study_name
    if halves(request.evaluator_text)[1] != FINETUNE or not request.keep_weights:
        return None
    folder = study_weights_folder(request.weights_dir, request.storage, study)
    return KeptWeights(folder, request.keep_weights, say, keeps_all=request.objective == PARETO)


def study_weights_folder(weights_dir: Path, storage: str, study: str) -> Path:
    """Return the folder in which a search keeps the weights of a study.

    Args:
        weights_dir: Folder for the weights of all studies.
        storage: Optuna URL of the database of the study.
        study: Name of the study.
    """
    from nas.studies.opening import absolute_url
    from nas.studies.urls import mask

    # Studies of other databases may have the same name, and their files must not be touched.
    digest = hashlib.sha256(json.dumps([mask(absolute_url(storage)), study]).encode()).hexdigest()[:6]
    return weights_dir.absolute() / f"{file_stem(study)}-{digest}"
