"""Whether values that were read have the types that they are declared with: anyone may have written a database."""

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
    """Whether a value is of a type such as `float | None` or `Mapping[str, float]`; a whole number is a float too."""
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
    """Check all fields of a record.

    Raises:
        ValueError: one is of another type than it is declared with.
    """
    for each in attrs.fields(type(record)):
        value = getattr(record, each.name)
        if not fits(value, each.type):
            raise ValueError(f"{each.name} is {reprlib.repr(value)}")


def check_settings(settings: object) -> None:
    """Check what a study says of itself.

    Raises:
        ValueError: something is missing or of another type.
    """
    _check_keys(settings, SETTINGS_SHAPE)
    limits = settings["limits"]  # type: ignore[index] # just checked
    if not limits:
        raise ValueError("limits are empty")
    for limit in limits:
        _check_keys(limit, LIMIT_SHAPE)


def _check_keys(told: object, shape: Mapping[str, Any]) -> None:
    for name, kind in shape.items():
        value = told.get(name) if isinstance(told, Mapping) else None
        if not fits(value, kind):
            raise ValueError(f"{name} is {reprlib.repr(value)}")


def check_costs(costs: Mapping[str, float]) -> None:
    """Check that costs are numbers to reckon with.

    Raises:
        ValueError: they are not.
    """
    if not all(map(math.isfinite, costs.values())):
        raise ValueError(f"costs are {reprlib.repr(dict(costs))}")
