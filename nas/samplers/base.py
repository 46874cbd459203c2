"""The interface of samplers, the project's own sampler, and a bridge to the samplers of Optuna."""

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
from nas.outlook import Outlook
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.history import TrialHistory
from nas.samplers.ranking import CandidateRanker
from nas.space.decode import SearchSpace


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the open choices of a space as Optuna's distributions."""
    return {choice.name: CategoricalDistribution(choice.values) for choice in space.choices}


@frozen(eq=False)
class Suggestion:
    """Hold a suggested architecture as choice indices, and system attributes that the sampler stores in the trial."""

    indices: ChoiceIndices
    sampler_attrs: Mapping[str, Any] = MappingProxyType({})


class Sampler(Protocol):
    """Suggests architectures; the same history and random state give the same suggestions.

    A sampler need not respect the cost range: `nas.samplers.filtered` drops suggestions outside it.
    """

    def learn(self, trial: FrozenTrial) -> None:
        """Add a trial to the history: once while it runs, and once more when it has ended."""
        ...

    def forget(self, number: int) -> None:
        """Remove a running trial that was interrupted; its architecture is evaluated again under another number."""
        ...

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """Yield suggestions without end, the most promising first."""
        ...

    def outlook(self) -> Outlook | None:
        """Return what is still to be expected of a search; None if the sampler cannot say it."""
        ...


@frozen(eq=False)
class ModelSampler:
    """The project's own sampler, which ranks candidates by a model of accuracy; see `CandidateRanker`."""

    ranker: CandidateRanker
    trial_history: TrialHistory

    def learn(self, trial: FrozenTrial) -> None:
        """See `Sampler`."""
        self.trial_history.add(trial)

    def forget(self, number: int) -> None:
        """See `Sampler`."""
        self.trial_history.forget(number)

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """See `Sampler`; random suggestions follow the ranked candidates."""
        yield from map(Suggestion, self.ranker.rank(self.trial_history.history(), rng))
        while True:
            yield Suggestion(self.ranker.cost_range.space.sample(rng, 1)[0])

    def outlook(self) -> Outlook | None:
        """See `Sampler`; the same history gives the same outlook."""
        return self.ranker.outlook(self.trial_history.history(), np.random.default_rng(0))


@define(eq=False)
class OptunaSampler:
    """Suggests with a sampler of Optuna on a copy of the study in memory, so that no suggestion leaves a trial behind.

    Attributes:
        space: Space of the architectures.
        directions: Directions of the study's values.
        make: Returns the sampler for a seed.
    """

    space: SearchSpace
    directions: Sequence[Direction]
    make: Callable[[int], BaseSampler]
    _copy: optuna.Study = field(init=False)
    _generation_sizes: Counter[int] = field(factory=Counter, init=False)
    _prepared: int = field(default=0, init=False)
    _running: dict[int, FrozenTrial] = field(factory=dict, init=False)

    @_copy.default
    def _empty_copy(self) -> optuna.Study:
        return optuna.create_study(directions=list(self.directions), sampler=self.make(0))

    def learn(self, trial: FrozenTrial) -> None:
        """See `Sampler`."""
        if not trial.state.is_finished():
            self._running[trial.number] = trial
            return
        self._running.pop(trial.number, None)
        self._copy.add_trial(trial)
        sampler = type(self._copy.sampler)
        if trial.state == TrialState.COMPLETE and issubclass(sampler, BaseGASampler):
            self._generation_sizes[trial.system_attrs.get(generation_key(sampler), -1)] += 1

    def forget(self, number: int) -> None:
        """See `Sampler`."""
        self._running.pop(number, None)

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """See `Sampler`."""
        # A new sampler for each proposal: one that kept its random state would continue differently in a resumed
        # search.
        self._copy.sampler = self.make(int(rng.integers(2**31)))
        self._prepare_parents()
        with self._with_running():
            yield from self._asked_suggestions()

    def outlook(self) -> Outlook | None:
        """See `Sampler`; samplers of Optuna predict no accuracies."""
        return None

    def _asked_suggestions(self) -> Iterator[Suggestion]:
        while True:
            trial = self._copy.ask(distributions(self.space))
            indices = np.array(self.space.indices(trial.params), dtype=np.intp)
            sampler_attrs = storage_of(self._copy).get_trial_system_attrs(trial_id(trial))
            remove_last_trial(self._copy, trial_id(trial))  # samplers read all trials, failed ones too
            yield Suggestion(indices, dict(sampler_attrs))

    @contextmanager
    def _with_running(self) -> Iterator[None]:
        """Add the running trials to the copy inside the context: some samplers avoid their architectures."""
        storage, copy_id = storage_of(self._copy), study_id(self._copy)
        added = [storage.create_new_trial(copy_id, trial) for trial in self._running.values()]
        try:
            yield
        finally:
            # Only the newest trial can be removed.
            for number in reversed(added):
                remove_last_trial(self._copy, number)

    def _prepare_parents(self) -> None:
        """Choose the parents of every generation once, oldest first.

        A genetic sampler chooses parents when it first needs them. In a resumed search that would be another moment
        with other random numbers, and so another choice.
        """
        sampler = self.make(0)
        if not isinstance(sampler, BaseGASampler) or not self._generation_sizes:
            return
        newest = max(self._generation_sizes)
        last = newest + (self._generation_sizes[newest] >= (sampler.population_size or 0))
        clear_trial_cache(self._copy)  # cached for the suggestion before
        for generation in range(self._prepared + 1, last + 1):
            chooser = self.make(generation)
            assert isinstance(chooser, BaseGASampler)  # noqa: S101 -- as the one before
            chooser.get_parent_population(self._copy, generation)
        self._prepared = max(self._prepared, last)
