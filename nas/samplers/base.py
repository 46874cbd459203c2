"""What a sampler wishes for: the model's ranking, or what one of Optuna's samplers asks for, one wish after another."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import optuna
from attrs import define, field, frozen
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.objective import Direction
from nas.optuna_private.identity import storage_of, study_id, trial_id
from nas.optuna_private.in_memory import clear_trial_cache, generation_key, remove_last_trial
from nas.samplers.cost_range import Picks
from nas.samplers.history import TrialHistory
from nas.samplers.ranking import CandidateRanker
from nas.space.decode import SearchSpace


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """A space's open choices as Optuna's distributions."""
    return {choice.name: CategoricalDistribution(choice.values) for choice in space.choices}


@frozen(eq=False)
class Suggestion:
    """Option numbers, and what the sampler wants remembered with the trial."""

    picks: Picks
    sampler_attrs: Mapping[str, Any] = MappingProxyType({})


class Sampler(Protocol):
    """A sampler. Does not know what is let in, or only roughly; with equal history and random state it wishes alike."""

    def learn(self, trial: FrozenTrial) -> None:
        """Take in a trial: a running one once, and again when it has ended."""
        ...

    def forget(self, number: int) -> None:
        """A trial that was running was cut short: it comes again under another number."""
        ...

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """Wishes without end, the dearest first."""
        ...


@frozen(eq=False)
class ModelSampler:
    """The sampler made for this problem; see `CandidateRanker`."""

    ranker: CandidateRanker
    trial_history: TrialHistory

    def learn(self, trial: FrozenTrial) -> None:
        """See `Sampler`."""
        self.trial_history.add(trial)

    def forget(self, number: int) -> None:
        """See `Sampler`."""
        self.trial_history.forget(number)

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """See `Sampler`; after the model's ranking random ones."""
        yield from map(Suggestion, self.ranker.rank(self.trial_history.history(), rng))
        while True:
            yield Suggestion(self.ranker.cost_range.space.sample(rng, 1)[0])


@define(eq=False)
class OptunaSampler:
    """One of Optuna's samplers, on a mirror of the study in memory: a wish leaves no trial in the study.

    Attributes:
        space: of the architectures.
        directions: of the study.
        make: makes the sampler, of a seed.
    """

    space: SearchSpace
    directions: Sequence[Direction]
    make: Callable[[int], BaseSampler]
    _mirror: optuna.Study = field(init=False)
    _born: Counter[int] = field(factory=Counter, init=False)
    _prepared: int = field(default=0, init=False)
    _others: dict[int, FrozenTrial] = field(factory=dict, init=False)

    @_mirror.default
    def _new_mirror(self) -> optuna.Study:
        return optuna.create_study(directions=list(self.directions), sampler=self.make(0))

    def learn(self, trial: FrozenTrial) -> None:
        """See `Sampler`."""
        if not trial.state.is_finished():
            self._others[trial.number] = trial
            return
        self._others.pop(trial.number, None)
        self._mirror.add_trial(trial)
        sampler = type(self._mirror.sampler)
        if trial.state == TrialState.COMPLETE and issubclass(sampler, BaseGASampler):
            self._born[trial.system_attrs.get(generation_key(sampler), -1)] += 1

    def forget(self, number: int) -> None:
        """See `Sampler`."""
        self._others.pop(number, None)

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """See `Sampler`."""
        self._mirror.sampler = self.make(int(rng.integers(2**31)))
        self._prepare_parents()
        with self._beside_others():
            yield from self._asked()

    def _asked(self) -> Iterator[Suggestion]:
        while True:
            trial = self._mirror.ask(distributions(self.space))
            picks = np.array(self.space.picks(trial.params), dtype=np.intp)
            sampler_attrs = storage_of(self._mirror).get_trial_system_attrs(trial_id(trial))
            remove_last_trial(self._mirror, trial_id(trial))
            yield Suggestion(picks, dict(sampler_attrs))

    @contextmanager
    def _beside_others(self) -> Iterator[None]:
        """Trials that others run are in the mirror while it is asked: some samplers keep away from them."""
        storage, mirror = storage_of(self._mirror), study_id(self._mirror)
        others = [storage.create_new_trial(mirror, trial) for trial in self._others.values()]
        try:
            yield
        finally:
            for added in reversed(others):
                remove_last_trial(self._mirror, added)

    def _prepare_parents(self) -> None:
        """Have the parents of every generation chosen once, oldest first, whoever asks and whenever.

        A genetic sampler chooses them when it first needs them, those of all earlier generations before; what it
        remembers of that would be another thing in a search that goes on.
        """
        sampler = self.make(0)
        if not isinstance(sampler, BaseGASampler) or not self._born:
            return
        newest = max(self._born)
        last = newest + (self._born[newest] >= (sampler.population_size or 0))
        clear_trial_cache(self._mirror)
        for generation in range(self._prepared + 1, last + 1):
            chooser = self.make(generation)
            assert isinstance(chooser, BaseGASampler)  # noqa: S101 -- as the one before
            chooser.get_parent_population(self._mirror, generation)
        self._prepared = max(self._prepared, last)
