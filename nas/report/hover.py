"""Texts that are shown when the mouse is over a point of a figure, as HTML."""

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from nas.cost.base import format_amount

COSTS = (
    ("macs", "MACs"),
    ("params", "params"),
    ("peak_bytes", "bytes"),
    ("size_bytes", "bytes"),
    ("latency_ms", "ms"),
    ("measured_ms", "ms"),
)
USUAL_COSTS = ("macs", "params", "peak_bytes")  # Every study has these costs, and other costs only if requested.
_SPREADS = {"latency_ms": "latency_spread_ms", "measured_ms": "measured_spread_ms"}
Row = Mapping[Hashable, Any]
Columns = Sequence[tuple[str, str]]


def spread_column(column: str) -> str:
    """Return the column with the standard deviations of a cost."""
    return _SPREADS.get(column, f"{column}_spread")


def hover_text(row: Row, own: Columns = ()) -> str:
    """Return what is known of a trial, or of the baseline: accuracy, costs and architecture.

    Args:
        row: Row of the trial in the data frame of its study.
        own: Columns of costs of the user's own, with their units.
    """
    known: dict[Hashable, Any] = {name: None if pd.isna(value) else value for name, value in row.items()}
    name = f"trial {known['trial']}" if known["label"] is None else f"baseline {known['label']}"
    recommended = ", recommended" if known["recommended"] else ""
    shown = [(column, unit) for column, unit in (*COSTS, *own) if column in USUAL_COSTS or known[column] is not None]
    measured = ("measured " if column == "measured_ms" or column.endswith("_measured") else "" for column, _ in shown)
    costs = ", ".join(f"{word}{_amount(known, *each)}" for word, each in zip(measured, shown, strict=True))
    lines = [
        f"<b>{escape(name)}: {100 * known['accuracy_mean']:.2f}%{recommended}</b>",
        *_accuracy_lines(known),
        escape(costs),
    ]
    return "<br>".join([*lines, "", escape(known["arch"] or "").replace("\n", "<br>")])


def _accuracy_lines(known: Row) -> list[str]:
    """Return what the accuracy is a mean of and its interval, where there is more to say than its value."""
    mean = f"mean of {known['evaluations']} evaluations, the first {100 * known['accuracy']:.2f}%"
    interval = known["accuracy_low"] is not None
    ends = f"95% interval {100 * known['accuracy_low']:.2f} to {100 * known['accuracy_high']:.2f}%" if interval else ""
    return list(filter(None, (mean if known["evaluations"] > 1 else "", ends)))


def _amount(known: Row, column: str, unit: str) -> str:
    value, spread = known[column], known.get(spread_column(column))
    if value is None:
        return f"{unit} unknown"
    return format_amount(value, unit) + ("" if spread is None else f" ± {spread:.2g}")
