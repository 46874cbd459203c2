"""Targets as users write them: `flops=400M`, `params=5M`, `peak_memory=8MB`, `size=5MB`, `latency=8ms`."""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from attrs import evolve, frozen

from nas.cost.analytic import MACS, PARAMS, peak_memory, size
from nas.cost.base import COUNT_UNITS, ChainCostModel, Judge, Target
from nas.errors import TargetError

_BYTES = MappingProxyType({"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30})


_SECONDS = MappingProxyType({"us": 1e-3, "ms": 1.0, "s": 1e3})


@frozen
class OnDevice:
    """What a latency target is about.

    Attributes:
        cost: latencies in milliseconds.
        judge: measures the best in the end.
        device: as users write it, short.
        basis: see `Target`.
        measured_here: see `Target`.
    """

    cost: ChainCostModel
    judge: Judge
    device: str
    basis: Mapping[str, str]
    measured_here: bool = False


@frozen
class Kind:
    """A word that can be a target: its cost and unit, how amounts are written, that cost's model for a precision.

    A cost without a model is a device's.
    """

    kept_as: str
    unit: str
    units: Mapping[str, float]
    example: str
    model: Callable[[str], ChainCostModel] | None = None


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "flops": Kind("macs", "MACs", COUNT_UNITS, "flops=400M", lambda _precision: MACS),
        "params": Kind("params", "params", COUNT_UNITS, "params=5M", lambda _precision: PARAMS),
        "peak_memory": Kind("peak_bytes", "bytes", _BYTES, "peak_memory=8MB", peak_memory),
        "size": Kind("size_bytes", "bytes", _BYTES, "size=5MB", size),
        "latency": Kind("latency_ms", "ms", _SECONDS, "latency=8ms"),
    }
)


def needs_device(texts: Iterable[str]) -> bool:
    """Whether one of several targets is about a device.

    Raises:
        TargetError: see `parse_target`; nothing is asked of a device for a target that cannot be read.
    """
    kinds = [read_target(text).kind for text in texts]
    return any(kind.model is None for kind in kinds)


def parse_target(text: str, precision: str = "fp32", on_device: OnDevice | None = None) -> Target:
    """Read `NAME=NUMBER UNIT`.

    Args:
        text: e.g. "flops=400M": FLOPs are multiply-adds.
        precision: of weights and activations, for size and memory.
        on_device: what a latency is about.

    Raises:
        TargetError: unknown name or unit, a bare number, nothing that could be a limit, or a latency without a device.
    """
    asked = read_target(text)
    kind = asked.kind
    if kind.model is None:
        return _latency(asked, on_device)
    at = _at(kind, precision)
    cost = kind.model(precision)
    return Target(asked.name, kind.kept_as, cost, asked.limit, f"{asked.text}{at}", f"{kind.unit}{at}")


def _at(kind: Kind, precision: str) -> str:
    return f" at {precision}" if kind.units is _BYTES and precision != "fp32" else ""


@frozen
class Asked:
    """A target as it was read: its name, what it is about, the limit in the cost's unit, and a text of its own form."""

    name: str
    kind: Kind
    limit: float
    text: str


def read_target(text: str) -> Asked:
    """Read `NAME=NUMBER UNIT` without asking what it costs.

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
    limit = float(Decimal(found.group(1)) * Decimal(repr(kind.units[found.group(2)])))
    if limit <= 0:
        raise TargetError(f"target {text!r}: the limit is not above zero", _form(kind))
    return Asked(name, kind, limit, f"{name}={_plain(limit, kind.units)}")


def _latency(asked: Asked, on_device: OnDevice | None) -> Target:
    if on_device is None:
        raise TargetError(f"target {asked.text} is about a device, and none is named", "name one, like --device cpu")
    text = f"{asked.text} on {on_device.device}"
    target = Target(asked.name, asked.kind.kept_as, on_device.cost, asked.limit, text, asked.kind.unit)
    return evolve(target, basis=on_device.basis, judge=on_device.judge, measured_here=on_device.measured_here)


def _plain(limit: float, units: Mapping[str, float]) -> str:
    """A limit in the largest unit in which it is at least 1, else in the smallest: "400M" for 0.4G too."""
    usual = [(size, unit) for unit, size in units.items() if "i" not in unit]
    size, unit = max((pair for pair in usual if pair[0] <= limit), default=min(usual))
    return f"{(Decimal(repr(limit)) / Decimal(repr(size))).normalize():f}{unit}"


def _complaint(amount: str, found: "re.Match[str] | None") -> str:
    if not found:
        return f"{amount!r} is not a plain number with a unit" if amount.strip() else "there is no number after '='"
    return f"unknown unit {found.group(2)!r}" if found.group(2) else "a bare number has no unit"


def _form(kind: Kind) -> str:
    return f"write a number and one of {', '.join(kind.units)}, like {kind.example}"
