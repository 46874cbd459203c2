"""The sampler of `nas search` for studies that are driven by Optuna itself."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from attrs import evolve
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, create_trial

from nas.cost.base import CostModels
from nas.errors import StudyError
from nas.optuna_private.identity import storage_of, trial_id
from nas.samplers.base import distributions
from nas.samplers.defaults import SURROGATE
from nas.search.plan import check
from nas.search.sampler_factory import NO_COSTS, make_sampler
from nas.search.settings import Settings
from nas.space.decode import SearchSpace

PROPOSED = "nas:proposed"


class SurrogateSampler(BaseSampler):
    """Proposes architectures of a space inside a band of costs; every choice of the space has to be suggested.

    A study's first value is the accuracy, 0 to 1; how costs enter is the settings' affair. An architecture is never
    proposed twice, and those of running trials are taken into account.

    Args:
        space: of the architectures.
        settings: targets, band, objective and seed count.
        costs: what the model of accuracy looks at beside the targets' own.

    Raises:
        NasError: no architecture can meet a target.
    """

    def __init__(self, space: SearchSpace, settings: Settings, costs: CostModels = NO_COSTS) -> None:
        self.space = space
        own = evolve(settings, sampler=SURROGATE)
        self._proposer = make_sampler(check(space, own), own, costs)
        self._random = RandomSampler(seed=settings.seed)
        self._lock = Lock()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """See `optuna.samplers.BaseSampler`."""
        return distributions(self.space)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],  # noqa: ARG002 -- the base class's names
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`.

        Raises:
            StudyError: nothing new is left in the band.
        """
        if study.directions[0] != StudyDirection.MAXIMIZE:
            raise StudyError("the study minimizes its first value, and that is the accuracy", "make it maximize")
        with self._lock:
            others = [self._told(each) for each in study.get_trials(deepcopy=False) if each.number != trial.number]
            whole = [each for each in others if self._is_new(each)]
            self._proposer.learn(whole, [self.space.architecture(self._own(each)) for each in whole])
            proposal = self._proposer.suggest(trial.number)
            if proposal is None:
                raise StudyError("no new architecture was found in the band", "end the study, or give a smaller band")
            # A trial gets its parameters one after another; others shall know at once what it will be.
            storage_of(study).set_trial_system_attr(trial_id(trial), PROPOSED, dict(proposal.params))
        return dict(proposal.params)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, kind: BaseDistribution) -> Any:
        """See `optuna.samplers.BaseSampler`; what is no choice of the space is drawn at random."""
        return self._random.sample_independent(study, trial, name, kind)

    def _told(self, trial: FrozenTrial) -> FrozenTrial:
        """A trial with the parameters that were proposed for it, where it does not have all of them yet.

        Raises:
            StudyError: its first value is no accuracy.
        """
        if trial.values and not 0 <= trial.values[0] <= 1:
            raise StudyError(f"trial {trial.number} has the accuracy {trial.values[0]:g}", "give shares, from 0 to 1")
        proposed = trial.system_attrs.get(PROPOSED, {})
        if trial.state.is_finished() or len(self._own(trial)) == len(self.space.choices):
            return trial
        kinds = {name: kind for name, kind in distributions(self.space).items() if name in proposed}
        told = create_trial(state=trial.state, params=proposed, distributions=kinds)
        told.number = trial.number
        return told

    def _is_new(self, trial: FrozenTrial) -> bool:
        return len(self._own(trial)) == len(self.space.choices) and not self._proposer.knows(trial)

    def _own(self, trial: FrozenTrial) -> dict[str, Any]:
        names = {choice.name for choice in self.space.choices}
        return {name: value for name, value in trial.params.items() if name in names}
