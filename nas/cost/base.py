"""What every cost model has in common."""

from typing import Protocol

from attrs import frozen

from nas.arch.spec import Architecture


@frozen
class Cost:
    """A cost with its origin.

    Attributes:
        value: in `unit`.
        unit: "MACs", "params", "bytes".
        source: how it is known, e.g. "counted".
        spread: one standard deviation in `unit`; 0 for what is exact.
    """

    value: float
    unit: str
    source: str
    spread: float = 0.0


class CostModel(Protocol):
    """Gives an architecture's cost: the same for equal networks, callable from several threads at once."""

    def estimate(self, arch: Architecture) -> Cost:
        """The cost of one image through `arch` at its own resolution and classes."""
        ...
