"""The best once more under other seeds: they differ by less than the noise of a single training."""

from collections.abc import Callable, Mapping, Sequence

import optuna

from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.evaluate.base import Evaluator, Reseedable
from nas.noise import pooled
from nas.search.storage import CONFIRMED, Expected, Record, StudyView

SEEDS = 2  # further ones
LEAST = 1e-6  # of a spread, so that nothing is divided by none
SHARE = 4  # of so many complete trials one is confirmed: the search itself stays the larger part
Readings = Mapping[int, Sequence[float]]


def confirm(
    study: optuna.Study,
    view: StudyView,
    evaluator: Evaluator,
    networks: int,
    seed: int,
    accuracy: Callable[[Architecture, Evaluator], float],
    tell: Callable[[str], None],
) -> Readings:
    """Evaluate the best with further seeds; what the study has of these is not evaluated again.

    Args:
        study: that keeps the accuracies.
        view: of it.
        evaluator: of the search; one that knows no seeds confirms nothing.
        networks: how many of the best, at most a quarter of all.
        seed: of the search.
        accuracy: the last accuracy of an evaluation.
        tell: is told before each.

    Returns:
        The new accuracies by trial's number, of those that could be evaluated.
    """
    if not isinstance(evaluator, Reseedable):
        return {}
    best = view.ranked[: min(networks, len(view.complete) // SHARE)]
    known = {int(number): dict(by_seed) for number, by_seed in study.user_attrs.get(CONFIRMED, {}).items()}
    for further in range(seed + 1, seed + 1 + SEEDS):
        for record in best:
            by_seed = known.setdefault(record.number, {})
            if str(further) in by_seed:
                continue
            tell(f"trial {record.number} with seed {further}")
            by_seed[str(further)] = _accuracy_or_none(record, evaluator.with_seed(further), accuracy)
            study.set_user_attr(CONFIRMED, {str(number): readings for number, readings in known.items()})
    return {record.number: _readings(known[record.number]) for record in best if _readings(known[record.number])}


def _accuracy_or_none(
    record: Record, evaluator: Evaluator, accuracy: Callable[[Architecture, Evaluator], float]
) -> float | None:
    try:
        return accuracy(record.architecture, evaluator)
    except EvaluationError:
        return None


def _readings(by_seed: Mapping[str, float | None]) -> list[float]:
    return [value for value in by_seed.values() if value is not None]


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
    own, each = (max(spread, LEAST) ** -2 for spread in (before.spread, noise))
    sure = own + len(further) * each
    accuracy = (own * before.accuracy + each * sum(further)) / sure
    return Expected(accuracy, sure**-0.5, score(record, accuracy))
