"""Targets as users write them: `flops=400M`, `params=5M`, `peak_memory=8MB`."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType

from attrs import frozen

from nas.cost.analytic import MACS, PARAMS, peak_memory
from nas.cost.base import COUNT_UNITS, ChainCostModel, Target
from nas.errors import TargetError

_BYTES = MappingProxyType({"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30})


@frozen
class Kind:
    """A word that can be a target: its cost and unit, that cost's model for a precision, how amounts are written."""

    kept_as: str
    unit: str
    model: Callable[[str], ChainCostModel]
    units: Mapping[str, float]
    example: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "flops": Kind("macs", "MACs", lambda _precision: MACS, COUNT_UNITS, "flops=400M"),
        "params": Kind("params", "params", lambda _precision: PARAMS, COUNT_UNITS, "params=5M"),
        "peak_memory": Kind("peak_bytes", "bytes", peak_memory, _BYTES, "peak_memory=8MB"),
    }
)


def parse_target(text: str, precision: str = "fp32") -> Target:
    """Read `NAME=NUMBER UNIT`.

    Args:
        text: e.g. "flops=400M": FLOPs are multiply-adds.
        precision: of activations, for memory.

    Raises:
        TargetError: unknown name or unit, a bare number, or nothing that could be a limit.
    """
    name, _, amount = (word.strip(" ") for word in text.partition("="))
    if name not in KINDS:
        examples = ", ".join(kind.example for kind in KINDS.values())
        raise TargetError(f"target {text!r}: unknown target {name!r}", f"write one like {examples}")
    kind = KINDS[name]
    found = re.fullmatch(r" *([0-9]{1,15}(?:\.[0-9]{1,15})?) *([A-Za-z]*) *", amount)
    if not found or found.group(2) not in kind.units:
        raise TargetError(f"target {text!r}: {_complaint(amount, found)}", _form(kind))
    limit = float(Decimal(found.group(1)) * Decimal(kind.units[found.group(2)]))
    if limit <= 0:
        raise TargetError(f"target {text!r}: the limit is not above zero", _form(kind))
    at = f" at {precision}" if kind.units is _BYTES and precision != "fp32" else ""
    text = f"{name}={_plain(limit, kind.units)}{at}"
    return Target(name, kind.kept_as, kind.model(precision), limit, text, f"{kind.unit}{at}")


def _plain(limit: float, units: Mapping[str, float]) -> str:
    """A limit in the largest unit in which it is at least 1, else in the smallest: "400M" for 0.4G too."""
    usual = [(size, unit) for unit, size in units.items() if "i" not in unit]
    size, unit = max((pair for pair in usual if pair[0] <= limit), default=min(usual))
    return f"{(Decimal(repr(limit)) / Decimal(size)).normalize():f}{unit}"


def _complaint(amount: str, found: "re.Match[str] | None") -> str:
    if not found:
        return f"{amount!r} is not a plain number with a unit" if amount.strip() else "there is no number after '='"
    return f"unknown unit {found.group(2)!r}" if found.group(2) else "a bare number has no unit"


def _form(kind: Kind) -> str:
    return f"write a number and one of {', '.join(kind.units)}, like {kind.example}"
