"""Evaluators by the words that users write for them, and the options that each evaluator uses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from nas.errors import NasError
from nas.train.defaults import METRIC_NAMES

# Each maker below imports its evaluator itself, so that a table or a function is used without torch.
if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.data.base import ImageData
    from nas.evaluate.base import Evaluator
    from nas.evaluate.zero_cost.scores import ImageScorer
    from nas.space.decode import SearchSpace
    from nas.weights.base import TrainedNetwork

Load = Callable[[], "ImageData"]
OnBatch = Callable[[int, int, float], None]
Function = Callable[["Architecture"], Any]
TRAIN, FINETUNE, SUPERNET, TABLE = "train", "finetune", "supernet", "table"
PYTHON, ZERO_COST = "python", "zero-cost"
# Evaluators that train each candidate, epoch by epoch, with a seed.
TRAINING = (TRAIN, FINETUNE)
FORMS: Mapping[str, str] = MappingProxyType(
    {
        TRAIN: "train",
        FINETUNE: "finetune",
        SUPERNET: "supernet",
        TABLE: "table:FILE",
        PYTHON: "python:MODULE:FUNCTION",
        ZERO_COST: "zero-cost:NAME",
    }
)
# Zero-cost scores that use images; the other ones are counted from the architecture alone.
LOOK = "zero-cost:naswot|distinctness|combined"
BEFORE = "CHEAP+COSTLY"  # an evaluator that screens the cost range first, and the one that gives the accuracies
# Units of the accuracies in a table; "auto" finds the unit from the values.
ACCURACY_UNITS = ("auto", "percent", "share")
# Options, and the evaluators that use them.
USERS: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("epochs", "metric", "pruner", "confirm", "checkpoint_dir"), TRAINING),
    (("data", "proxy_resolution", "images", "validation_share", "train_on"), (*TRAINING, SUPERNET, LOOK)),
    (("pretrained", "normalization"), (FINETUNE, SUPERNET)),
    (("distill", "keep_weights", "weights_dir"), (FINETUNE,)),
    (("supernet_epochs", "supernet_dir"), (SUPERNET,)),
    (("accuracy", "accuracy_unit", "ignore_columns"), (FORMS[TABLE],)),
    (("screen",), (BEFORE,)),
)


@frozen
class EvaluatorOptions:
    """Hold the options that evaluators are made with.

    Attributes:
        seed: Seed of all random numbers.
        metric: Measure of a training run, "accuracy" or "balanced".
        train_on: Device for training runs, "cpu", "cuda" or "mps"; None chooses the fastest one that is available.
        images: Number of training images; None takes all of them.
        checkpoint_dir: Folder for the checkpoints of long training runs; None keeps no checkpoints.
        supernet_epochs: Epochs of the training run of a supernet; None takes the default of the recipe.
        supernet_dir: Folder for the weights of supernets.
        accuracy: Column of accuracies in a table; "" chooses one.
        ignore_columns: Patterns of columns of a table that are ignored.
        accuracy_unit: Unit of the accuracies in a table, "percent" or "share"; "auto" finds it from the values.
        source: Pretrained network that candidates inherit their weights from; None if there is none.
        distill: Whether candidates also learn the predictions of the fine-tuned source.
        teacher_dir: Folder for the fine-tuned source.
    """

    seed: int = 0
    metric: str = METRIC_NAMES[0]
    train_on: str | None = None
    images: int | None = None
    checkpoint_dir: Path | None = None
    supernet_epochs: int | None = None
    supernet_dir: Path = Path("nas-supernets")
    accuracy: str = ""
    ignore_columns: Sequence[str] = ()
    accuracy_unit: str = ACCURACY_UNITS[0]
    source: "TrainedNetwork | None" = None
    distill: bool = True
    teacher_dir: Path = Path("nas-weights")


def halves(text: str) -> tuple[str, str]:
    """Return the evaluator before a "+", or "" if there is none, and the evaluator that gives the accuracies."""
    cheap, _, costly = text.rpartition("+")
    return (cheap, costly) if cheap and costly.partition(":")[0] in FORMS else ("", text)


def split(text: str) -> tuple[str, str]:
    """Return the kind of an evaluator, and the text after the kind.

    Raises:
        NasError: There is no evaluator of this kind, or its file, function or name is missing.
    """
    kind, _, rest = text.partition(":")
    if kind not in FORMS or bool(rest) != (":" in FORMS[kind]):
        raise NasError(f"there is no evaluator {text!r}", f"use {', '.join((*FORMS.values(), BEFORE))}")
    return kind, rest


def check_options(text: str, given: frozenset[str]) -> None:
    """Check that an evaluator uses all options that a user gave.

    Args:
        text: The evaluator, with another one and a "+" before it if the cost range is screened.
        given: Names of the options that the user gave, for example "proxy_resolution".

    Raises:
        NasError: There is no such evaluator, or it does not use one of the options.
    """
    cheap, costly = halves(text)
    parts = [split(part) for part in (cheap, costly) if part]
    users = {LOOK if kind == ZERO_COST and _uses_images(rest) else FORMS[kind] for kind, rest in parts}
    for names, using in USERS:
        # An evaluator that screens trains for one epoch, and no pruner stops it.
        present = {costly} if {*using} <= {*TRAINING} else users | ({BEFORE} if cheap else set())
        unused = [flag(name) for name in names if name in given and not present & {*using}]
        if unused:
            fit, own = _either(using), "+".join(_word(*part) for part in parts)
            raise NasError(
                f"only --evaluator {fit} uses {', '.join(unused)}, and the evaluator is {own}",
                f"leave out what it does not use, or choose --evaluator {fit}",
            )


def are_about_data(texts: Iterable[str]) -> bool:
    """Return whether evaluators take the target task from the images that they use.

    The networks of a table have the classes that the table is about, whatever another evaluator uses.

    Args:
        texts: Evaluators as users write them, also with settings and with another one and a "+" before them.
    """
    parts = [part.partition(":") for text in texts for part in halves(text) if part]
    kinds = [LOOK if kind == ZERO_COST and _uses_images(rest) else kind for kind, _, rest in parts]
    return TABLE not in kinds and any(kind in (*TRAINING, SUPERNET, LOOK) for kind in kinds)


def flag(name: str) -> str:
    """Return the option of the command line that has the given name."""
    return "--no-distill" if name == "distill" else f"--{name.replace('_', '-')}"


def _either(words: Sequence[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def _uses_images(name: str) -> bool:
    from nas.evaluate.zero_cost.scores import needs_images

    return needs_images(name)


def _word(kind: str, rest: str) -> str:
    return f"{kind}:{rest}" if kind == ZERO_COST else kind


def make_evaluator(
    text: str,
    options: EvaluatorOptions,
    space: "SearchSpace",
    load: Load,
    on_batch: OnBatch | None = None,
    *,
    fixed: "SearchSpace | None" = None,
    say: Callable[[str], None] = lambda _message: None,
) -> "Evaluator":
    """Make an evaluator; evaluators that use no images import no torch.

    Args:
        text: The evaluator, for example "train" or "table:accuracies.csv".
        options: Options of the evaluators.
        space: The search space of the target task with every choice open. The rows of a table refer to it, and the
            random architectures that a zero-cost score is compared with are drawn from it, whatever choices are fixed.
        load: Function that loads the images; it is called only if the evaluator uses images.
        on_batch: Function that is called after each step of a training run.
        fixed: The search space with some choices fixed, from which a supernet is built; None is the same as `space`.
        say: Function that is called with a sentence before and after something that takes long.

    Raises:
        NasError: The file, the function or the images of the evaluator cannot be used.
    """
    kind, rest = split(text)
    return MAKERS[kind](rest, Given(options, space, fixed or space, load, on_batch, say))


def make_function_evaluator(function: Function) -> "Evaluator":
    """Make an evaluator that calls a Python function.

    Args:
        function: Function of an architecture. It returns an accuracy from 0 to 1, or a pair of the accuracy and a
            dictionary of JSON values that is stored with the trial.

    Raises:
        NasError: The function has no name by which a study can recognize it.
    """
    from nas.evaluate.function import FunctionEvaluator

    return FunctionEvaluator(function, function_name(function))


def function_name(function: Function) -> str:
    """Return the name of a function as studies store it, for example "module:function".

    Raises:
        NasError: The function is a lambda, or an object without a name.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not callable(function) or not module or not name or name.endswith("<lambda>"):
        raise NasError(
            f"{function!r} is no function with a name, and a study recognizes a function by its name",
            "define it with `def`, or give an evaluator like 'train' or 'table:accuracies.csv'",
        )
    return f"{module}:{name}"


