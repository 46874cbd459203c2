"""Targets as users write them: `flops=400M`, `params=5M`, `peak_memory=8MB`, `size=5MB`, `latency=8ms`."""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from attrs import evolve, frozen

from nas.cost.analytic import MACS, PARAMS, peak_memory, size
from nas.cost.base import COUNT_UNITS, ChainCostModel, Judge, Target
from nas.cost.own_target import COST_FORM
from nas.errors import TargetError

_BYTES = MappingProxyType({"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30})


_SECONDS = MappingProxyType({"us": 1e-3, "ms": 1.0, "s": 1e3})


@frozen
class OnDevice:
    """Define the device of a latency target.

    Attributes:
        cost: Cost model of latencies in milliseconds.
        judge: Measures the best architectures at the end of a search.
        device: Short text form of the device.
        basis: See `Target`.
        measured_here: See `Target`.
    """

    cost: ChainCostModel
    judge: Judge
    device: str
    basis: Mapping[str, str]
    measured_here: bool = False


@frozen
class TargetKind:
    """Define one kind of target.

    Attributes:
        kept_as: Name of the cost in trials and tables.
        unit: Unit of the cost.
        units: Units in which users write a limit, each as a multiple of `unit`.
        example: Example of the text form.
        model: Returns the cost model for a precision; None for a cost that depends on a device.
    """

    kept_as: str
    unit: str
    units: Mapping[str, float]
    example: str
    model: Callable[[str], ChainCostModel] | None = None


KINDS: Mapping[str, TargetKind] = MappingProxyType(
    {
        "flops": TargetKind("macs", "MACs", COUNT_UNITS, "flops=400M", lambda _precision: MACS),
        "params": TargetKind("params", "params", COUNT_UNITS, "params=5M", lambda _precision: PARAMS),
        "peak_memory": TargetKind("peak_bytes", "bytes", _BYTES, "peak_memory=8MB", peak_memory),
        "size": TargetKind("size_bytes", "bytes", _BYTES, "size=5MB", size),
        "latency": TargetKind("latency_ms", "ms", _SECONDS, "latency=8ms"),
    }
)


def needs_device(texts: Iterable[str]) -> bool:
    """Return whether one of several targets depends on a device.

    All targets are read first, so that an invalid one is reported before a connection to a device is opened.

    Raises:
        TargetError: A target cannot be read; see `read_target`.

    >>> needs_device(["flops=400M"]), needs_device(["flops=400M", "latency=8ms"])
    (False, True)
    """
    kinds = [read_target(text).kind for text in texts]
    return any(kind.model is None for kind in kinds)


def parse_target(text: str, precision: str = "fp32", on_device: OnDevice | None = None) -> Target:
    """Read a target from `NAME=NUMBER UNIT`.

    Args:
        text: Text form like "flops=400M"; one multiply-add counts as one FLOP.
        precision: Precision of weights and activations, for size and memory.
        on_device: Device of a latency.

    Raises:
        TargetError: The name, the unit or the precision is unknown, the limit has no unit or is not above zero, or a
            latency has no device.

    >>> target = parse_target("flops=0.4G")
    >>> target.text, target.limit, target.unit
    ('flops=400M', 400000000.0, 'MACs')
    >>> parse_target("size=5MB", precision="int8").text
    'size=5MB at int8'
    >>> parse_target("flops=400")
    Traceback (most recent call last):
        ...
    nas.errors.TargetError: target 'flops=400': a bare number has no unit
      write a number and one of k, M, G, T, like flops=400M
    """
    parsed = read_target(text)
    kind = parsed.kind
    if kind.model is None:
        return _latency(parsed, on_device)
    suffix = _precision_suffix(kind, precision)
    cost = kind.model(precision)
    return Target(parsed.name, kind.kept_as, cost, parsed.limit, f"{parsed.text}{suffix}", f"{kind.unit}{suffix}")


def _precision_suffix(kind: TargetKind, precision: str) -> str:
    return f" at {precision}" if kind.units is _BYTES and precision != "fp32" else ""


@frozen
class ParsedTarget:
    """Hold a target that was read, without its cost model.

    Attributes:
        name: Name on the command line.
        kind: Kind of target.
        limit: Limit in the unit of the cost.
        text: Canonical text form.
    """

    name: str
    kind: TargetKind
    limit: float
    text: str


def read_target(text: str) -> ParsedTarget:
    """Read `NAME=NUMBER UNIT` without building a cost model.

    Raises:
        TargetError: The name or the unit is unknown, or the limit has no unit or is not above zero.
    """
    name, _, amount = (word.strip(" ") for word in text.partition("="))
    if name not in KINDS:
        examples = ", ".join(kind.example for kind in KINDS.values())
        raise TargetError(
            f"target {text!r}: unknown target {name!r}",
            f"write one like {examples}; `nas search` alone takes costs of your own, as energy=12mJ with {COST_FORM}",
        )
    kind = KINDS[name]
    found = re.fullmatch(r" *([0-9]{1,15}(?:\.[0-9]{1,15})?) *([A-Za-z]*) *", amount)
    if not found or found.group(2) not in kind.units:
        raise TargetError(f"target {text!r}: {_amount_problem(amount, found)}", _amount_rule(kind))
    # Decimal arithmetic, since "4.1M" and "4100k" must be equal: with binary floats 4.1 * 1e6 is 4099999.9999999995.
    limit = float(Decimal(found.group(1)) * Decimal(repr(kind.units[found.group(2)])))
    if limit <= 0:
        raise TargetError(f"target {text!r}: the limit {amount.strip()!r} is not above zero", _amount_rule(kind))
    return ParsedTarget(name, kind, limit, f"{name}={_shortest_amount(limit, kind.units)}")


def _latency(parsed: ParsedTarget, on_device: OnDevice | None) -> Target:
    if on_device is None:
        raise TargetError(
            f"target {parsed.text} is about a device, and none is named", "name a device, like --device cpu"
        )
    text = f"{parsed.text} on {on_device.device}"
    target = Target(parsed.name, parsed.kind.kept_as, on_device.cost, parsed.limit, text, parsed.kind.unit)
    return evolve(target, basis=on_device.basis, judge=on_device.judge, measured_here=on_device.measured_here)


def _shortest_amount(limit: float, units: Mapping[str, float]) -> str:
    """Return a limit in the largest unit in which it is at least 1, or in the smallest unit: 0.4G becomes "400M"."""
    usual = [(size, unit) for unit, size in units.items() if "i" not in unit]
    size, unit = max((pair for pair in usual if pair[0] <= limit), default=min(usual))
    return f"{(Decimal(repr(limit)) / Decimal(repr(size))).normalize():f}{unit}"


def _amount_problem(amount: str, found: "re.Match[str] | None") -> str:
    if not found:
        return f"{amount!r} is not a plain number with a unit" if amount.strip() else "there is no number after '='"
    return f"unknown unit {found.group(2)!r}" if found.group(2) else "a bare number has no unit"


def _amount_rule(kind: TargetKind) -> str:
    return f"write a number and one of {', '.join(kind.units)}, like {kind.example}"
