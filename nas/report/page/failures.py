"""The section of trials without a result: why they failed, were interrupted or are still running."""

from collections import defaultdict

from nas.report.page.words import plural
from nas.report.section import Section, Table
from nas.studies.records import StudyView

TITLE = "Failures"
REASONS = 20  # rows of the table
NUMBERS = 10  # trials that are named in a row
LONGEST = 400  # characters of a reason
# What happened to one trial, and to several.
_WORDS = {
    "failed": ("failed", "failed"),
    "killed": ("was interrupted", "were interrupted"),
    "running": ("has no result yet", "have no result yet"),
}


def failures_section(view: StudyView) -> Section:
    """Return the section of the trials without a result."""
    counts = {state: sum(record.state == state for record in view.records) for state in _WORDS}
    if not any(counts.values()):
        return Section(TITLE, "No trial failed and none was interrupted." if view.records else "No trial has begun.")
    by_reason: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in view.records:
        if record.state in ("failed", "killed"):
            by_reason[record.state, record.reason or "unknown"].append(record.number)
    found = sorted(by_reason.items(), key=lambda row: -len(row[1]))
    rows = [
        (str(len(numbers)), state, _short(reason), _numbers(numbers)) for (state, reason), numbers in found[:REASONS]
    ]
    hidden = len(found) - len(rows)
    note = f" ({plural(hidden, 'further reason')} not shown)" if hidden else ""
    states = "; ".join(
        f"{plural(count, 'trial')} {_WORDS[state][count > 1]}" for state, count in counts.items() if count
    )
    everything = " Every trial that ended has failed, so that the cause is most likely outside the networks." * (
        counts["failed"] > 0 and not any(record.state in ("complete", "pruned") for record in view.records)
    )
    tables = [Table(f"Reasons{note}", ("Trials", "State", "Reason", "Numbers"), rows, {0})] if rows else []
    return Section(TITLE, f"{states}.{everything}", (), tables)


def _short(reason: str) -> str:
    return reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}…"


def _numbers(numbers: list[int]) -> str:
    more = f" and {len(numbers) - NUMBERS} more" if len(numbers) > NUMBERS else ""
    return ", ".join(map(str, numbers[:NUMBERS])) + more
