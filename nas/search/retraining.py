"""The best once more under other seeds: they differ by less than the noise of a single training."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import optuna

from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator, Reseedable
from nas.noise import pooled
from nas.studies.records import CONFIRMED, Expected, Record, StudyView

SEEDS = 2  # further ones
LEAST = 1e-6  # of a spread, so that nothing is divided by none
SHARE = 4  # of so many trials one is confirmed: the search itself stays the larger part
Readings = Mapping[int, Sequence[float]]


def read_confirmed(study: optuna.Study) -> Readings:
    """Accuracies with further seeds by trial's number."""
    return {int(number): list(by_seed.values()) for number, by_seed in study.user_attrs.get(CONFIRMED, {}).items()}


def confirm(
    study: optuna.Study,
    best: Sequence[Record],
    evaluator: Evaluator,
    seed: int,
    accuracy: Callable[[Architecture, Evaluator], float],
    tell: Callable[[str], None],
) -> bool:
    """Evaluate some networks with further seeds; what the study has of these is not evaluated again.

    Args:
        study: that keeps the accuracies.
        best: of its trials.
        evaluator: of the search; one that knows no seeds confirms nothing.
        seed: of the search.
        accuracy: the last accuracy of an evaluation.
        tell: is told before each, and what failed; that is tried again in the next run.

    Returns:
        Whether there is anything new.
    """
    if not isinstance(evaluator, Reseedable):
        return False
    known = {number: dict(by_seed) for number, by_seed in study.user_attrs.get(CONFIRMED, {}).items()}
    before = sum(map(len, known.values()))
    for further, record in product(range(seed + 1, seed + 1 + SEEDS), best):
        by_seed = known.get(str(record.number), {})
        if str(further) in by_seed:
            continue
        tell(f"trial {record.number} with seed {further}")
        try:
            reading = accuracy(record.architecture, evaluator.with_seed(further))
        except EvaluationError as error:
            tell(f"trial {record.number} with seed {further} failed: {error.problem}")
            continue
        known[str(record.number)] = by_seed | {str(further): reading}
        study.set_user_attr(CONFIRMED, known)
    return sum(map(len, known.values())) > before


def settle(view: StudyView, readings: Readings, score: Callable[[Record, float], float]) -> Mapping[int, Expected]:
    """What is expected of the best after further readings: means weighed by how sure each is.

    Args:
        view: with what the model expects.
        readings: further ones, by trial's number.
        score: of an accuracy of a trial's network.
    """
    records = {record.number: record for record in view.complete if record.number in readings}
    noise = pooled([[record.accuracy or 0.0, *readings[number]] for number, record in records.items()])
    return {n: _settled(record, view.expected.get(n), readings[n], noise, score) for n, record in records.items()}


def _settled(
    record: Record,
    expected: Expected | None,
    further: Sequence[float],
    noise: float,
    score: Callable[[Record, float], float],
) -> Expected:
    """Without a model a network's own reading is one of several alike."""
    assert record.accuracy is not None  # noqa: S101 -- of a complete trial
    before = expected or Expected(record.accuracy, noise, 0.0)
    # The model has seen the lucky reading too, so it counts as one reading at most.
    own, each = (max(spread, LEAST) ** -2 for spread in (max(before.spread, noise), noise))
    sure = own + len(further) * each
    accuracy = (own * before.accuracy + each * sum(further)) / sure
    return Expected(accuracy, sure**-0.5, score(record, accuracy))
