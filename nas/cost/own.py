"""Costs of a user's own: a function gives the cost of one network, and may take minutes for it.

As with measured latencies, a guide that is fitted on a few networks selects those that are worth a call, and each of
them is measured before it is trained. The first networks are measured twice, which shows whether the function is noisy.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
from attrs import define, evolve, field, frozen

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.base import Cost
from nas.cost.guide import GUIDE_NETWORKS, fit_guide, general_terms
from nas.cost.guided import EachOnce, GuidedCost
from nas.errors import CostError, EvaluationError, NasError
from nas.graph.fragment import whole

Call = Callable[[Architecture], float]
Say = Callable[[str], None]
REPEATED = 4  # networks of the guide that are measured twice
PASSES = 3  # measurements of the final candidates
# Networks in a row for which a function may fail. Where it has worked, they may be too large for a small device, which
# says nothing of the next one.
MAX_FIRST_FAILED, MAX_FAILED = 5, 20
WILD = 0.5  # standard deviation, as a share, above which a number says nothing


@define(eq=False)
class OwnCost(EachOnce):
    """Estimate costs by a function of a user, which is called once for each network; this is a `CostModel`.

    The cost is infinite where the function fails. A function that fails for several networks in a row is a `CostError`.

    Attributes:
        name: Name of the cost.
        unit: Unit of the numbers that the function returns.
        function: Name of the function.
        source: Source of the costs, as trials store it.
        call: Calls the function; it raises `EvaluationError` where the function fails.
        say: Function that is called with a sentence about each network for which the function fails.
        share: Standard deviation of repeated calls as a share of the cost; 0 where they return the same number.
        failed: Number of calls that failed.
    """

    name: str
    unit: str
    function: str
    source: str
    call: Call
    say: Say
    share: float = 0.0
    failed: int = field(default=0, init=False)

    def again(self, arch: Architecture) -> float:
        """Call the function for a network whatever is known of it; return NaN where it fails."""
        try:
            with self._lock:
                return self.call(canonical(arch))
        except EvaluationError as error:
            self._count(error)
            return math.nan

    def set_share(self, share: float) -> None:
        """Set the standard deviation of all costs, of the known ones too."""
        self.share = share
        with self._lock:
            self._costs |= {arch: evolve(cost, spread=cost.value * share) for arch, cost in self._costs.items()}

    def _measure(self, arch: Architecture) -> Cost:
        value = self.call(arch)
        return Cost(value, self.unit, self.source, value * self.share)

    def _refused(self, error: NasError) -> Cost | None:
        if not isinstance(error, EvaluationError):
            return None
        self._count(error)
        return Cost(math.inf, self.unit, f"refused by {self.function}: {error.problem}", math.nan)

    def _max_refused(self) -> int:
        has_worked = any(math.isfinite(cost.value) for cost in self._costs.values())
        return MAX_FAILED if has_worked else MAX_FIRST_FAILED

    def _give_up(self, error: NasError) -> NasError:
        return CostError(
            f"{self.function} failed for {self._max_refused()} networks in a row, the last time with: {error.problem}",
            error.remedy or "correct the function, and give the same command again; the trials of the study are kept",
        )

    def _count(self, error: NasError) -> None:
        self.failed += 1
        self.say(f"a network has no {self.name} and is not evaluated ({self.failed} so far): {error.problem}")


@frozen(eq=False)
class OwnJudge:
    """Measure the final candidates by a noisy function, in several passes; this is a `Judge`.

    Attributes:
        single: The cost.
    """

    single: OwnCost

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        """Return the mean costs, in the order of `archs`; infinite where every call fails."""
        # One pass after another: what drifts, such as a temperature, then affects all networks in the same way.
        passes = [[self.single.again(arch) for arch in archs] for _ in range(PASSES)]
        values = [[value for value in row if not math.isnan(value)] for row in zip(*passes, strict=True)]
        share = _pooled_share(values)
        return [self._mean(row, share) for row in values]

    def _mean(self, values: Sequence[float], share: float) -> Cost:
        if not values:
            return Cost(math.inf, self.single.unit, f"refused by {self.single.function}", math.nan)
        mean = float(np.mean(values))
        return Cost(mean, self.single.unit, self.single.source, mean * share / math.sqrt(len(values)))


def fit_own_cost(single: OwnCost, networks: Iterable[Architecture]) -> GuidedCost[OwnCost]:
    """Return a cost model with a guide that is fitted on the first networks that have a cost.

    Args:
        single: The cost; the spread of its costs is set here.
        networks: Random networks of the space.

    Raises:
        CostError: The function fails for several networks in a row or for all, or returns wildly different numbers.
    """
    priced = ((arch, cost.value) for arch in networks if math.isfinite((cost := single.estimate(arch)).value))
    known = tuple(islice(priced, GUIDE_NETWORKS))
    if not known:
        raise CostError(f"{single.function} failed for all networks of the space", "correct the function")
    single.set_share(_repeated_share(single, known[:REPEATED]))
    measured = np.array([value for _, value in known])
    return GuidedCost(fit_guide(general_terms, [whole(arch) for arch, _ in known], measured), single)


def _repeated_share(single: OwnCost, known: Sequence[tuple[Architecture, float]]) -> float:
    """Return the standard deviation of one call as a share, from second calls for some networks.

    Raises:
        CostError: The second calls fail, or the numbers differ wildly.
    """
    pairs = [(first, again) for arch, first in known if not math.isnan(again := single.again(arch))]
    if not pairs:
        raise CostError(f"{single.function} failed when it was called again for the same networks", "correct it")
    share = _pooled_share(pairs)
    if share > WILD:
        first, again = max(pairs, key=lambda pair: abs(math.log(pair[0] / pair[1])))
        raise CostError(
            f"{single.function} returned {first:.4g} and then {again:.4g} for one network; the standard deviation of "
            f"repeated calls may be at most {WILD:.0%} of the cost, and it is {share:.0%}",
            "return the mean or the median of several measurements",
        )
    return share


def _pooled_share(rows: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of single numbers as a share of their mean, over networks with several numbers."""
    several = [np.array(row) for row in rows if len(row) > 1]
    squares = sum(float(((row / row.mean() - 1) ** 2).sum()) for row in several)
    freedom = sum(len(row) - 1 for row in several)
    return math.sqrt(squares / freedom) if freedom else 0.0
