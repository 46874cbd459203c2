"""A study as a table: one row a trial, and one for the baseline."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from nas.errors import StudyError
from nas.studies.records import DeviceMeasurement, Record, StudyView

BASELINE_STATE = "baseline"
# Nullable types throughout: what is not known is NA, never zero.
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "trial": "Int64",
        "state": "string",
        "accuracy": "Float64",
        "macs": "Int64",
        "params": "Int64",
        "peak_bytes": "Int64",
        "size_bytes": "Int64",
        "latency_ms": "Float64",
        "measured_ms": "Float64",
        "meets": "boolean",
        "score": "Float64",
        "seconds": "Float64",
        "seed": "Int64",
        "front": "boolean",
        "arch": "string",
        "label": "string",
    }
)
COSTS = ("macs", "params", "peak_bytes", "size_bytes", "latency_ms")


def trial_frame(view: StudyView) -> pd.DataFrame:
    """One row a trial by number, then the baseline's.

    Columns: `trial` (NA for the baseline), `state` ("baseline" for it), `accuracy` (0 to 1), `macs` (multiply-adds of
    one image), `params`, `peak_bytes`, `size_bytes`, `latency_ms`, `measured_ms` (of the best, in the end), `meets`
    (whether that is within the target), `score`, `seconds`, `seed`, `front` (whether on the study's front), `arch`
    (canonical text), `label` (the baseline's name).

    Raises:
        StudyError: a figure is none, or a count no whole number.
    """
    front = {record.number for record in view.front}
    rows = [_row(record, view.measurements.get(record.number), front=record.number in front) for record in view.records]
    if view.baseline is not None:
        own = _row(view.baseline, view.measurements.get(view.baseline.number), front=False)
        rows.append(own | {"trial": None, "state": BASELINE_STATE})
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    try:
        return frame.astype(dict(COLUMNS))
    except (TypeError, ValueError, OverflowError) as error:
        raise StudyError(f"study {view.name} holds a figure that nas does not write: {error}", "take a copy") from None


def _row(record: Record, verdict: DeviceMeasurement | None, *, front: bool) -> dict[str, Any]:
    return {
        "trial": record.number,
        "state": record.state,
        "accuracy": record.accuracy,
        **{name: record.costs.get(name) for name in COSTS},
        "measured_ms": verdict and verdict.measured,
        "meets": verdict and verdict.meets,
        "score": record.score,
        "seconds": record.seconds,
        "seed": record.seed,
        "front": front,
        "arch": record.arch or None,
        "label": record.label or None,
    }


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as plain JSON values, NA as None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def front_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The front's rows by rising cost, which is by rising accuracy."""
    return frame[frame["front"]].sort_values("accuracy", kind="stable")
