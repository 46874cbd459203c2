"""The final selection: the best trials by a model of all trials, and not by their own accuracies alone.

The best of many noisy accuracies is mostly a lucky one. The model compares each network with similar ones, and reads an
accuracy with the errors that are known of it: the sampling error of the validation split, and the error of a training
run once networks were re-trained with more seeds. The formulas stand in docs/uncertainty.md.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs
import numpy as np
import optuna
from attrs import frozen
from optuna.trial import FrozenTrial, TrialState

from nas.noise import Correct, Errors, ValidationSplit, find_errors, quantile, unpack
from nas.objective import PARETO
from nas.samplers.encoding import Floats
from nas.samplers.history import TrialHistory, has_choices
from nas.samplers.ranking import CandidateRanker
from nas.samplers.surrogate import level_slope, to_accuracy, to_level
from nas.samplers.trial_arrays import FIRST, History
from nas.search.plan import Plan
from nas.search.retraining import Retrained, read_retrained
from nas.search.sampler_factory import make_ranker
from nas.search.screening import Screened
from nas.studies.records import COUNTED_STATES, EXPECTED, Expected, Record, to_stored
from nas.studies.study import read_baseline, read_split
from nas.studies.trial_records import read_trial

MOST_EXPECTED = 50
NONE: Mapping[int, Retrained] = MappingProxyType({})


@frozen
class Runs:
    """Hold the training runs of one network: accuracies, and which images are correct, which may be known of fewer."""

    accuracies: Sequence[float]
    correct: Sequence[Correct]


def select_final(study: optuna.Study, planned: Plan, screened: Screened | None = None) -> None:
    """Store what is expected of the best trials, and of the baseline, in the study."""
    trials = study.get_trials(deepcopy=False)
    counted = [trial for trial in trials if read_trial(trial).state in COUNTED_STATES]
    retrained = read_retrained(study)
    rows = expect(counted, planned, screened, read_split(study), retrained, read_baseline(study))
    stored = {number: to_stored(row) for number, row in rows.items()}
    further = {number: list(runs.accuracies) for number, runs in retrained.items()}
    study.set_user_attr(EXPECTED, {"trials": len(counted), "rows": stored, "confirmed": further})


def expect(
    trials: Sequence[FrozenTrial],
    planned: Plan,
    screened: Screened | None = None,
    split: ValidationSplit | None = None,
    retrained: Mapping[int, Retrained] = NONE,
    baseline: Record | None = None,
) -> Mapping[int, Expected]:
    """Return what is expected of the most promising complete trials and of the baseline, by number.

    Nothing is expected in a Pareto search, nor where no error is known and there are too few trials for a model.
    """
    if planned.settings.objective == PARETO:
        return {}
    ranker = make_ranker(planned.cost_range, planned.settings, planned.costs, screened=screened)
    trial_history = TrialHistory(planned.space)
    trials = [trial for trial in trials if has_choices(planned.space, trial)]
    for trial in trials:
        trial_history.add(trial)
    history = trial_history.history()
    runs = _complete_runs(trials, history, retrained)
    known: dict[int, Runs] = {}
    # A baseline that another version stored may lack the cost of a target, and then has no score.
    is_scored = baseline is not None and all(t.kept_as in baseline.costs for t in planned.settings.targets)
    if is_scored and baseline is not None and baseline.accuracy is not None:
        known[baseline.number] = _runs(baseline.number, baseline.accuracy, baseline.correct, retrained)
    errors = find_errors(split, [(each.accuracies, each.correct) for each in (*runs.values(), *known.values())])
    if len(runs) >= FIRST:
        rows, mean, spread = _model_levels(ranker, history, runs, errors)
    elif runs and (errors.split is not None or errors.is_complete):
        rows, mean, spread = _measured_levels(runs, errors)
    else:
        return {}
    costs = np.array([_costs(trials[row], planned) for row in rows])
    scores = ranker.acquisition.score(_accuracies(mean), costs)
    # Pruned trials inform the model and are not selected. A stable sort gives every process the same order.
    best = [int(i) for i in np.argsort(-scores, kind="stable") if rows[i] in runs][:MOST_EXPECTED]
    found = {
        trials[rows[i]].number: _expected(mean[i], spread[i], scores[i], errors, len(runs[rows[i]].accuracies))
        for i in best
    }
    if baseline is None or not known or errors.split is None:
        return found
    return found | {baseline.number: _of_baseline(baseline, known[baseline.number], errors, planned, ranker)}


def _complete_runs(
    trials: Sequence[FrozenTrial], history: History, retrained: Mapping[int, Retrained]
) -> dict[int, Runs]:
    """Return the training runs of the complete trials by the row of the history."""
    return {
        row: _runs(trial.number, float(history.accuracies[row]), read_trial(trial).correct, retrained)
        for row, trial in enumerate(trials)
        if trial.state == TrialState.COMPLETE and history.measured[row]
    }


def _runs(number: int, accuracy: float, correct: str, retrained: Mapping[int, Retrained]) -> Runs:
    further = retrained.get(number, Retrained((), ()))
    return Runs((accuracy, *further.accuracies), [unpack(text) for text in (correct, *further.correct) if text])


def _costs(trial: FrozenTrial, planned: Plan) -> list[float]:
    """Return the costs that the targets limit, as the trial stores them: measured ones where costs are measured."""
    kept = trial.user_attrs.get("costs", {})
    targets = planned.settings.targets
    if all(target.kept_as in kept for target in targets):
        return [kept[target.kept_as] for target in targets]
    arch = planned.space.architecture(trial.params)
    return [target.cost.estimate(arch).value for target in targets]


def _model_levels(
    ranker: CandidateRanker, history: History, runs: Mapping[int, Runs], errors: Errors
) -> tuple[Sequence[int], Floats, Floats]:
    """Return rows, and the mean and standard deviation of their levels by the model of all trials."""
    counts = np.ones(len(history.accuracies))
    accuracies = history.accuracies.copy()
    for row, each in runs.items():
        counts[row], accuracies[row] = len(each.accuracies), np.mean(each.accuracies)
    accuracies = _bounded(accuracies, errors)
    history = attrs.evolve(history, accuracies=accuracies)
    guess = accuracies.copy()
    # An accuracy that is high by chance would have a small error of its own, so the error is that of the expected one.
    for _ in range(2):
        own = np.array([_variance(p, int(k), errors) for p, k in zip(guess, counts, strict=True)])
        # The history knows how far off extrapolations are.
        known = own + np.nan_to_num(history.noise * level_slope(guess) ** 2)
        rows, mean, spread = ranker.expect(history, known, counts)
        guess[rows] = _accuracies(mean)
    return rows.tolist(), mean, spread


def _measured_levels(runs: Mapping[int, Runs], errors: Errors) -> tuple[Sequence[int], Floats, Floats]:
    """Return rows, and the mean and standard deviation of their levels by their own accuracies."""
    means = _bounded(np.array([np.mean(each.accuracies) for each in runs.values()]), errors)
    counts = [len(each.accuracies) for each in runs.values()]
    variances = [_variance(accuracy, count, errors) for accuracy, count in zip(means, counts, strict=True)]
    return list(runs), to_level(means), np.sqrt(variances)


def _of_baseline(baseline: Record, runs: Runs, errors: Errors, planned: Plan, ranker: CandidateRanker) -> Expected:
    """Return the expectation of the baseline, which was not chosen by its accuracy and so needs no model."""
    _, (mean,), (spread,) = _measured_levels({baseline.number: runs}, errors)
    costs = np.array([[baseline.costs[target.kept_as] for target in planned.settings.targets]])
    (score,) = ranker.acquisition.score(_accuracies(np.array([mean])), costs)
    return _expected(mean, spread, score, errors, len(runs.accuracies))


def _bounded(accuracies: Floats, errors: Errors) -> Floats:
    """Return accuracies of at most half an image less than all: the level of 1 says more than a few images can."""
    return accuracies if errors.split is None else np.minimum(accuracies, 1 - 0.5 / errors.split.effective)


def _variance(accuracy: float, runs: int, errors: Errors) -> float:
    """Return the variance of a level that other networks do not share; 0 where there is no accuracy."""
    if np.isnan(accuracy):
        return 0.0
    return errors.own(float(accuracy), runs) * float(level_slope(np.array(accuracy))) ** 2


def _accuracies(levels: Floats) -> Floats:
    return np.clip(to_accuracy(levels), 0, 1)


def _expected(mean: float, spread: float, score: float, errors: Errors, runs: int) -> Expected:
    """Return the expectation of a level with the error that all networks share; its interval is that of the level."""
    accuracy = float(_accuracies(np.array(mean)))
    slope = float(level_slope(np.array(accuracy)))
    error = float(np.hypot(spread, slope * errors.shared(accuracy) ** 0.5))
    half = quantile(errors.effective_degrees(error / slope, runs)) * error
    low, high = (float(_accuracies(np.array(mean + side))) for side in (-half, half))
    return Expected(accuracy, error / slope, float(score), low, high)
