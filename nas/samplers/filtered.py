"""The next architecture: what a sampler wants, let in by the cost filter, and never seen before.

A sampler only wishes. What is let in is decided here, once for all of them, so that a wish that stays outside costs
nothing and leaves no trial behind. Each proposal has a random state of its own, of the study's seed and the proposal's
number: a search that was stopped goes on as if it had not been.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from attrs import define, field, frozen
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.samplers.base import Sampler, Suggestion, distributions
from nas.samplers.cost_range import CostRange, Picks
from nas.space.decode import Value

TRIES = 30
WALKS = 20
WALK_STEPS = 25
LISTED = 20_000
MOST_LOOKS = 200  # at networks that are let in by a rough cost and not by their own: each may take a measurement


@frozen
class Proposal:
    """An architecture that is let in, with its options and what the sampler wants remembered."""

    arch: Architecture
    params: dict[str, Value]
    distributions: dict[str, BaseDistribution]
    system_attrs: dict[str, object]


def list_inside(cost_range: CostRange, pool: Picks | None = None) -> Picks | None:
    """All option numbers inside a band, of a pool or a space small enough to be listed; else None."""
    if pool is None and cost_range.space.size > LISTED:
        return None
    every = np.array(list(cost_range.space.enumerate()), dtype=np.intp) if pool is None else pool
    return np.asarray(every[cost_range.excess(every) == 0])


@define(eq=False)
class FilteredSampler:
    """Proposes architectures for one study.

    Attributes:
        cost_range: what is let in.
        inner: the sampler.
        seed: of the study.
        wanted: option numbers to propose before the sampler's own.
        listing: all that there is to propose inside the band, where that can be listed; see `list_inside`.
        limited: whether nothing else can be evaluated, in the band or not.
    """

    cost_range: CostRange
    inner: Sampler
    seed: int
    wanted: Sequence[Picks] = ()
    listing: Picks | None = None
    limited: bool = False
    _allowed: set[bytes] = field(init=False)
    _listed: set[Architecture] = field(factory=set, init=False)
    _known: set[int] = field(factory=set, init=False)
    _seen: set[Architecture] = field(factory=set, init=False)
    _looks: int = field(default=0, init=False)

    @_allowed.default
    def _listed_rows(self) -> set[bytes]:
        return {row.tobytes() for row in self.listing} if self.limited and self.listing is not None else set()

    def learn(self, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> None:
        """Take in trials with their architectures, running ones too; ended ones learnt before are passed over."""
        for trial, arch in zip(trials, archs, strict=True):
            self._seen.add(canonical(arch))
            if trial.number not in self._known:
                self.inner.learn(trial)
            if trial.state.is_finished():
                self._known.add(trial.number)

    def forget(self, trial: FrozenTrial) -> None:
        """One that was running was cut short; its architecture comes again by itself."""
        self._known.add(trial.number)
        self.inner.forget(trial.number)

    def avoid(self, arch: Architecture) -> None:
        """Do not propose an architecture: another process has it."""
        self._seen.add(canonical(arch))

    def knows(self, trial: FrozenTrial) -> bool:
        """Whether an ended trial was learnt before."""
        return trial.number in self._known

    def suggest(self, number: int) -> Proposal | None:
        """The next architecture, or None where no new one was found in the band.

        Args:
            number: how many proposals were made before; with equal history and seed it alone decides.
        """
        self._looks = 0
        rng = np.random.default_rng([self.seed, number])
        suggestions = self.inner.suggestions(rng)
        for picks in self.wanted:
            if self._is_new(picks):
                # What the sampler remembers of its own wish makes this one a member of its population.
                return self._proposal(Suggestion(picks, next(suggestions).sampler_attrs))
        return self._suggested(suggestions, rng)

    def _suggested(self, suggestions: Iterator[Suggestion], rng: np.random.Generator) -> Proposal | None:
        """What the sampler wants; if that stays outside, the way from its next wishes into the band."""
        for attempt, suggestion in enumerate(islice(suggestions, TRIES + WALKS)):
            picks = suggestion.picks if attempt < TRIES else self._walk(suggestion.picks, rng)
            if picks is not None and self._is_new(picks):
                return self._proposal(Suggestion(picks, suggestion.sampler_attrs))
        return None

    def _walk(self, picks: Picks, rng: np.random.Generator) -> Picks | None:
        """Into the band, and on inside it until something new is found; in a list to one of the nearest."""
        if self.listing is not None:
            mixed = rng.permutation(self.listing)
            near = mixed[np.argsort((mixed != picks).sum(axis=1), kind="stable")]
            return next((each for each in near if self._is_new(each)), None)
        inside = self.cost_range.bring_in(picks, rng)
        for _ in range(WALK_STEPS):
            if inside is None or self._is_new(inside):
                return inside
            around = self.cost_range.neighbours(inside)
            around = around[self.cost_range.excess(around) == 0]
            inside = around[rng.integers(len(around))] if len(around) else None
        return inside

    def _is_new(self, picks: Picks) -> bool:
        if self.limited and not self._is_listed(picks):
            return False
        if float(self.cost_range.excess(picks[None])[0]) > 0 or self._arch(picks) in self._seen:
            return False
        if self._looks == MOST_LOOKS or self.cost_range.admits(self._arch(picks)):
            return self._looks < MOST_LOOKS
        self._looks += 1
        return False

    def _is_listed(self, picks: Picks) -> bool:
        """Whether the network can be evaluated, under whichever of its encodings."""
        if picks.tobytes() in self._allowed:
            return True
        if not self._listed and self.listing is not None:
            self._listed.update(map(self._arch, self.listing))
        return self._arch(picks) in self._listed

    def _arch(self, picks: Picks) -> Architecture:
        return canonical(self.cost_range.space.from_picks(picks.tolist()))

    def _proposal(self, suggestion: Suggestion) -> Proposal:
        space = self.cost_range.space
        params = space.params(suggestion.picks.tolist())
        return Proposal(self._arch(suggestion.picks), params, distributions(space), dict(suggestion.sampler_attrs))
