"""Evaluators that train nothing, where evaluators for several seeds are asked for."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from nas.evaluate.base import Evaluator

# What differs between evaluators of different seeds, and where they run.
_OWN = frozenset({"seed", "sample_seed", "sample_sha256", "environment"})


@frozen(eq=False)
class SeededEvaluators:
    """See `Evaluators`: one for each seed, made when it is first asked for; the resolution is its own affair.

    Attributes:
        make: the evaluator of a seed.
        first: the seed whose evaluator describes them all.
    """

    make: Callable[[int], Evaluator]
    first: int = 0
    _made: dict[int, Evaluator] = field(factory=dict, init=False)

    def at(self, resolution: int, seed: int) -> Evaluator:  # noqa: ARG002 -- it has images of its own, or none
        """See `Evaluators`."""
        if seed not in self._made:
            self._made[seed] = self.make(seed)
        return self._made[seed]

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluators`."""
        described = self.at(0, self.first).describe()
        return {key: value for key, value in described.items() if key not in _OWN}
