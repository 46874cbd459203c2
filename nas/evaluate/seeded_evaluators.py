"""Evaluators of several seeds for evaluators that hold their own images, or none."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from nas.evaluate.base import Evaluator

# Entries of a description that differ between seeds, or that name the machine.
_SEED_ENTRIES = frozenset({"seed", "sample_seed", "sample_sha256", "environment"})


@frozen(eq=False)
class SeededEvaluators:
    """Make one evaluator for each seed, when it is first requested; the requested resolution is ignored.

    It implements `Evaluators` for evaluators that have images of their own, or none. Another process makes its own
    evaluators, since those of this process hold images and callbacks.

    Attributes:
        make: Function that makes the evaluator of a seed.
        first: Seed whose evaluator provides the description of all.
    """

    make: Callable[[int], Evaluator]
    first: int = 0
    _evaluators: dict[int, Evaluator] = field(factory=dict, init=False)

    def __reduce__(self) -> "tuple[type[SeededEvaluators], tuple[Callable[[int], Evaluator], int]]":
        """Return what pickle sends to another process."""
        return SeededEvaluators, (self.make, self.first)

    def at(self, resolution: int, seed: int) -> Evaluator:  # noqa: ARG002 -- these evaluators have their own images
        """Return the evaluator of a seed; see `Evaluators`."""
        if seed not in self._evaluators:
            self._evaluators[seed] = self.make(seed)
        return self._evaluators[seed]

    def describe(self) -> Mapping[str, Any]:
        """Return the description of the first evaluator without its seed and environment; see `Evaluators`."""
        described = self.at(0, self.first).describe()
        return {key: value for key, value in described.items() if key not in _SEED_ENTRIES}
