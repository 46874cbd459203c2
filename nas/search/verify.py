"""Closing the loop: the best architectures are measured once more, in turn, and what misses a target is passed over."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import optuna
from attrs import asdict

from nas.arch.spec import Architecture
from nas.cost.base import Target
from nas.search.storage import VERDICTS, Record, StudyView, Verdict

WANTED = 5
MOST = 25
AT_ONCE = 5


def verify(
    study: optuna.Study,
    view: StudyView,
    targets: Sequence[Target],
    tell: Callable[[str], None] = lambda _message: None,
) -> None:
    """Measure by rank until enough meet every target that is measured in the end; verdicts are kept in the study.

    What was judged before, in an earlier run of the same search, stays judged.

    Raises:
        NasError: a device fails.
    """
    judged = [target for target in targets if target.judge is not None]
    if not judged or not view.complete:
        return
    verdicts = dict(view.verdicts)
    waiting = _waiting(view)
    while sum(verdict.meets for verdict in verdicts.values()) < min(WANTED, len(view.complete)):
        batch = list(islice(waiting, AT_ONCE))
        if not batch or len(verdicts) >= MOST:
            break
        tell(f"measuring {len(batch)} of the best once more")
        verdicts |= _judge(batch, judged)
        _keep(study, verdicts)


def _waiting(view: StudyView) -> Iterator[Record]:
    """By rank, what was not judged; the baseline goes with the first."""
    ranked = view.front[::-1] if view.settings["objective"] == "pareto" else view.ranked
    baseline = [view.baseline] if view.baseline is not None else []
    return (record for record in (*baseline, *ranked) if record.number not in view.verdicts)


def _judge(records: Sequence[Record], targets: Sequence[Target]) -> dict[int, Verdict]:
    archs = [record.architecture for record in records]
    rows = [_by_target(records, archs, target) for target in targets]
    return {
        record.number: max(verdicts, key=lambda verdict: verdict.measured / verdict.target)
        for record, *verdicts in zip(records, *rows, strict=True)
    }


def _by_target(records: Sequence[Record], archs: Sequence[Architecture], target: Target) -> list[Verdict]:
    """Each one's verdict on one target."""
    assert target.judge is not None  # noqa: S101 -- the caller chose those that have one
    costs = target.judge.together(archs)
    return [
        Verdict(target.kept_as, target.limit, record.costs.get(target.kept_as), cost.value, cost.spread)
        for record, cost in zip(records, costs, strict=True)
    ]


def _keep(study: optuna.Study, verdicts: dict[int, Verdict]) -> None:
    study.set_user_attr(VERDICTS, {str(number): asdict(verdict) for number, verdict in verdicts.items()})