@frozen
class Given:
    """Hold what an evaluator is made from; see `make_evaluator`."""

    options: EvaluatorOptions
    space: "SearchSpace"
    fixed: "SearchSpace"
    load: Load
    on_batch: OnBatch | None
    say: Callable[[str], None]


def _train(_rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.short_training.evaluator import TrainEvaluator
    from nas.train.device import find_device

    options = given.options
    device = find_device(options.train_on)
    return TrainEvaluator(
        given.load(),
        seed=options.seed,
        device=device,
        on_batch=given.on_batch,
        metric=options.metric,
        checkpoints=options.checkpoint_dir,
        notify=given.say,
        full_resolution=given.space.full_resolution,
    )


def _finetune(_rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.finetune.evaluator import FinetuneEvaluator
    from nas.train.device import find_device

    options = given.options
    if options.source is None:
        raise NasError(
            "evaluator finetune has no network whose weights candidates inherit",
            "add one like --pretrained efficientnet-lite0",
        )
    device = find_device(options.train_on)
    return FinetuneEvaluator(
        given.load(),
        source=options.source,
        seed=options.seed,
        device=device,
        on_batch=given.on_batch,
        metric=options.metric,
        checkpoints=options.checkpoint_dir,
        notify=given.say,
        full_resolution=given.space.full_resolution,
        distill=options.distill,
        folder=options.teacher_dir,
    )


def _supernet(_rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.supernet.evaluator import SupernetEvaluator
    from nas.evaluate.supernet.recipe import PRETRAINED_SUPERNET, SupernetRecipe
    from nas.train.device import find_device

    options = given.options
    device, epochs = find_device(options.train_on), options.supernet_epochs
    recipe = SupernetRecipe() if options.source is None else PRETRAINED_SUPERNET
    return SupernetEvaluator(
        given.fixed,
        given.load(),
        folder=options.supernet_dir,
        recipe=recipe if epochs is None else evolve(recipe, epochs=epochs),
        seed=options.seed,
        device=device,
        on_batch=given.on_batch,
        notify=given.say,
        source=options.source,
    )


def _table(rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.table.evaluator import read_table

    options = given.options
    return read_table(Path(rest), given.space, options.accuracy, options.ignore_columns, options.accuracy_unit)


def _function(rest: str, _given: Given) -> "Evaluator":
    from nas.evaluate.isolated_function import load_function

    return load_function(rest)


def _zero_cost(rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
    from nas.evaluate.zero_cost.scores import needs_images

    naswot = _naswot(given) if needs_images(rest) else None
    return ZeroCostEvaluator(rest, given.space, naswot, given.options.seed)


def _naswot(given: Given) -> "ImageScorer":
    from nas.evaluate.zero_cost.naswot import Naswot
    from nas.train.device import find_device

    device = find_device(given.options.train_on)
    return Naswot(given.load(), given.options.seed, device, full_resolution=given.space.full_resolution)


MAKERS: Mapping[str, Callable[[str, Given], "Evaluator"]] = MappingProxyType(
    {TRAIN: _train, FINETUNE: _finetune, SUPERNET: _supernet, TABLE: _table, PYTHON: _function, ZERO_COST: _zero_cost}
)
