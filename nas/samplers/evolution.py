"""Regularized evolution (Real et al. 2019, arXiv 1802.01548), a sampler for any Optuna study of categorical choices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

# Of the paper 100 and 25, for searches of tens of thousands of trials.
POPULATION = 20
CONTEST = 5


class RegularizedEvolutionSampler(BaseSampler):
    """The best of a few of the youngest trials, with one choice changed; the oldest leave, however good they are.

    With several objectives one of the contest's trials that no other one there beats is taken.

    Attributes:
        population: how many of the youngest complete trials can be parents.
        contest: how many of them are drawn to contest.
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
        """See `optuna.samplers.BaseSampler`; random ones until there is a population."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not search_space or len(complete) < self.population:
            return {}
        drawn = self._rng.choice(len(complete[-self.population :]), self.contest, replace=False)
        parent = self._winner([complete[-self.population :][i] for i in drawn], study.directions)
        return self._mutated({name: parent.params[name] for name in search_space}, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, kind: BaseDistribution) -> Any:
        """See `optuna.samplers.BaseSampler`."""
        return self._random.sample_independent(study, trial, name, kind)

    def _winner(self, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> FrozenTrial:
        signs = np.array([1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions])
        worths = np.array([trial.values for trial in trials]) * signs
        beaten = ((worths >= worths[:, None]).all(axis=2) & (worths > worths[:, None]).any(axis=2)).any(axis=1)
        unbeaten = np.flatnonzero(~beaten).tolist()
        return trials[unbeaten[int(self._rng.integers(len(unbeaten)))]]

    def _mutated(self, params: dict[str, Any], search_space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """One choice is changed, to another option; every choice is as likely."""
        open_names = [name for name, kind in search_space.items() if not kind.single()]
        if not open_names:
            return params
        name = open_names[self._rng.integers(len(open_names))]
        kind = search_space[name]
        assert isinstance(kind, CategoricalDistribution)  # noqa: S101 -- no others are inferred
        others = [option for option in kind.choices if option != params[name]]
        return params | {name: others[self._rng.integers(len(others))]}
