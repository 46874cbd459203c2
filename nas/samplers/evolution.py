"""Regularized evolution (Real et al. 2019, arXiv 1802.01548), a sampler for any Optuna study of categorical choices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

# The paper uses 100 and 25, for searches of tens of thousands of trials.
POPULATION = 20
CONTEST = 5


class RegularizedEvolutionSampler(BaseSampler):
    """Suggest a copy of a good recent trial with one choice changed; old trials leave the population, good or not.

    With several objectives, the parent is a trial of the tournament that no other one dominates.

    Attributes:
        population: Number of the most recent complete trials that can be parents.
        contest: Number of trials that are drawn for a tournament.
    """

    def __init__(self, seed: int | None = None, population: int = POPULATION, contest: int = CONTEST) -> None:
        self.population, self.contest = population, contest
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)
        self._intersection = IntersectionSearchSpace()

    def reseed_rng(self) -> None:
        """See `optuna.samplers.BaseSampler`."""
        self._rng = np.random.default_rng()
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """See `optuna.samplers.BaseSampler`."""
        space = self._intersection.calculate(study)
        return {name: kind for name, kind in space.items() if isinstance(kind, CategoricalDistribution)}

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002 -- the base class's names
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`; suggestions are random until there is a population."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not search_space or len(complete) < self.population:
            return {}
        drawn = self._rng.choice(len(complete[-self.population :]), self.contest, replace=False)
        # Only the newest trials, whether good or not: a lucky accuracy leaves the population with its age.
        parent = self._winner([complete[-self.population :][i] for i in drawn], study.directions)
        return self._mutated({name: parent.params[name] for name in search_space}, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, kind: BaseDistribution) -> Any:
        """See `optuna.samplers.BaseSampler`."""
        return self._random.sample_independent(study, trial, name, kind)

    def _winner(self, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> FrozenTrial:
        signs = np.array([1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions])
        worths = np.array([trial.values for trial in trials]) * signs
        dominated = ((worths >= worths[:, None]).all(axis=2) & (worths > worths[:, None]).any(axis=2)).any(axis=1)
        best = np.flatnonzero(~dominated).tolist()
        return trials[best[int(self._rng.integers(len(best)))]]

    def _mutated(self, params: dict[str, Any], search_space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """Return parameters with one choice changed to another option; every choice is equally likely."""
        open_names = [name for name, kind in search_space.items() if not kind.single()]
        if not open_names:
            return params
        name = open_names[self._rng.integers(len(open_names))]
        kind = search_space[name]
        assert isinstance(kind, CategoricalDistribution)  # noqa: S101 -- no others are inferred
        others = [option for option in kind.choices if option != params[name]]
        return params | {name: others[self._rng.integers(len(others))]}
