"""The best trials of a study as a table, for terminals and notebooks."""

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from nas.api.study import Study, Trial

SHOWN = 5
CELL, LINE = 60, 120  # the most characters that are shown
COUNTS = ("macs", "params")


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


def format_study(study: "Study") -> str:
    """Return a study as text of at most a dozen lines."""
    table = make_table(study)
    cells = [table.headers, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
    return "\n".join((table.heading, *table.lines, *(lines if table.rows else ())))


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def format_study_html(study: "Study") -> str:
    """Return a study as HTML; all text is escaped, because names and reasons come from a database."""
    table = make_table(study)
    lines = "<br>".join(map(escape, table.lines))
    head = "".join(f"<th>{escape(header)}</th>" for header in table.headers)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    drawn = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    return f"<div><strong>{escape(table.heading)}</strong><br>{lines}{drawn}</div>"


def make_table(study: "Study") -> Table:
    """Return the best trials of a study, or its Pareto front, and the baseline."""
    is_front = study.settings["objective"] == "pareto"
    shown = (study.pareto() if is_front else study.ranked)[:SHOWN]
    if study.baseline is not None:
        shown.append(study.baseline)
    limits = [limit for limit in study.settings["limits"] if limit["cost"] not in COUNTS]
    headers = [("Pareto front" if is_front else "best"), study.score_name, "expected", "MACs", "params"]
    headers += [str(limit["cost"]).rpartition("_")[0] for limit in limits]
    rows = [(*_cells(trial), *(_cost(trial, limit) for limit in limits), _number(trial.score)) for trial in shown]
    return Table(
        f"Study {_plain(study.name)}",
        (
            _plain(f"in {study.storage}", LINE),
            _plain(f"{' and '.join(study.settings['targets'])}; {_counts(study)}", LINE),
        ),
        tuple(map(_plain, (*headers, "score"))),
        tuple(tuple(map(_plain, row)) for row in rows),
    )


def _counts(study: "Study") -> str:
    states = Counter(trial.state for trial in study.trials)
    number = sum(states.values())
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{number} trial{'' if number == 1 else 's'}{told and ': '}{told}"


def _cells(trial: "Trial") -> tuple[str, ...]:
    name = f"baseline {trial.name}" if trial.number is None else f"trial {trial.number}"
    return (name, _percent(trial.accuracy), _expected(trial), *(_cost(trial, {"cost": cost}) for cost in COUNTS))


def _cost(trial: "Trial", limit: dict[str, Any]) -> str:
    from nas.cost.base import format_amount

    value = trial.costs.get(limit["cost"])
    if value is None:
        return "-"
    return f"{value / 1e6:,.2f}M" if limit["cost"] in COUNTS else format_amount(value, limit["unit"])


def _expected(trial: "Trial") -> str:
    if trial.expected_accuracy is None or trial.expected_spread is None:
        return "-"
    return f"{100 * trial.expected_accuracy:.1f} ± {100 * trial.expected_spread:.1f}%"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _plain(text: str, longest: int = CELL) -> str:
    """Return a text from a database in one line, without characters that a terminal would obey."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
