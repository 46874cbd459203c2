"""The final selection: the best trials by a model of all trials, and not by their own accuracies alone.

The best of many noisy accuracies is mostly a lucky one. The model estimates the noise, and compares each network with
similar ones.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.objective import PARETO
from nas.samplers.history import TrialHistory, has_choices
from nas.samplers.ranking import FIRST
from nas.search.plan import Plan
from nas.search.sampler_factory import make_ranker
from nas.search.screening import Screened
from nas.studies.records import COUNTED_STATES, EXPECTED, Expected, to_stored
from nas.studies.trial_records import read_trial

MOST_EXPECTED = 50


def select_final(study: optuna.Study, planned: Plan, screened: Screened | None = None) -> None:
    """Store what the model expects of the best trials; nothing where there are too few trials for a model."""
    trials = study.get_trials(deepcopy=False)
    counted = [trial for trial in trials if read_trial(trial).state in COUNTED_STATES]
    store_expected(study, len(counted), expect(counted, planned, screened))


def store_expected(
    study: optuna.Study,
    trials: int,
    rows: Mapping[int, Expected],
    confirmed: Mapping[int, Sequence[float]] = MappingProxyType({}),
) -> None:
    """Store the expectations after so many trials, and the accuracies with further seeds, in the study."""
    stored = {number: to_stored(row) for number, row in rows.items()}
    further = {number: list(accuracies) for number, accuracies in confirmed.items()}
    study.set_user_attr(EXPECTED, {"trials": trials, "rows": stored, "confirmed": further})


def _costs(trial: FrozenTrial, planned: Plan) -> list[float]:
    """Return the costs that the targets limit, as the trial stores them: measured ones where costs are measured."""
    kept = trial.user_attrs.get("costs", {})
    targets = planned.settings.targets
    if all(target.kept_as in kept for target in targets):
        return [kept[target.kept_as] for target in targets]
    arch = planned.space.architecture(trial.params)
    return [target.cost.estimate(arch).value for target in targets]


def expect(trials: Sequence[FrozenTrial], planned: Plan, screened: Screened | None = None) -> Mapping[int, Expected]:
    """Return what the model expects of the most promising complete trials, by number; nothing for a Pareto search."""
    if planned.settings.objective == PARETO:
        return {}
    trial_history = TrialHistory(planned.space)
    ranker = make_ranker(planned.cost_range, planned.settings, planned.costs, screened=screened)
    trials = [trial for trial in trials if has_choices(planned.space, trial)]
    for trial in trials:
        trial_history.add(trial)
    if sum(trial.state == TrialState.COMPLETE for trial in trials) < FIRST:
        return {}
    rows, mean, spread = ranker.expect(trial_history.history())
    scores = ranker.acquisition.score(mean, np.array([_costs(trials[row], planned) for row in rows]))
    # Pruned trials inform the model and are not selected. A stable sort gives every process the same order.
    complete = [i for i in np.argsort(-scores, kind="stable") if trials[rows[i]].state == TrialState.COMPLETE]
    return {
        trials[rows[i]].number: Expected(float(mean[i]), float(spread[i]), float(scores[i]))
        for i in complete[:MOST_EXPECTED]
    }
