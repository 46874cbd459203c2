"""What every cost model has in common."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.layers import Shape
from nas.arch.spec import Architecture, Part


@frozen
class Cost:
    """A cost with its origin.

    Attributes:
        value: in `unit`.
        unit: "MACs", "params", "bytes", "ms".
        source: how it is known, e.g. "counted".
        spread: one standard deviation in `unit`; 0 for what is exact, NaN where it is not known.
        noisy: whether other work disturbed the machine while it was measured.
    """

    value: float
    unit: str
    source: str
    spread: float = 0.0
    noisy: bool = False


@frozen(eq=False)
class Chain:
    """Many architectures that share their parts: at each place one of several parts.

    Attributes:
        shape: of one input image.
        classes: of the classifier.
        options: for each place (stem, stages, head) the distinct parts that may stand there; None leaves a stage out.
        memo: what cost models remember of it.
    """

    shape: Shape
    classes: int
    options: tuple[tuple[Part | None, ...], ...]
    memo: dict[object, object] = field(factory=dict, init=False, repr=False)


class CostModel(Protocol):
    """Gives an architecture's cost: the same for equal networks, callable from several threads at once."""

    def estimate(self, arch: Architecture) -> Cost:
        """The cost of one image through `arch` at its own resolution and classes."""
        ...


class ChainCostModel(CostModel, Protocol):
    """A cost that is known part by part, and so of many architectures at once."""

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Costs `(N,)` of the architectures that take option `index[n, place]` at each place."""
        ...

    def span(self, chain: Chain) -> tuple[float, float]:
        """The smallest and the largest cost among all architectures of the chain."""
        ...


class Judge(Protocol):
    """Measures finished candidates once more, all of them in turn, so that they can be told apart."""

    def together(self, archs: Sequence[Architecture]) -> Sequence[Cost]:
        """Their costs, in their order."""
        ...


@frozen
class Target:
    """What a cost should be: at most `limit`, and for the first of several targets near it.

    Attributes:
        name: as on the command line, "flops".
        kept_as: the name of the cost in trials and tables, "macs".
        cost: its model.
        limit: in the cost's unit.
        text: in a form of its own: equal targets have equal texts, "flops=400M".
        unit: of the cost, "MACs", with the precision where there is one, "bytes at int8".
        basis: what the cost rests on, such as device and table; kept in the study, and equal when it goes on.
        judge: what measures the best architectures in the end; None where estimates are exact.
        measured_here: whether asking for a cost may time a network on this machine, which nothing should disturb.
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
        """A cost as people read it."""
        return format_amount(value, self.unit)


def format_amount(value: float, unit: str) -> str:
    """A cost as people read it: "398.2M MACs", "3.887M params", "6.02 MB", "7.912 ms"."""
    if unit.startswith("bytes"):
        return f"{value / 1e6:.2f} MB" if value >= 1e5 else f"{value:,.0f} B"
    if unit == "ms":
        return f"{value:.4g} ms"
    rounded = float(f"{value:.4g}")
    size, letter = max(((size, letter) for letter, size in COUNT_UNITS.items() if rounded >= size), default=(1.0, ""))
    return f"{value / size:.4g}{letter} {unit}"


COUNT_UNITS = MappingProxyType({"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12})
CostModels = Mapping[str, ChainCostModel]
