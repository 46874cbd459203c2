"""The next architecture: what an Optuna sampler wants, let in by the cost filter, and never seen before.

The sampler works on a mirror of the study that is kept in memory. So a proposal that is not let in costs no
transaction and leaves no trial behind. Each proposal has a sampler of its own, seeded by the study's seed and the
proposal's number: a search that was stopped goes on as if it had not been.
"""

from collections.abc import Sequence

import numpy as np
import optuna
from attrs import define, field, frozen
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.search.band import Band, Picks
from nas.search.samplers import make_sampler
from nas.search.settings import Direction
from nas.space.decode import SearchSpace, Value

SAMPLER_TRIES = 30
WALKS = 20
WALK_STEPS = 25
MOST_LOOKS = 200  # at networks that are let in by a rough cost and not by their own: each may take a measurement


@frozen
class Proposal:
    """An architecture that is let in, with its options and what the sampler wants remembered."""

    arch: Architecture
    params: dict[str, Value]
    distributions: dict[str, BaseDistribution]
    system_attrs: dict[str, object]


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """A space's open choices as Optuna's distributions."""
    return {choice.name: CategoricalDistribution(choice.values) for choice in space.choices}


@define(eq=False)
class Proposer:
    """Proposes architectures for one study.

    Attributes:
        band: what is let in.
        sampler: its name.
        seed: of the study.
        directions: of the study, "maximize" and so on.
        wanted: option numbers to propose before the sampler's own.
    """

    band: Band
    sampler: str
    seed: int
    directions: Sequence[Direction]
    wanted: Sequence[Picks] = ()
    _mirror: optuna.Study = field(init=False)
    _mirrored: set[int] = field(factory=set, init=False)
    _seen: set[Architecture] = field(factory=set, init=False)
    _looks: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._mirror = optuna.create_study(directions=list(self.directions), sampler=make_sampler(self.sampler, 0))

    def learn(self, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> None:
        """Take in trials with their architectures; those learnt before are passed over."""
        for trial, arch in zip(trials, archs, strict=True):
            if trial.number not in self._mirrored and trial.state.is_finished():
                self._mirrored.add(trial.number)
                self._mirror.add_trial(trial)
            self._seen.add(canonical(arch))

    def knows(self, trial: FrozenTrial) -> bool:
        """Whether a finished trial was learnt before."""
        return trial.number in self._mirrored

    def propose(self, number: int) -> Proposal | None:
        """The next architecture, or None where no new one was found in the band.

        Args:
            number: how many proposals were made before; with equal history and seed it alone decides.
        """
        self._looks = 0
        rng = np.random.default_rng([self.seed, number])
        self._mirror.sampler = make_sampler(self.sampler, int(rng.integers(2**31)))
        self._forget_parents()
        for picks in self.wanted:
            if self._is_new(picks):
                # What the sampler remembers of its own wish makes this one a member of its population.
                return self._proposal(picks, self._ask()[1])
        return self._sampled(rng) or self._listed(rng)

    def _forget_parents(self) -> None:
        """NSGA keeps a generation's parents in the order they were first drawn, which a search that goes on has not."""
        study_id, storage = self._mirror._study_id, self._mirror._storage
        for key in storage.get_study_system_attrs(study_id):
            storage.set_study_system_attr(study_id, key, None)

    def _sampled(self, rng: np.random.Generator) -> Proposal | None:
        """What the sampler wants; if that stays outside, the way from its last wish into the band."""
        for attempt in range(SAMPLER_TRIES + WALKS):
            wish, system_attrs = self._ask()
            picks = wish if attempt < SAMPLER_TRIES else self._walk(wish, rng)
            if picks is not None and self._is_new(picks):
                return self._proposal(picks, system_attrs)
        return None

    def _ask(self) -> tuple[Picks, dict[str, object]]:
        trial = self._mirror.ask(distributions(self.band.space))
        picks = np.array(self.band.space.picks(trial.params), dtype=np.intp)
        system_attrs = self._mirror._storage.get_trial_system_attrs(trial._trial_id)
        self._mirror.tell(trial, state=TrialState.FAIL)
        return picks, system_attrs

    def _walk(self, picks: Picks, rng: np.random.Generator) -> Picks | None:
        """Into the band, and on inside it until something new is found."""
        inside = self.band.bring_in(picks, rng)
        for _ in range(WALK_STEPS):
            if inside is None or self._is_new(inside):
                return inside
            around = self.band.neighbours(inside)
            around = around[self.band.excess(around) == 0]
            inside = around[rng.integers(len(around))] if len(around) else None
        return inside

    def _listed(self, rng: np.random.Generator) -> Proposal | None:
        """Any that is left of a space small enough to be listed."""
        if self.band.space.size > 20_000:
            return None
        every = rng.permutation(np.array(list(self.band.space.enumerate()), dtype=np.intp))
        allowed = every[self.band.excess(every) == 0]
        found = next((picks for picks in allowed if self._is_new(picks)), None)
        return None if found is None else self._proposal(found, self._ask()[1])

    def _is_new(self, picks: Picks) -> bool:
        if float(self.band.excess(picks[None])[0]) > 0 or self._arch(picks) in self._seen:
            return False
        if self._looks == MOST_LOOKS or self.band.admits(self._arch(picks)):
            return self._looks < MOST_LOOKS
        self._looks += 1
        return False

    def _arch(self, picks: Picks) -> Architecture:
        return canonical(self.band.space.from_picks(picks.tolist()))

    def _proposal(self, picks: Picks, system_attrs: dict[str, object]) -> Proposal:
        space = self.band.space
        return Proposal(self._arch(picks), space.params(picks.tolist()), distributions(space), system_attrs)
