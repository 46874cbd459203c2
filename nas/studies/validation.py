"""Checks that values from a database have their declared types: any program may have written them."""

import math
import reprlib
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Any, get_args, get_origin

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


def fits(value: object, kind: Any) -> bool:
    """Return whether a value has a type such as `float | None` or `Mapping[str, float]`; an `int` is a float too."""
    parts = get_args(kind)
    if kind is Any:
        return True
    if isinstance(kind, UnionType):
        return any(fits(value, part) for part in parts)
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping) and all(fits(k, parts[0]) and fits(v, parts[1]) for k, v in value.items())
    if get_origin(kind) in (tuple, list):
        return isinstance(value, get_origin(kind)) and all(fits(each, parts[0]) for each in value)
    if kind in (int, float):
        return not isinstance(value, bool) and isinstance(value, int | kind)
    return isinstance(value, kind)


def check(record: Any) -> None:
    """Check all fields of a record against their declared types.

    Raises:
        ValueError: A field has another type.
    """
    for each in attrs.fields(type(record)):
        value = getattr(record, each.name)
        if not fits(value, each.type):
            raise ValueError(f"{each.name} is {reprlib.repr(value)}")


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
