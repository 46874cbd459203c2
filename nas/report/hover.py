"""Texts that are shown when the mouse is over a point of a figure, as HTML: a summary of at most four lines."""

from html import escape

from nas.cost.base import cost_title, format_amount
from nas.report.fronts import AXES, CostAxis
from nas.report.theme import interval, percent
from nas.studies.records import Interval, Record, StudyView

_WORDS = {"latency_ms": "latency", "peak_bytes": "memory", "size_bytes": "weights"}


def hover_text(view: StudyView, record: Record, known: Interval, axis: CostAxis, *, recommended: bool = False) -> str:
    """Return what matters of a trial, or of the baseline: name, accuracy with its interval, and costs.

    Args:
        view: Study of the trial.
        record: The trial.
        known: Accuracy of the trial, as `StudyView.interval` returns it.
        axis: Cost of the figure, which comes first.
        recommended: Whether it is the recommended trial.
    """
    name = f"baseline {record.label}" if record.label else f"trial {record.number}"
    seeds = 1 + len(view.confirmed.get(record.number, ()))
    lines = (
        f"<b>{escape(name)}: {percent(known.value)}{', recommended' * recommended}</b>",
        ", ".join(filter(None, (f"mean of {seeds} seeds" * (seeds > 1), _interval_text(known)))),
        escape(_drawn_cost(view, record, axis)),
        escape(", ".join(_other_costs(view, record, axis))),
    )
    return "<br>".join(filter(None, lines))


def _interval_text(known: Interval) -> str:
    return "" if known.low is None else interval(known.low, known.high)


def _drawn_cost(view: StudyView, record: Record, axis: CostAxis) -> str:
    measurement = view.measurements.get(record.number)
    found = _amount(record, axis.cost, axis.unit)
    if measurement is None or measurement.cost != axis.cost:
        return found
    return f"{found}, measured {axis.amount(measurement.measured)} ± {measurement.spread:.2g}"


def _other_costs(view: StudyView, record: Record, axis: CostAxis) -> list[str]:
    own = {str(limit["cost"]): str(limit["unit"]) for limit in view.own_limits}
    units = {cost: unit for cost, (_, _, unit) in AXES.items()} | own
    return [_amount(record, cost, unit) for cost, unit in units.items() if cost != axis.cost and cost in record.costs]


def _amount(record: Record, cost: str, unit: str) -> str:
    """Return a cost with its standard deviation, and its name unless the unit says which it is."""
    value, spread = record.costs.get(cost), record.spreads.get(cost)
    word = "" if unit in ("MACs", "params") else f" {_WORDS.get(cost, cost_title(cost))}"
    if value is None:
        return f"{word.strip() or unit} unknown"
    return format_amount(value, unit) + ("" if spread is None else f" ± {spread:.2g}") + word
