"""Evaluators of commands that hold their options in a mapping."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from nas.api import evaluators
from nas.api.evaluators import EvaluatorOptions, Load

if TYPE_CHECKING:
    from nas.evaluate.base import Evaluator
    from nas.space.decode import SearchSpace


def make_evaluator(
    text: str,
    options: Mapping[str, Any],
    space: "SearchSpace",
    load: Load,
    *,
    fixed: "SearchSpace | None" = None,
    say: Callable[[str], None] = lambda _message: None,
) -> "Evaluator":
    """Make an evaluator from the options of a command; see `nas.api.evaluators.make_evaluator`.

    Raises:
        NasError: The file, the function or the images of the evaluator cannot be used.
    """
    names = [field.name for field in attrs.fields(EvaluatorOptions)]
    known = EvaluatorOptions(**{name: options[name] for name in names if name in options})
    return evaluators.make_evaluator(text, known, space, load, fixed=fixed, say=say)
