"""Re-training of the best with more seeds: they often differ by less than the noise of a single training run."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import optuna
from attrs import frozen

from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator, Reseedable
from nas.studies.records import CONFIRMED, CONFIRMED_CORRECT, Record
from nas.workers.base import Outcome

SEEDS = 2  # further seeds for each trial
SHARE = 4  # one trial in so many is re-trained, so that the search itself remains the larger part


@frozen
class Retrained:
    """Hold the training runs of one network with further seeds.

    Attributes:
        accuracies: Accuracies after the last epoch.
        correct: Which validation images were classified correctly, as `nas.noise.pack` writes it; fewer where it is not
            known.
    """

    accuracies: Sequence[float]
    correct: Sequence[str]


def read_retrained(study: optuna.Study) -> Mapping[int, Retrained]:
    """Return the training runs with further seeds, by trial number."""
    correct = _by_trial(study, CONFIRMED_CORRECT)
    return {
        int(number): Retrained(tuple(by_seed.values()), tuple(correct.get(number, {}).values()))
        for number, by_seed in _by_trial(study, CONFIRMED).items()
    }


def _by_trial(study: optuna.Study, attribute: str) -> dict[str, dict[str, Any]]:
    return {number: dict(by_seed) for number, by_seed in study.user_attrs.get(attribute, {}).items()}


def count_retrained(study: optuna.Study, *, baseline: bool) -> int:
    """Return the number of training runs with further seeds that the study holds, with those of the baseline or not."""
    return sum(len(each.accuracies) for number, each in read_retrained(study).items() if baseline or number >= 0)


def retrain(
    study: optuna.Study,
    best: Sequence[Record],
    evaluator: Evaluator,
    seed: int,
    evaluate: Callable[[Architecture, Evaluator], Outcome],
    report: Callable[[str], None],
    count: Callable[[], None],
) -> bool:
    """Evaluate the best networks with further seeds, except those that the study holds already.

    Args:
        study: Study that stores the accuracies.
        best: Trials to re-train; the baseline may be one of them.
        evaluator: Evaluator of the search; one without a seed re-trains nothing.
        seed: Seed of the search.
        evaluate: Returns the result of an evaluation.
        report: Called with a message before each evaluation and after each failure; the next run repeats failed ones.
        count: Called once after each evaluation, whether it failed or not.

    Returns:
        Whether there are new accuracies.
    """
    if not isinstance(evaluator, Reseedable):
        return False
    known, correct = _by_trial(study, CONFIRMED), _by_trial(study, CONFIRMED_CORRECT)
    before = sum(map(len, known.values()))
    # Seeds in the outer loop: an interrupt leaves the networks with nearly equal numbers of accuracies.
    for further, record in product(range(seed + 1, seed + 1 + SEEDS), best):
        number, name = str(record.number), f"baseline {record.label}" if record.label else f"trial {record.number}"
        if str(further) in known.get(number, {}):
            continue
        report(f"{name} with seed {further}")
        try:
            outcome = evaluate(record.architecture, evaluator.with_seed(further))
        except EvaluationError as error:
            count()
            report(f"{name} with seed {further} failed: {error.problem}")
            continue
        # Stored after each training run, so that an interrupt loses at most one. The accuracy comes last: it says that
        # the training run is done.
        if outcome.correct:
            correct.setdefault(number, {})[str(further)] = outcome.correct
            study.set_user_attr(CONFIRMED_CORRECT, correct)
        known.setdefault(number, {})[str(further)] = outcome.accuracies[-1]
        study.set_user_attr(CONFIRMED, known)
        count()
    return sum(map(len, known.values())) > before
