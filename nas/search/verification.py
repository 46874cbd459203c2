"""Closing the loop: the best architectures are measured once more, in turn, and what misses a target is passed over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import optuna

from nas.arch.spec import Architecture
from nas.cost.base import Target
from nas.studies.records import MEASUREMENTS, DeviceMeasurement, Record, StudyView, to_stored

WANTED = 5
MOST = 25


def verify(
    study: optuna.Study,
    view: StudyView,
    targets: Sequence[Target],
    tell: Callable[[str], None] = lambda _message: None,
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Measure by rank until enough meet every target that is measured in the end; verdicts are kept in the study.

    What was judged before, in an earlier run of the same search, stays judged; what has come before it since is judged
    now.

    Args:
        study: that keeps the verdicts.
        view: of it.
        targets: of the search.
        tell: is told before each measurement.
        interruptible: inside it the user may interrupt.

    Raises:
        NasError: a device fails.
    """
    judged = [target for target in targets if target.judge is not None]
    if not judged or not view.complete:
        return
    verdicts = dict(view.measurements)
    while batch := list(_waiting(view, verdicts)):
        tell(f"measuring {len(batch)} of the best once more")
        with interruptible():
            verdicts |= _judge(batch, judged)
        _keep(study, verdicts)


def _waiting(view: StudyView, verdicts: Mapping[int, DeviceMeasurement]) -> Iterator[Record]:
    """What was not judged of the baseline and, by rank, of as many as are enough if all of them meet."""
    if view.baseline is not None and view.baseline.number not in verdicts:
        yield view.baseline
    ranked = view.front[::-1] if view.settings["objective"] == "pareto" else view.ranked
    hoped = 0
    for record in ranked[:MOST]:
        if hoped == WANTED:
            return
        verdict = verdicts.get(record.number)
        hoped += verdict is None or verdict.meets
        if verdict is None:
            yield record


def _judge(records: Sequence[Record], targets: Sequence[Target]) -> dict[int, DeviceMeasurement]:
    archs = [record.architecture for record in records]
    rows = [_by_target(records, archs, target) for target in targets]
    return {
        record.number: max(verdicts, key=lambda verdict: verdict.measured / verdict.target)
        for record, *verdicts in zip(records, *rows, strict=True)
    }


def _by_target(records: Sequence[Record], archs: Sequence[Architecture], target: Target) -> list[DeviceMeasurement]:
    """Each one's verdict on one target."""
    assert target.judge is not None  # noqa: S101 -- the caller chose those that have one
    costs = target.judge.together(archs)
    return [
        DeviceMeasurement(
            target.kept_as, target.limit, record.costs.get(target.kept_as), cost.value, cost.spread, cost.noisy
        )
        for record, cost in zip(records, costs, strict=True)
    ]


def _keep(study: optuna.Study, verdicts: dict[int, DeviceMeasurement]) -> None:
    study.set_user_attr(MEASUREMENTS, {str(number): to_stored(verdict) for number, verdict in verdicts.items()})
