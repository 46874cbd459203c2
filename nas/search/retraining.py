"""Re-training of the best with more seeds: they often differ by less than the noise of a single training run."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import optuna

from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator, Reseedable
from nas.noise import pooled
from nas.studies.records import CONFIRMED, Expected, Record, StudyView

SEEDS = 2  # further seeds for each trial
LEAST_SPREAD = 1e-6  # avoids a division by zero where all seeds agree
SHARE = 4  # one trial in so many is re-trained, so that the search itself remains the larger part
Accuracies = Mapping[int, Sequence[float]]


def read_retrained(study: optuna.Study) -> Accuracies:
    """Return accuracies with further seeds, by trial number."""
    return {int(number): list(by_seed.values()) for number, by_seed in study.user_attrs.get(CONFIRMED, {}).items()}


def retrain(
    study: optuna.Study,
    best: Sequence[Record],
    evaluator: Evaluator,
    seed: int,
    accuracy: Callable[[Architecture, Evaluator], float],
    report: Callable[[str], None],
) -> bool:
    """Evaluate the best networks with further seeds, except those that the study holds already.

    Args:
        study: Study that stores the accuracies.
        best: Trials to re-train.
        evaluator: Evaluator of the search; one without a seed re-trains nothing.
        seed: Seed of the search.
        accuracy: Returns the last accuracy of an evaluation.
        report: Called with a message before each evaluation and after each failure; the next run repeats failed ones.

    Returns:
        Whether there are new accuracies.
    """
    if not isinstance(evaluator, Reseedable):
        return False
    known = {number: dict(by_seed) for number, by_seed in study.user_attrs.get(CONFIRMED, {}).items()}
    before = sum(map(len, known.values()))
    # Seeds in the outer loop: an interrupt leaves the networks with nearly equal numbers of accuracies.
    for further, record in product(range(seed + 1, seed + 1 + SEEDS), best):
        by_seed = known.get(str(record.number), {})
        if str(further) in by_seed:
            continue
        report(f"trial {record.number} with seed {further}")
        try:
            further_accuracy = accuracy(record.architecture, evaluator.with_seed(further))
        except EvaluationError as error:
            report(f"trial {record.number} with seed {further} failed: {error.problem}")
            continue
        # Stored after each training run, so that an interrupt loses at most one.
        known[str(record.number)] = by_seed | {str(further): further_accuracy}
        study.set_user_attr(CONFIRMED, known)
    return sum(map(len, known.values())) > before


def combine(view: StudyView, accuracies: Accuracies, score: Callable[[Record, float], float]) -> Mapping[int, Expected]:
    """Return what is expected of the best after re-training: means weighted by their precision.

    Args:
        view: Study with the predictions of the model.
        accuracies: Accuracies with further seeds, by trial number.
        score: Returns the score of a trial's network at an accuracy.
    """
    records = {record.number: record for record in view.complete if record.number in accuracies}
    noise = pooled([[record.accuracy or 0.0, *accuracies[number]] for number, record in records.items()])
    return {n: _combined(record, view.expected.get(n), accuracies[n], noise, score) for n, record in records.items()}


def _combined(
    record: Record,
    expected: Expected | None,
    further: Sequence[float],
    noise: float,
    score: Callable[[Record, float], float],
) -> Expected:
    """Combine the prediction, or without a model the trial's own accuracy, with those of further seeds."""
    assert record.accuracy is not None  # noqa: S101 -- of a complete trial
    before = expected or Expected(record.accuracy, noise, 0.0)
    # The model was fitted to the same selected accuracy, so its prediction weighs no more than one training run.
    own, each = (max(spread, LEAST_SPREAD) ** -2 for spread in (max(before.spread, noise), noise))
    precision = own + len(further) * each
    accuracy = (own * before.accuracy + each * sum(further)) / precision
    return Expected(accuracy, precision**-0.5, score(record, accuracy))
