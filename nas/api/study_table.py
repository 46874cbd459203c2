"""The best trials of a study as a table, for terminals and notebooks."""

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from nas.api.trials import Trial
    from nas.studies.records import StudyView

SHOWN = 5
CELL, LINE = 60, 120  # the most characters that are shown
COUNTS = ("macs", "params")
NOTHING_LEARNED = "nothing has been learned: no network is better than the most frequent class by more than noise"


@frozen
class Table:
    """Hold a heading, lines about the study, and a table of its trials, all of them plain text.

    Attributes:
        heading: Name of the study.
        lines: Lines about the study.
        headers: Names of the columns.
        rows: Cells of the trials.
    """

    heading: str
    lines: tuple[str, ...]
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def format_study(view: "StudyView", storage: str) -> str:
    """Return a study as text of at most a dozen lines."""
    table = make_table(view, storage)
    cells = [table.headers, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
    return "\n".join((table.heading, *table.lines, *(lines if table.rows else ())))


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def format_study_html(view: "StudyView", storage: str) -> str:
    """Return a study as HTML; all text is escaped, because names and reasons come from a database."""
    table = make_table(view, storage)
    lines = "<br>".join(map(escape, table.lines))
    head = "".join(f"<th>{escape(header)}</th>" for header in table.headers)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    drawn = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    return f"<div><strong>{escape(table.heading)}</strong><br>{lines}{drawn}</div>"


def make_table(view: "StudyView", storage: str) -> Table:
    """Return the best trials of a study, or its Pareto front, and the baseline.

    Args:
        view: The study.
        storage: Optuna URL of its database; the passwords are left out.
    """
    from nas.api.trials import make_trial
    from nas.cost.base import cost_title
    from nas.studies.urls import mask

    is_front = view.settings["objective"] == "pareto"
    records = list((view.front if is_front else view.ranked)[:SHOWN])
    if view.baseline is not None:
        records.append(view.baseline)
    shown = [make_trial(view, record) for record in records]
    limits = [limit for limit in view.settings["limits"] if limit["cost"] not in COUNTS]
    headers = [("Pareto front" if is_front else "best"), view.accuracy_label, "expected", "MACs", "params"]
    headers += [cost_title(str(limit["cost"])) for limit in limits]
    is_measured = any(trial.meets_target is not None for trial in shown)
    headers += ["measured"] * is_measured
    rows = [
        (
            *_cells(trial, is_best=trial.number is not None and trial.number == view.recommendation.trial),
            *(_cost(trial, limit) for limit in limits),
            *([_measured(view, trial)] * is_measured),
            _number(trial.score),
        )
        for trial in shown
    ]
    return Table(
        f"Study {_plain(view.name)}",
        (
            _plain(f"in {mask(storage)}", LINE),
            _plain(f"{' and '.join(view.settings['targets'])}; {_counts(view)}", LINE),
            *((NOTHING_LEARNED,) if view.learned is False else ()),
        ),
        tuple(map(_plain, (*headers, "score"))),
        tuple(tuple(map(_plain, row)) for row in rows),
    )


def _counts(view: "StudyView") -> str:
    states = Counter(record.state for record in view.records)
    number = sum(states.values())
    by_state = ", ".join(f"{count} {state}" for state, count in states.items())
    foreign = f"; {len(view.foreign)} of another program are left out" if view.foreign else ""
    return f"{number} trial{'' if number == 1 else 's'}{by_state and ': '}{by_state}{foreign}"


def _cells(trial: "Trial", *, is_best: bool) -> tuple[str, ...]:
    name = f"baseline {trial.name}" if trial.number is None else f"trial {trial.number}"
    return (
        name + " (recommended)" * is_best,
        _percent(trial.accuracy),
        _expected(trial),
        *(_cost(trial, {"cost": cost}) for cost in COUNTS),
    )


def _cost(trial: "Trial", limit: dict[str, Any]) -> str:
    from nas.cost.base import format_amount

    value = trial.costs.get(limit["cost"])
    if value is None:
        return "-"
    return f"{value / 1e6:,.2f}M" if limit["cost"] in COUNTS else format_amount(value, limit["unit"])


def _expected(trial: "Trial") -> str:
    if trial.expected_accuracy is None or trial.expected_spread is None:
        return "-"
    if trial.expected_low is None or trial.expected_high is None:
        return f"{100 * trial.expected_accuracy:.1f} ± {100 * trial.expected_spread:.1f}%"
    return f"{100 * trial.expected_accuracy:.1f}% ({100 * trial.expected_low:.1f}-{100 * trial.expected_high:.1f})"


def _measured(view: "StudyView", trial: "Trial") -> str:
    from nas.cost.base import format_amount

    if trial.meets_target is None:
        return "-"
    units = {limit["cost"]: limit.get("unit", "") for limit in view.settings["limits"]}
    amounts = (format_amount(value, units.get(cost, "")) for cost, value in trial.measured_costs.items())
    return f"{', '.join(amounts)}, {'within' if trial.meets_target else 'above'}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _plain(text: str, longest: int = CELL) -> str:
    """Return a text from a database in one line, without characters that a terminal would obey."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
