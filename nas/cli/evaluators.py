"""The evaluator that the options of a search name, and the options that fit it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.data.base import ImageData
    from nas.evaluate.base import Evaluator
    from nas.evaluate.zero_cost import Measure
    from nas.space.decode import SearchSpace

Load = Callable[[], "ImageData"]
TRAIN, TABLE, PYTHON, ZERO_COST = "train", "table", "python", "zero-cost"
FORMS: Mapping[str, str] = MappingProxyType(
    {TRAIN: "train", TABLE: "table:FILE", PYTHON: "python:MODULE:FUNCTION", ZERO_COST: "zero-cost:NAME"},
)
# A score without training that looks at images; those that count look at none.
LOOK = "zero-cost:naswot|distinctness|combined"
# Options, and the evaluators that heed them.
ABOUT: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("epochs", "metric", "pruner"), (TRAIN,)),
    (("data", "proxy_resolution", "images", "train_on"), (TRAIN, LOOK)),
    (("accuracy", "ignore_columns"), (FORMS[TABLE],)),
)
# What a search goes by where nothing is trained: there is one accuracy, and nothing to stop before it.
UNTRAINED: Mapping[str, Any] = MappingProxyType({"epochs": 1, "pruner": "none"})


def settled(context: click.Context) -> dict[str, Any]:
    """The options of a search, with those of training filled in where nothing is trained.

    Raises:
        NasError: there is no such evaluator, or options were given that say nothing to it.
    """
    kind, rest = split(context.params["evaluator"])
    heeding = LOOK if kind == ZERO_COST and _looks(rest) else FORMS[kind]
    for names, heeded in ABOUT:
        unfit = [_flag(context, name) for name in names if heeding not in heeded and _is_given(context, name)]
        if unfit:
            fit = " or ".join(heeded)
            raise NasError(
                f"only --evaluator {fit} heeds {', '.join(unfit)}, and the evaluator is {_word(kind, rest)}",
                f"leave out what it does not heed, or choose --evaluator {fit}",
            )
    return {**context.params, **({} if kind == TRAIN else UNTRAINED)}


def _looks(name: str) -> bool:
    from nas.evaluate.zero_cost import needs_images

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
        raise NasError(f"there is no evaluator {text!r}", f"use {', '.join(FORMS.values())}")
    return kind, rest


def make_untrained(options: Mapping[str, Any], space: "SearchSpace", load: Load) -> "Evaluator":
    """The evaluator that trains nothing; those that need no images need no torch.

    Args:
        options: of the search, as `settled` gives them.
        space: for the target, with every choice still open: what a table tells does not change with `--fix`, nor what
            random architectures an untrained one is compared with.
        load: reads the images, where there is need of them.

    Raises:
        NasError: its file, function or images cannot be used.
    """
    kind, rest = split(options["evaluator"])
    return _MAKERS[kind](rest, options, space, load)


def _table(rest: str, options: Mapping[str, Any], space: "SearchSpace", _load: Load) -> "Evaluator":
    from nas.evaluate.table import read_table

    return read_table(Path(rest), space, options["accuracy"], options["ignore_columns"])


def _function(rest: str, _options: Mapping[str, Any], _space: "SearchSpace", _load: Load) -> "Evaluator":
    from nas.evaluate.function import load_function

    return load_function(rest)


def _zero_cost(rest: str, options: Mapping[str, Any], space: "SearchSpace", load: Load) -> "Evaluator":
    from nas.evaluate.zero_cost import ZeroCostEvaluator, needs_images

    naswot = _naswot(options, load) if needs_images(rest) else None
    return ZeroCostEvaluator(rest, space, naswot, options["seed"])


def _naswot(options: Mapping[str, Any], load: Load) -> "Measure":
    from nas.evaluate.naswot import Naswot
    from nas.evaluate.train import find_device

    device = find_device(options["train_on"])
    return Naswot(load(), options["seed"], device)


_MAKERS: Mapping[str, Callable[[str, Mapping[str, Any], "SearchSpace", Load], "Evaluator"]] = MappingProxyType(
    {TABLE: _table, PYTHON: _function, ZERO_COST: _zero_cost}
)
