"""The cost range of a search: which architectures are accepted, and a walk into the range for one that is outside."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.layers import Shape
from nas.arch.spec import Architecture
from nas.cost.base import Chain, Target
from nas.errors import TargetError
from nas.objective import Limits
from nas.space.decode import SearchSpace

ChoiceIndices = NDArray[np.intp]
MOST_STEPS = 200


def space_chain(space: SearchSpace) -> Chain:
    """Return a space in the form that cost models read."""
    net = space.net
    shape = Shape(net["in_channels"], net["resolution"], net["resolution"])
    return Chain(shape, net["classes"], space.alternatives)


@frozen(eq=False)
class CostRange:
    """Hold lower and upper bounds of the costs of a space's architectures.

    Attributes:
        space: Space of the architectures.
        targets: Targets whose costs are bounded.
        limits: Lower and upper bound of each target's cost.
    """

    space: SearchSpace
    targets: tuple[Target, ...]
    limits: Limits

    @cached_property
    def chain(self) -> Chain:
        """Return the space in the form that cost models read."""
        return space_chain(self.space)

    def costs(self, indices: ChoiceIndices) -> NDArray[np.float64]:
        """Return costs `(N, targets)` of choice indices `(N, choices)`."""
        forms = self.space.forms(indices)
        return np.stack([target.cost.many(self.chain, forms) for target in self.targets], axis=1)

    def excess(self, indices: ChoiceIndices) -> NDArray[np.float64]:
        """Return the distance `(N,)` to the range as a share of each target, summed over targets; 0 inside it."""
        costs, low, high = self.costs(indices), np.array(self.limits.low), np.array(self.limits.high)
        outside = (np.maximum(low - costs, 0) + np.maximum(costs - high, 0)) / high
        return np.asarray(outside.sum(axis=1))

    def admits(self, arch: Architecture) -> bool:
        """Return whether the exact costs of one architecture are accepted; `costs` may be approximate."""
        rows = zip(self.targets, self.limits.low, self.limits.high, strict=True)
        return all(low <= target.cost.estimate(arch).value <= high for target, low, high in rows)

    def check_possible(self) -> None:
        """Compare each target with the smallest and largest cost of the space.

        Raises:
            TargetError: No architecture can meet a target; the message states the possible range.
        """
        for target, low, high in zip(self.targets, self.limits.low, self.limits.high, strict=True):
            least, most = target.cost.span(self.chain)
            if high < least or low > most:
                span = f"from {target.amount(least)} to {target.amount(most)}"
                raise TargetError(
                    f"target {target.text} cannot be met in space {self.space.name}",
                    f"its {target.name} goes {span}; give a target in between",
                )

    def neighbours(self, indices: ChoiceIndices) -> ChoiceIndices:
        """Return choice indices `(M, choices)` of all architectures that differ in a single choice."""
        rows = [_with(indices, at, option) for at, option in self._changes(indices)]
        return np.array(rows, dtype=np.intp).reshape(-1, len(indices))

    def _changes(self, indices: ChoiceIndices) -> Iterator[tuple[int, int]]:
        for at, choice in enumerate(self.space.all_choices):
            yield from ((at, option) for option in range(len(choice.values)) if option != indices[at])

    def bring_in(self, indices: ChoiceIndices, rng: np.random.Generator) -> ChoiceIndices | None:
        """Walk from an architecture into the cost range by single changes, each of which comes nearer to it.

        Returns:
            The first choice indices inside the range, or None where no single change comes nearer.
        """
        excess = float(self.excess(indices[None])[0])
        for _ in range(MOST_STEPS):
            if excess == 0:
                return indices
            around = self.neighbours(indices)
            outside = self.excess(around)
            nearer = np.flatnonzero(outside < excess)
            if not len(nearer):
                return None
            chosen = rng.choice(nearer)
            indices, excess = around[chosen], float(outside[chosen])
        return None

    def share(self, rng: np.random.Generator, count: int = 5_000) -> float:
        """Return the estimated share of the space's combinations that is accepted, from random samples."""
        return float((self.excess(self.space.sample(rng, count)) == 0).mean())


def _with(indices: ChoiceIndices, at: int, option: int) -> ChoiceIndices:
    changed = indices.copy()
    changed[at] = option
    return changed


def make_cost_range(space: SearchSpace, targets: Sequence[Target], limits: Limits) -> CostRange:
    """Return the cost range of some targets, checked to be possible in the space.

    Raises:
        TargetError: No target is given, or one cannot be met.
    """
    if not targets:
        raise TargetError("no target is given", "give one, like flops=400M")
    cost_range = CostRange(space, tuple(targets), limits)
    cost_range.check_possible()
    return cost_range
