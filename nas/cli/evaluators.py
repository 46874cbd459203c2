"""The evaluator that the options of a search name, and the options that fit it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.evaluate.base import Evaluator
    from nas.space.decode import SearchSpace

TRAIN, SUPERNET, TABLE, PYTHON = "train", "supernet", "table", "python"
FORMS: Mapping[str, str] = MappingProxyType(
    {TRAIN: "train", SUPERNET: "supernet", TABLE: "table:FILE", PYTHON: "python:MODULE:FUNCTION"},
)
# Options by the evaluators that they are about; the rest are about all.
ABOUT: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        TRAIN: ("data", "epochs", "proxy_resolution", "images", "train_on", "pruner"),
        SUPERNET: ("data", "proxy_resolution", "images", "train_on", "supernet_epochs", "supernet_dir"),
        TABLE: ("accuracy", "ignore_columns"),
    }
)
# What a search goes by where no candidate is trained: there is one accuracy, and nothing to stop before it.
UNTRAINED: Mapping[str, Any] = MappingProxyType({"epochs": 1, "pruner": "none"})


def settled(context: click.Context) -> dict[str, Any]:
    """The options of a search, with those of training filled in where nothing is trained.

    Raises:
        NasError: there is no such evaluator, or options were given that say nothing to it.
    """
    kind, _ = split(context.params["evaluator"])
    heeded = ABOUT.get(kind, ())
    for names in ABOUT.values():
        unfit = [name for name in names if name not in heeded and _is_given(context, name)]
        if unfit:
            fit = " or ".join(FORMS[about] for about, theirs in ABOUT.items() if {*unfit} <= {*theirs})
            raise NasError(
                f"only --evaluator {fit} heeds {', '.join(_flag(context, name) for name in unfit)}, "
                f"and the evaluator is {kind}",
                f"leave out what it does not heed, or choose --evaluator {fit}",
            )
    return {**context.params, **({} if kind == TRAIN else UNTRAINED)}


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


def make_untrained(options: Mapping[str, Any], space: "SearchSpace") -> "Evaluator":
    """The evaluator that needs no images and no torch.

    Args:
        options: of the search, as `settled` gives them.
        space: for the target, with every choice still open: what a table tells does not change with `--fix`.

    Raises:
        NasError: its file or function cannot be used.
    """
    kind, rest = split(options["evaluator"])
    return _MAKERS[kind](rest, options, space)


def _table(rest: str, options: Mapping[str, Any], space: "SearchSpace") -> "Evaluator":
    from nas.evaluate.table import read_table

    return read_table(Path(rest), space, options["accuracy"], options["ignore_columns"])


def _function(rest: str, _options: Mapping[str, Any], _space: "SearchSpace") -> "Evaluator":
    from nas.evaluate.function import load_function

    return load_function(rest)


_MAKERS: Mapping[str, Callable[[str, Mapping[str, Any], "SearchSpace"], "Evaluator"]] = MappingProxyType(
    {TABLE: _table, PYTHON: _function}
)
