"""Interfaces and records that all cost models share."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.layers import Shape
from nas.arch.spec import Architecture, Input, Part


@frozen
class Cost:
    """Hold a cost with its uncertainty and origin.

    Attributes:
        value: Cost in `unit`.
        unit: "MACs", "params", "bytes" or "ms", or the unit of a cost of a user's own.
        source: How the value was obtained, like "counted" or "measured on cpu".
        spread: One standard deviation in `unit`; 0 for an exact cost, NaN where it is unknown.
        noisy: Whether other work disturbed the machine during the measurement.
    """

    value: float
    unit: str
    source: str
    spread: float = 0.0
    noisy: bool = False


@frozen(eq=False)
class Chain:
    """Describe a set of architectures: each place in the sequence of parts has one of several options.

    Cost models evaluate such a set quickly, since its architectures share their parts.

    Attributes:
        shape: Shape of one input image.
        classes: Number of classes.
        options: For each place (stem, stages, head) the distinct parts among which it chooses; None leaves a stage out.
            Where there are several resolutions, the first place chooses among inputs, which change the shape.
        memo: Cache of the cost models, which belongs to this chain and is discarded with it.
    """

    shape: Shape
    classes: int
    options: tuple[tuple[Part | Input | None, ...], ...]
    memo: dict[object, object] = field(factory=dict, init=False, repr=False)


class CostModel(Protocol):
    """Estimate the cost of architectures.

    An implementation returns equal costs for equal networks, and several threads may call it at the same time.
    """

    def estimate(self, arch: Architecture) -> Cost:
        """Return the cost of running one image through `arch` at its own resolution and number of classes."""
        ...


class ChainCostModel(CostModel, Protocol):
    """Estimate a cost that is a sum or maximum over parts, so that many architectures are evaluated at once."""

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the costs `(N,)` of the architectures that have option `index[n, place]` at each place."""
        ...

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the cost range: the smallest and the largest cost among all architectures of the chain."""
        ...


@runtime_checkable
class Predicting(Protocol):
    """Predict a cost roughly, where an exact one needs a measurement."""

    def predict_roughly(self, arch: Architecture) -> float:
        """Return a rough estimate for one network of any space."""
        ...


class Judge(Protocol):
    """Measure the final candidates in turn with each other, so that small differences between them are visible."""

    def together(self, archs: Sequence[Architecture]) -> Sequence[Cost]:
        """Return the measured costs in the order of `archs`."""
        ...


@frozen
class Target:
    """Define a target: a cost that should be at most `limit` and, for the first of several targets, close to it.

    Attributes:
        name: Name on the command line, like "flops".
        kept_as: Name of the cost in trials and tables, like "macs".
        cost: Cost model.
        limit: Upper bound in the unit of the cost.
        text: Canonical text form, like "flops=400M"; equal targets have equal texts.
        unit: Unit of the cost, with the precision where it is not fp32, like "MACs" or "bytes at int8".
        basis: What the cost depends on, such as the device and the table. A study stores it, and resuming requires an
            equal basis.
        judge: Measures the best architectures at the end of a search; None where estimates are exact.
        measured_here: Whether an estimate may time a network on this machine, so that no other work should run on it.

    >>> from nas.cost.target import parse_target
    >>> target = parse_target("flops=400M")
    >>> target.limit, target.amount(385_814_752)
    (400000000.0, '385.8M MACs')
    """

    name: str
    kept_as: str
    cost: ChainCostModel
    limit: float
    text: str
    unit: str = ""
    basis: Mapping[str, str] = field(factory=dict, eq=False)
    judge: Judge | None = field(default=None, eq=False)
    measured_here: bool = field(default=False, eq=False)

    def amount(self, value: float) -> str:
        """Return a cost as text for people."""
        return format_amount(value, self.unit)


def format_amount(value: float, unit: str) -> str:
    """Return a cost as text for people, with at most four significant digits.

    >>> format_amount(398_200_000, "MACs"), format_amount(3_887_038, "params")
    ('398.2M MACs', '3.887M params')
    >>> format_amount(6_021_120, "bytes"), format_amount(7.9123, "ms")
    ('6.02 MB', '7.912 ms')
    >>> format_amount(12.3456, "mJ"), format_amount(1500, "")
    ('12.35 mJ', '1.5k')
    """
    if unit.startswith("bytes"):
        return f"{value / 1e6:.2f} MB" if value >= 1e5 else f"{value:,.0f} B"
    if unit not in ("MACs", "params", ""):
        return f"{value:.4g} {unit}" if value < 1e4 else f"{value:,.0f} {unit}"
    rounded = float(f"{value:.4g}")  # The unit fits the rounded value: 999,960 is shown as 1M and not as 1000k.
    size, letter = max(((size, letter) for letter, size in COUNT_UNITS.items() if rounded >= size), default=(1.0, ""))
    return f"{value / size:.4g}{letter} {unit}".rstrip()


# Names of costs that end with a unit, and their titles in tables.
_TITLES = MappingProxyType({"peak_bytes": "peak", "size_bytes": "size", "latency_ms": "latency"})


def cost_title(name: str) -> str:
    """Return the title of a cost in a table: its name without the unit.

    >>> cost_title("latency_ms"), cost_title("energy")
    ('latency', 'energy')
    """
    return _TITLES.get(name, name)


COUNT_UNITS = MappingProxyType({"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12})
CostModels = Mapping[str, ChainCostModel]
