"""A sampler behind a filter: its suggestions are accepted only inside the cost range, and only once.

The filter is the same for all samplers, so that a rejected suggestion costs nothing and leaves no trial behind. Each
proposal has its own random state, made from the study's seed and the number of the proposal: a search that was stopped
continues as if it had not been.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from attrs import define, field, frozen
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.outlook import Outlook
from nas.samplers.base import Sampler, Suggestion, distributions
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.space.decode import Value

TRIES = 30
WALKS = 20
WALK_STEPS = 25
LISTED = 20_000
MOST_CHECKS = 200  # networks that pass by their estimated cost are checked by their own, which may be measured


@frozen
class Proposal:
    """Hold an accepted architecture, its parameters, and the system attributes that the sampler stores in the trial."""

    arch: Architecture
    params: dict[str, Value]
    distributions: dict[str, BaseDistribution]
    system_attrs: dict[str, object]


def list_inside(cost_range: CostRange, pool: ChoiceIndices | None = None) -> ChoiceIndices | None:
    """Return choice indices of all architectures inside the cost range; None where the space is too large to list.

    Args:
        cost_range: Costs that are accepted.
        pool: Choice indices of the only architectures that can be evaluated; None for the whole space.
    """
    if pool is None and cost_range.space.size > LISTED:
        return None
    every = np.array(list(cost_range.space.enumerate()), dtype=np.intp) if pool is None else pool
    return np.asarray(every[cost_range.excess(every) == 0])


@define(eq=False)
class FilteredSampler:
    """Suggests new architectures inside a cost range, for one study.

    Attributes:
        cost_range: Costs that are accepted.
        inner: Sampler whose suggestions are filtered.
        seed: Seed of the study.
        wanted: Choice indices to suggest before those of the sampler.
        listing: Choice indices of all architectures inside the cost range, where they can be listed; see `list_inside`.
        limited: Whether only the listed architectures can be evaluated.
    """

    cost_range: CostRange
    inner: Sampler
    seed: int
    wanted: Sequence[ChoiceIndices] = ()
    listing: ChoiceIndices | None = None
    limited: bool = False
    _allowed: set[bytes] = field(init=False)
    _listed: set[Architecture] = field(factory=set, init=False)
    _known: set[int] = field(factory=set, init=False)
    _seen: set[Architecture] = field(factory=set, init=False)
    _checks: int = field(default=0, init=False)

    @_allowed.default
    def _listed_rows(self) -> set[bytes]:
        return {row.tobytes() for row in self.listing} if self.limited and self.listing is not None else set()

    def learn(self, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> None:
        """Add trials and their architectures to the history, running ones too; known ended trials are skipped."""
        for trial, arch in zip(trials, archs, strict=True):
            self._seen.add(canonical(arch))
            if trial.number not in self._known:
                self.inner.learn(trial)
            if trial.state.is_finished():
                self._known.add(trial.number)

    def forget(self, trial: FrozenTrial) -> None:
        """Remove a running trial that was interrupted; its architecture is evaluated again in another trial."""
        self._known.add(trial.number)
        self.inner.forget(trial.number)

    def avoid(self, arch: Architecture) -> None:
        """Exclude an architecture, which another process evaluates."""
        self._seen.add(canonical(arch))

    def knows(self, trial: FrozenTrial) -> bool:
        """Return whether an ended trial is part of the history."""
        return trial.number in self._known

    def outlook(self) -> Outlook | None:
        """Return what is still to be expected of the search; None if the sampler cannot say it."""
        return self.inner.outlook()

    def suggest(self, number: int) -> Proposal | None:
        """Return the next architecture; None where no new one was found inside the cost range.

        Args:
            number: Number of proposals before this one; it determines the proposal for a given history and seed.
        """
        self._checks = 0
        rng = np.random.default_rng([self.seed, number])
        suggestions = self.inner.suggestions(rng)
        for indices in self.wanted:
            if self._is_new(indices):
                # With the attributes of a suggestion, a genetic sampler counts this trial in its population.
                return self._proposal(Suggestion(indices, next(suggestions).sampler_attrs))
        return self._suggested(suggestions, rng)

    def _suggested(self, suggestions: Iterator[Suggestion], rng: np.random.Generator) -> Proposal | None:
        """Return the first acceptable suggestion; after some tries, walk from suggestions into the cost range."""
        for attempt, suggestion in enumerate(islice(suggestions, TRIES + WALKS)):
            indices = suggestion.indices if attempt < TRIES else self._walk(suggestion.indices, rng)
            if indices is not None and self._is_new(indices):
                return self._proposal(Suggestion(indices, suggestion.sampler_attrs))
        return None

    def _walk(self, indices: ChoiceIndices, rng: np.random.Generator) -> ChoiceIndices | None:
        """Walk into the cost range and on inside it to a new architecture; in a listing, go to a nearest new one."""
        if self.listing is not None:
            mixed = rng.permutation(self.listing)
            # Shuffled before the stable sort, so that one of the nearest is taken at random.
            near = mixed[np.argsort((mixed != indices).sum(axis=1), kind="stable")]
            return next((each for each in near if self._is_new(each)), None)
        inside = self.cost_range.bring_in(indices, rng)
        for _ in range(WALK_STEPS):
            if inside is None or self._is_new(inside):
                return inside
            around = self.cost_range.neighbours(inside)
            around = around[self.cost_range.excess(around) == 0]
            inside = around[rng.integers(len(around))] if len(around) else None
        return inside

    def _is_new(self, indices: ChoiceIndices) -> bool:
        if self.limited and not self._is_listed(indices):
            return False
        if float(self.cost_range.excess(indices[None])[0]) > 0 or self._arch(indices) in self._seen:
            return False
        # The own cost comes last, since it may be a measurement of seconds; after too many of them nothing is new any
        # more.
        if self._checks == MOST_CHECKS or self.cost_range.admits(self._arch(indices)):
            return self._checks < MOST_CHECKS
        self._checks += 1
        return False

    def _is_listed(self, indices: ChoiceIndices) -> bool:
        """Return whether a network is listed, under any of its choice indices that mean the same network."""
        if indices.tobytes() in self._allowed:
            return True
        if not self._listed and self.listing is not None:
            self._listed.update(map(self._arch, self.listing))
        return self._arch(indices) in self._listed

    def _arch(self, indices: ChoiceIndices) -> Architecture:
        return canonical(self.cost_range.space.from_indices(indices.tolist()))

    def _proposal(self, suggestion: Suggestion) -> Proposal:
        space = self.cost_range.space
        params = space.params(suggestion.indices.tolist())
        return Proposal(self._arch(suggestion.indices), params, distributions(space), dict(suggestion.sampler_attrs))
