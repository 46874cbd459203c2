"""The cost filter: which architectures of a space are let in, and the way into the band for one that is outside."""

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

Picks = NDArray[np.intp]
MOST_STEPS = 200


def space_chain(space: SearchSpace) -> Chain:
    """A space as cost models see it."""
    net = space.net
    shape = Shape(net["in_channels"], net["resolution"], net["resolution"])
    return Chain(shape, net["classes"], space.alternatives)


@frozen(eq=False)
class CostRange:
    """Limits on the costs of a space's architectures.

    Attributes:
        space: whose option numbers are judged.
        targets: what is limited.
        limits: from where to where.
    """

    space: SearchSpace
    targets: tuple[Target, ...]
    limits: Limits

    @cached_property
    def chain(self) -> Chain:
        """The space as cost models see it."""
        return space_chain(self.space)

    def costs(self, picks: Picks) -> NDArray[np.float64]:
        """Costs `(N, targets)` of option numbers `(N, choices)`."""
        forms = self.space.forms(picks)
        return np.stack([target.cost.many(self.chain, forms) for target in self.targets], axis=1)

    def excess(self, picks: Picks) -> NDArray[np.float64]:
        """How far outside `(N,)`, summed over targets, as a share of each; 0 for what is let in."""
        costs, low, high = self.costs(picks), np.array(self.limits.low), np.array(self.limits.high)
        outside = (np.maximum(low - costs, 0) + np.maximum(costs - high, 0)) / high
        return np.asarray(outside.sum(axis=1))

    def admits(self, arch: Architecture) -> bool:
        """Whether one architecture's own estimates are let in; they can differ from `costs` where those are rough."""
        rows = zip(self.targets, self.limits.low, self.limits.high, strict=True)
        return all(low <= target.cost.estimate(arch).value <= high for target, low, high in rows)

    def check_possible(self) -> None:
        """Compare each target with the space's smallest and largest cost.

        Raises:
            TargetError: no architecture can meet it; says what is possible.
        """
        for target, low, high in zip(self.targets, self.limits.low, self.limits.high, strict=True):
            least, most = target.cost.span(self.chain)
            if high < least or low > most:
                span = f"from {target.amount(least)} to {target.amount(most)}"
                raise TargetError(
                    f"target {target.text} cannot be met in space {self.space.name}",
                    f"{target.name} there goes {span}; give one in between",
                )

    def neighbours(self, picks: Picks) -> Picks:
        """Every architecture that differs in a single option `(M, choices)`."""
        rows = [_with(picks, at, option) for at, option in self._changes(picks)]
        return np.array(rows, dtype=np.intp).reshape(-1, len(picks))

    def _changes(self, picks: Picks) -> Iterator[tuple[int, int]]:
        for at, choice in enumerate(self.space.all_choices):
            yield from ((at, option) for option in range(len(choice.values)) if option != picks[at])

    def bring_in(self, picks: Picks, rng: np.random.Generator) -> Picks | None:
        """A walk of single changes from `picks` into the band, each one nearer to it.

        Returns:
            The first option numbers found inside, or None where no single change leads nearer.
        """
        excess = float(self.excess(picks[None])[0])
        for _ in range(MOST_STEPS):
            if excess == 0:
                return picks
            around = self.neighbours(picks)
            outside = self.excess(around)
            nearer = np.flatnonzero(outside < excess)
            if not len(nearer):
                return None
            chosen = rng.choice(nearer)
            picks, excess = around[chosen], float(outside[chosen])
        return None

    def share(self, rng: np.random.Generator, count: int = 5_000) -> float:
        """The share of the space's combinations that is let in, from random ones."""
        return float((self.excess(self.space.sample(rng, count)) == 0).mean())


def _with(picks: Picks, at: int, option: int) -> Picks:
    changed = picks.copy()
    changed[at] = option
    return changed


def make_cost_range(space: SearchSpace, targets: Sequence[Target], limits: Limits) -> CostRange:
    """A band that some architecture of the space can be in.

    Raises:
        TargetError: no target is given, or one cannot be met.
    """
    if not targets:
        raise TargetError("no target is given", "give one, like flops=400M")
    cost_range = CostRange(space, tuple(targets), limits)
    cost_range.check_possible()
    return cost_range
