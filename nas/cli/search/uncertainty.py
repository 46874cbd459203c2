"""Values of JSON that say what the data of a search support; docs/uncertainty.md explains them."""

from math import isnan
from typing import TYPE_CHECKING, Any

from attrs import asdict

from nas.cli.shared.validation import split_row
from nas.report.uncertainty import shown_accuracy

if TYPE_CHECKING:
    from nas.studies.comparison import Lead
    from nas.studies.records import Record, StudyView


def summary(view: "StudyView") -> dict[str, Any]:
    """Return what the sentences of a result say, as JSON values."""
    from nas.studies.comparison import ahead_of_baseline, not_told_apart

    source = {} if view.best is None else against_row(view, view.best)
    return {
        "split": split_row(view.split, shown_accuracy(view)),
        "learned": view.learned,
        "outlook": None if view.outlook is None else asdict(view.outlook),
        "not_told_apart": [record.number for record in not_told_apart(view)],
        "ahead_of_baseline": _lead(ahead_of_baseline(view)),
        **source,
    }


def against_row(view: "StudyView", record: "Record") -> dict[str, Any]:
    """Return the comparison of a trial with the network whose weights it inherited; {} if there is none."""
    from nas.studies.comparison import against_source

    against = against_source(view, record)
    if against is None:
        return {}
    costs = {"cost": against.cost, "own": against.own, "source": against.other, "change": against.change}
    return {"against_source": {**(_lead(against.lead) or {}), **costs}}


def _lead(lead: "Lead | None") -> dict[str, Any] | None:
    if lead is None:
        return None
    known = not isnan(lead.half)
    return {
        "difference": lead.value,
        "low": lead.low if known else None,
        "high": lead.high if known else None,
        "more_than_noise": lead.is_clear,
    }
