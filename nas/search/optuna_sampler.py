"""The sampler of `nas search` as a sampler of Optuna, for studies that the user runs with Optuna itself."""

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
from nas.samplers.history import has_choices
from nas.search.plan import check
from nas.search.sampler_factory import NO_COSTS, make_sampler
from nas.search.settings import Settings
from nas.space.decode import SearchSpace

SUGGESTED = "nas:proposed"


class SurrogateSampler(BaseSampler):
    """Suggest architectures of a space inside a cost range; the objective function must suggest every choice.

    The first value of the study is the accuracy, 0 to 1; the settings define how costs enter the score. No architecture
    is suggested twice, and running trials are taken into account.

    Args:
        space: Search space.
        settings: Settings of which targets, band, objective and seed are used.
        costs: Cost models that the model of accuracy reads, beside those of the targets.

    Raises:
        NasError: No architecture can meet a target.
    """

    def __init__(self, space: SearchSpace, settings: Settings, costs: CostModels = NO_COSTS) -> None:
        self.space = space
        own = evolve(settings, sampler=SURROGATE)
        self._sampler = make_sampler(check(space, own), own, costs)
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
            StudyError: No new architecture is left inside the cost range.
        """
        if study.directions[0] != StudyDirection.MAXIMIZE:
            raise StudyError(
                "the study minimizes its first value, which is the accuracy", "create it with direction maximize"
            )
        # Optuna may run trials in several threads, and two of them must not get the same suggestion.
        with self._lock:
            others = [self._completed(each) for each in study.get_trials(deepcopy=False) if each.number != trial.number]
            whole = [each for each in others if self._is_new(each)]
            self._sampler.learn(whole, [self.space.architecture(self._own(each)) for each in whole])
            proposal = self._sampler.suggest(trial.number)
            if proposal is None:
                raise StudyError(
                    "no new architecture was found in the cost range", "end the study, or give a smaller band"
                )
            # Optuna stores parameters one after another; other workers must know the whole architecture at once.
            storage_of(study).set_trial_system_attr(trial_id(trial), SUGGESTED, dict(proposal.params))
        return dict(proposal.params)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, kind: BaseDistribution) -> Any:
        """See `optuna.samplers.BaseSampler`; parameters that are no choice of the space are random."""
        return self._random.sample_independent(study, trial, name, kind)

    def _completed(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial with all parameters that were suggested for it, even if it does not hold all of them yet.

        Raises:
            StudyError: Its first value is not an accuracy.
        """
        if trial.values and not 0 <= trial.values[0] <= 1:
            raise StudyError(
                f"trial {trial.number} has the accuracy {trial.values[0]:g}", "give accuracies as shares from 0 to 1"
            )
        proposed = trial.system_attrs.get(SUGGESTED, {})
        if trial.state.is_finished() or len(self._own(trial)) == len(self.space.choices):
            return trial
        kinds = {name: kind for name, kind in distributions(self.space).items() if name in proposed}
        completed = create_trial(state=trial.state, params=proposed, distributions=kinds)
        completed.number = trial.number
        return completed

    def _is_new(self, trial: FrozenTrial) -> bool:
        return not self._sampler.knows(trial) and has_choices(self.space, trial)

    def _own(self, trial: FrozenTrial) -> dict[str, Any]:
        names = {choice.name for choice in self.space.choices}
        return {name: value for name, value in trial.params.items() if name in names}
