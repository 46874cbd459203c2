"""Checks that values from a database have their declared types: any program may have written them."""

import math
import reprlib
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, cast, get_args, get_origin

import attrs

SETTINGS_SHAPE: Mapping[str, Any] = MappingProxyType(
    {
        "space": str,
        "targets": list[str],
        "objective": str,
        "band": float,
        "epochs": int,
        "limits": list[Mapping[str, Any]],
        "proxy": Mapping[str, Any],
    }
)
LIMIT_SHAPE: Mapping[str, Any] = MappingProxyType({"cost": str, "unit": str, "low": float, "high": float})


Check = Callable[[object], bool]
_MAPPINGS = (dict, Mapping)  # The check for the first one is fast.


def fits(value: object, kind: Any) -> bool:
    """Return whether a value has a type such as `float | None` or `Mapping[str, float]`; an `int` is a float too."""
    return _checker(kind)(value)


@cache
def _checker(kind: Any) -> Check:
    """Return the function that checks a type: a study of 10,000 trials has over 100,000 values to check."""
    parts = tuple(map(_checker, get_args(kind))) if get_origin(kind) is not None or isinstance(kind, UnionType) else ()
    if kind is Any:
        return lambda value: True  # noqa: ARG005
    if kind is Ellipsis:
        return lambda value: False  # noqa: ARG005 - the second part of `tuple[float, ...]`, which is not used
    if isinstance(kind, UnionType):
        return lambda value: any(part(value) for part in parts)
    if get_origin(kind) is Mapping:
        names, values = parts
        if get_args(kind)[1] is Any:
            return lambda value: isinstance(value, _MAPPINGS) and all(map(names, value))
        return lambda value: (
            isinstance(value, _MAPPINGS) and all(map(names, value)) and all(map(values, value.values()))
        )
    if get_origin(kind) in (tuple, list):
        return lambda value: isinstance(value, get_origin(kind)) and all(map(parts[0], value))
    if kind in (int, float):
        return lambda value: isinstance(value, int | kind) and not isinstance(value, bool)
    return lambda value: isinstance(value, kind)


@cache
def _field_checks(kind: Hashable) -> tuple[tuple[str, Check], ...]:
    return tuple((each.name, _checker(each.type)) for each in attrs.fields(cast("type[attrs.AttrsInstance]", kind)))


def check(record: Any) -> None:
    """Check all fields of a record against their declared types.

    Raises:
        ValueError: A field has another type.
    """
    for name, is_right in _field_checks(cast("Hashable", type(record))):
        value = getattr(record, name)
        if not is_right(value):
            raise ValueError(f"{name} is {reprlib.repr(value)}")


def check_settings(settings: object) -> None:
    """Check the settings that a study holds.

    Raises:
        ValueError: A setting is missing or has another type.
    """
    _check_keys(settings, SETTINGS_SHAPE)
    limits = settings["limits"]  # type: ignore[index] # just checked
    if not limits:
        raise ValueError("limits are empty")
    for limit in limits:
        _check_keys(limit, LIMIT_SHAPE)


def _check_keys(data: object, shape: Mapping[str, Any]) -> None:
    for name, kind in shape.items():
        value = data.get(name) if isinstance(data, Mapping) else None
        if not fits(value, kind):
            raise ValueError(f"{name} is {reprlib.repr(value)}")


def check_costs(costs: Mapping[str, float]) -> None:
    """Check that costs are finite numbers.

    Raises:
        ValueError: A cost is infinite or not a number.
    """
    if not all(map(math.isfinite, costs.values())):
        raise ValueError(f"costs are {reprlib.repr(dict(costs))}")
