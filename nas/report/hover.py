"""Texts that are shown when the mouse is over a point of a figure, as HTML."""

from collections.abc import Hashable, Mapping
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
SPREADS = {"latency_ms": "latency_spread_ms", "measured_ms": "measured_spread_ms"}
NAMES = {"measured_ms": "measured "}
Row = Mapping[Hashable, Any]


def hover_text(row: Row) -> str:
    """Return what is known of a trial, or of the baseline: accuracy, costs and architecture.

    Args:
        row: Row of the trial in the data frame of its study.
    """
    known: dict[Hashable, Any] = {name: None if pd.isna(value) else value for name, value in row.items()}
    name = f"trial {known['trial']}" if known["label"] is None else f"baseline {known['label']}"
    recommended = ", recommended" if known["recommended"] else ""
    shown = [(column, unit) for column, unit in COSTS if column in USUAL_COSTS or known[column] is not None]
    costs = ", ".join(f"{NAMES.get(column, '')}{_amount(known, column, unit)}" for column, unit in shown)
    lines = [f"<b>{escape(name)}: {100 * known['accuracy_mean']:.2f}%{recommended}</b>", *_accuracy_lines(known), costs]
    return "<br>".join([*lines, "", escape(known["arch"] or "").replace("\n", "<br>")])


def _accuracy_lines(known: Row) -> list[str]:
    """Return what the accuracy is a mean of and its interval, where there is more to say than its value."""
    mean = f"mean of {known['evaluations']} evaluations, the first {100 * known['accuracy']:.2f}%"
    interval = known["accuracy_low"] is not None
    ends = f"95% interval {100 * known['accuracy_low']:.2f} to {100 * known['accuracy_high']:.2f}%" if interval else ""
    return list(filter(None, (mean if known["evaluations"] > 1 else "", ends)))


def _amount(known: Row, column: str, unit: str) -> str:
    value, spread = known[column], known.get(SPREADS.get(column, ""))
    if value is None:
        return f"{unit} unknown"
    return format_amount(value, unit) + ("" if spread is None else f" ± {spread:.2g}")
