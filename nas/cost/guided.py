"""Cost models that measure each network once, and choose the networks that are worth it by a guide."""

import threading
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.base import Chain, Cost, CostModel
from nas.cost.guide import Guide
from nas.errors import NasError

MAX_REFUSED = 3  # in a row
Single = TypeVar("Single", bound=CostModel)


@define(eq=False)
class EachOnce(ABC):
    """Estimate costs by measuring single networks, each once; this is a `CostModel`."""

    _costs: dict[Architecture, Cost] = field(factory=dict, init=False)
    _refused_in_a_row: int = field(default=0, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def estimate(self, arch: Architecture) -> Cost:
        """Return the measured cost of a network; see `CostModel`.

        The cost is infinite where this network has none, which is then outside every cost range.

        Raises:
            NasError: Nothing can be measured any more, or several networks in a row have no cost.
        """
        form = canonical(arch)
        with self._lock:  # Measurements at the same time would disturb each other.
            if form not in self._costs:
                self._costs[form] = self._measured_or_refused(form)
            return self._costs[form]

    def _measured_or_refused(self, arch: Architecture) -> Cost:
        try:
            cost = self._measure(arch)
        except NasError as error:
            refused = self._refused(error)
            if refused is None:
                raise
            # If no network has a cost, the networks are not the cause, and a search should not continue.
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= self._max_refused():
                raise self._give_up(error) from None
            return refused
        self._refused_in_a_row = 0
        return cost

    @abstractmethod
    def _measure(self, arch: Architecture) -> Cost:
        """Return the cost of a network in canonical form, which was not measured before."""

    @abstractmethod
    def _refused(self, error: NasError) -> Cost | None:
        """Return the infinite cost of a network whose measurement raised an error; None if others would fail too."""

    def _max_refused(self) -> int:
        """Return the number of networks in a row without a cost that ends a search."""
        return MAX_REFUSED

    def _give_up(self, error: NasError) -> NasError:
        """Return the error that ends the search when the last of several networks in a row had no cost."""
        return error


@define(eq=False)
class GuidedCost(Generic[Single]):
    """Measure single networks and estimate many at once by a guide; this is a `ChainCostModel`.

    Attributes:
        guide: Rough cost model, which selects the networks that are worth measuring.
        single: Measures single networks.
    """

    guide: Guide
    single: Single

    def estimate(self, arch: Architecture) -> Cost:
        """Return the cost of a network, which is measured once and then cached; see `CostModel`.

        Raises:
            NasError: The measurement fails.
        """
        return self.single.estimate(arch)

    def predict_roughly(self, arch: Architecture) -> float:
        """Return a rough estimate for one network, which is not measured."""
        return self.guide.predict(arch)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return rough estimates `(N,)` by the guide; see `ChainCostModel`."""
        return self.guide.many(chain, index)

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the cost range by the guide, extended by its error at both ends; see `ChainCostModel`."""
        return self.guide.span(chain)
