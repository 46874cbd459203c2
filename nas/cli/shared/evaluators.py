"""The evaluator that the options of a search name, and the options that fit it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen
from click.core import ParameterSource

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.data.base import ImageData
    from nas.evaluate.base import Evaluator
    from nas.evaluate.zero_cost.scores import ImageScorer
    from nas.space.decode import SearchSpace

Load = Callable[[], "ImageData"]
OnBatch = Callable[[int, int, float], None]
TRAIN, SUPERNET, TABLE, PYTHON, ZERO_COST = "train", "supernet", "table", "python", "zero-cost"
FORMS: Mapping[str, str] = MappingProxyType(
    {
        TRAIN: "train",
        SUPERNET: "supernet",
        TABLE: "table:FILE",
        PYTHON: "python:MODULE:FUNCTION",
        ZERO_COST: "zero-cost:NAME",
    }
)
# A score without training that looks at images; those that count look at none.
LOOK = "zero-cost:naswot|distinctness|combined"
# Options, and the evaluators that heed them.
ABOUT: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("epochs", "metric", "pruner", "confirm", "checkpoint_dir"), (TRAIN,)),
    (("data", "proxy_resolution", "images", "train_on"), (TRAIN, SUPERNET, LOOK)),
    (("supernet_epochs", "supernet_dir"), (SUPERNET,)),
    (("accuracy", "ignore_columns"), (FORMS[TABLE],)),
)
BEFORE = "CHEAP+COSTLY"  # one that looks through the band first, and the one that accuracies come from
# What a search goes by where no candidate is trained: there is one accuracy, and nothing to stop before it.
UNTRAINED: Mapping[str, Any] = MappingProxyType({"epochs": 1, "pruner": "none"})


def settled(context: click.Context) -> dict[str, Any]:
    """The options of a search, with those of training filled in where nothing is trained.

    Raises:
        NasError: there is no such evaluator, or options were given that say nothing to it.
    """
    cheap, costly = halves(context.params["evaluator"])
    parts = [split(text) for text in (cheap, costly) if text]
    heeding = {LOOK if kind == ZERO_COST and _looks(rest) else FORMS[kind] for kind, rest in parts}
    for names, heeded in (*ABOUT, (("screen",), (BEFORE,))):
        # One that looks first does so in one epoch, and nothing stops it.
        known = {costly} if heeded == (TRAIN,) else heeding | ({BEFORE} if cheap else set())
        unfit = [_flag(context, name) for name in names if not known & {*heeded} and _is_given(context, name)]
        if unfit:
            fit, own = _either(heeded), "+".join(_word(*part) for part in parts)
            raise NasError(
                f"only --evaluator {fit} heeds {', '.join(unfit)}, and the evaluator is {own}",
                f"leave out what it does not heed, or choose --evaluator {fit}",
            )
    return {**context.params, **({} if costly == TRAIN else UNTRAINED)}


def halves(text: str) -> tuple[str, str]:
    """The evaluator that looks through the band first, "" for none, and the one that accuracies come from."""
    cheap, _, costly = text.rpartition("+")
    return (cheap, costly) if cheap and costly.partition(":")[0] in FORMS else ("", text)


def _either(words: Sequence[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def _looks(name: str) -> bool:
    from nas.evaluate.zero_cost.scores import needs_images

    return needs_images(name)


def _word(kind: str, rest: str) -> str:
    return f"{kind}:{rest}" if kind == ZERO_COST else kind


def _flag(context: click.Context, name: str) -> str:
    return next(parameter.opts[0] for parameter in context.command.params if parameter.name == name)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def split(text: str) -> tuple[str, str]:
    """An evaluator's kind, and what follows it.

    Raises:
        NasError: there is no such kind, or something is missing or too much.
    """
    kind, _, rest = text.partition(":")
    if kind not in FORMS or bool(rest) != (":" in FORMS[kind]):
        raise NasError(f"there is no evaluator {text!r}", f"use {', '.join((*FORMS.values(), BEFORE))}")
    return kind, rest


def make_evaluator(
    text: str,
    options: Mapping[str, Any],
    space: "SearchSpace",
    load: Load,
    on_batch: OnBatch | None = None,
    *,
    fixed: "SearchSpace | None" = None,
    say: Callable[[str], None] = lambda _message: None,
) -> "Evaluator":
    """An evaluator; those that need no images need no torch.

    Args:
        text: names it.
        options: of the search, as `settled` gives them.
        space: for the target, with every choice still open: what a table tells does not change with `--fix`, nor what
            random architectures an untrained one is compared with.
        load: reads the images, where there is need of them.
        on_batch: called for each step of a training.
        fixed: the space with the choices that are made, of which a supernet is; None where none are.
        say: told in sentences what takes long.

    Raises:
        NasError: its file, function or images cannot be used.
    """
    kind, rest = split(text)
    return MAKERS[kind](rest, Given(options, space, fixed or space, load, on_batch, say))


@frozen
class Given:
    """What evaluators are made of; see `make_evaluator`."""

    options: Mapping[str, Any]
    space: "SearchSpace"
    fixed: "SearchSpace"
    load: Load
    on_batch: OnBatch | None
    say: Callable[[str], None]


def _train(_rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.short_training.evaluator import TrainEvaluator
    from nas.train.device import find_device

    options = given.options
    device = find_device(options["train_on"])
    return TrainEvaluator(
        given.load(),
        seed=options["seed"],
        device=device,
        on_batch=given.on_batch,
        metric=options["metric"],
        checkpoints=options["checkpoint_dir"],
        notify=given.say,
    )


def _supernet(_rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.supernet.evaluator import SupernetEvaluator
    from nas.evaluate.supernet.recipe import SupernetRecipe
    from nas.train.device import find_device

    options = given.options
    device, epochs = find_device(options["train_on"]), options["supernet_epochs"]
    return SupernetEvaluator(
        given.fixed,
        given.load(),
        folder=options["supernet_dir"],
        recipe=SupernetRecipe() if epochs is None else SupernetRecipe(epochs=epochs),
        seed=options["seed"],
        device=device,
        on_batch=given.on_batch,
        notify=given.say,
    )


def _table(rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.table.evaluator import read_table

    return read_table(Path(rest), given.space, given.options["accuracy"], given.options["ignore_columns"])


def _function(rest: str, _given: Given) -> "Evaluator":
    from nas.evaluate.function import load_function

    return load_function(rest)


def _zero_cost(rest: str, given: Given) -> "Evaluator":
    from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
    from nas.evaluate.zero_cost.scores import needs_images

    naswot = _naswot(given) if needs_images(rest) else None
    return ZeroCostEvaluator(rest, given.space, naswot, given.options["seed"])


def _naswot(given: Given) -> "ImageScorer":
    from nas.evaluate.zero_cost.naswot import Naswot
    from nas.train.device import find_device

    device = find_device(given.options["train_on"])
    return Naswot(given.load(), given.options["seed"], device)


MAKERS: Mapping[str, Callable[[str, Given], "Evaluator"]] = MappingProxyType(
    {TRAIN: _train, SUPERNET: _supernet, TABLE: _table, PYTHON: _function, ZERO_COST: _zero_cost}
)
