"""Types of the arguments of public functions, which are checked before anything is done."""

import os
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import signature
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from attrs import frozen

from nas.errors import NasError

P = ParamSpec("P")
R = TypeVar("R")


@frozen
class _Rule:
    """Describe what an argument must be.

    Attributes:
        accepts: Function that returns whether a value is of the right type.
        what: What to give, with an example.
    """

    accepts: Callable[[Any], bool]
    what: str


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


def _are_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, Collection) and all(isinstance(each, str) for each in value))


def _is_space(value: object) -> bool:
    from nas.space.decode import SearchSpace

    return isinstance(value, SearchSpace) or _is_path(value)


def _are_weights(value: object) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "state_dict")


def _text(example: str) -> _Rule:
    return _Rule(_is_text, f"a text such as {example!r}")


def _file(example: str) -> _Rule:
    return _Rule(_is_path, f"a path such as {example!r}")


def _list(example: str) -> _Rule:
    return _Rule(_are_texts, f"a text such as {example!r}, or a list of such texts")


_COUNT = _Rule(_is_count, "a whole number above 0")
_NUMBER = _Rule(_is_number, "a number")
_TRUE_OR_FALSE = _Rule(lambda value: isinstance(value, bool), "True or False")
# Arguments mean the same in every function that has them. Those that are not named here have checks of their own.
_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "phi": _NUMBER,
        "spread": _NUMBER,
        "seconds": _NUMBER,
        "rule": _text("compound"),
        "keep": _list("head"),
        "budget": _text("flops=400M"),
        "device": _list("cpu:threads=4"),
        "target": _list("flops=400M"),
        "ignore_columns": _list("op*"),
        "weights": _Rule(_are_weights, "a module that nas.to_torch made, or its state_dict()"),
        "name": _file("mnasnet"),
        "space": _Rule(_is_space, "a name such as 'mnasnet', the path of a file, or what nas.load_space returned"),
        "fix": _Rule(lambda value: isinstance(value, Mapping), "a dictionary such as {'stage1.kernel': 3}"),
        "costs": _Rule(lambda value: isinstance(value, Mapping), "a dictionary such as {'energy': my_function}"),
        "resolution": _COUNT,
        "classes": _COUNT,
        "data": _file("photos/"),
        "table": _file("latency_tables/table.csv"),
        "path": _file("network.json"),
        "source": _file("efficientnet-lite0"),
        "normalization": _text("imagenet"),
        "reference": _file("efficientnet-b0"),
        "supernet_dir": _file("nas-supernets"),
        "weights_dir": _file("nas-weights"),
        "distill": _TRUE_OR_FALSE,
        "checkpoint_dir": _file("nas-checkpoints"),
        "storage": _text("sqlite:///nas.db"),
        "split": _text("test"),
        "precision": _list("int8"),
        "zoo": _TRUE_OR_FALSE,
        "robustness": _TRUE_OR_FALSE,
        "preprocess": _TRUE_OR_FALSE,
        "qat": _TRUE_OR_FALSE,
        "private": _TRUE_OR_FALSE,
        "out": _file("product/"),
        "folder": _file("product/"),
        "repository": _text("me/small"),
        "revision": _text("main"),
        "masks": _file("masks/"),
        "study": _text("demo"),
        "accuracy": _text("acc"),
        "sampler": _text("surrogate"),
        "train_on": _text("cpu"),
        "address": _text("auto"),
    }
)


def check_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Return a public function that checks the types of its arguments by their names.

    An argument may always be what it is by default.

    >>> @check_arguments
    ... def f(phi): return phi
    >>> f("2")
    Traceback (most recent call last):
        ...
    nas.errors.NasError: phi is '2'
      give a number
    """
    shape = signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in shape.bind(*args, **kwargs).arguments.items():
            rule = _RULES.get(name)
            if rule is not None and value is not shape.parameters[name].default and not rule.accepts(value):
                raise NasError(f"{name} is {value!r}", f"give {rule.what}")
        return function(*args, **kwargs)

    return checked
