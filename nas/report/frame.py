"""Data frame of a study, with one row for each trial and one for the baseline."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from nas.errors import StudyError
from nas.studies.records import DeviceMeasurement, Record, StudyView

BASELINE_STATE = "baseline"
# All types are nullable, because an unknown value is NA and never zero.
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
    """Return a data frame with one row for each trial, in the order of their numbers, and a last row for the baseline.

    The columns are:

    - `trial`: Number of the trial; NA for the baseline.
    - `state`: "complete", "pruned", "failed", "killed" or "running"; "baseline" for the baseline.
    - `accuracy`: Accuracy on the validation split, from 0 to 1, or the zero-cost score of a study without training.
    - `macs`, `params`, `peak_bytes`, `size_bytes`, `latency_ms`: Costs of the architecture for one image.
    - `measured_ms`: Latency that was measured on the device after the search; only the best trials have one.
    - `meets`: Whether the measured latency is within the target.
    - `score`: Score under the objective of the study.
    - `seconds`: Duration of the evaluation.
    - `seed`: Seed of the evaluation.
    - `front`: Whether the trial is on the Pareto front.
    - `arch`: Canonical text of the architecture.
    - `label`: Name of the baseline.

    Args:
        view: Study to show.

    Raises:
        StudyError: The study has a value that is not a number, or a count that is not a whole number.

    Example:
        >>> trial = Record(0, "complete", "net", {"macs": 381_000_000, "params": 4_000_000}, accuracy=0.62)
        >>> view = StudyView("demo", {"limits": [{"cost": "macs"}]}, (trial,))
        >>> trial_frame(view)[["trial", "accuracy", "macs", "front"]].to_dict("records")
        [{'trial': 0, 'accuracy': 0.62, 'macs': 381000000, 'front': True}]
    """
    front = {record.number for record in view.front}
    rows = [_row(record, view.measurements.get(record.number), front=record.number in front) for record in view.records]
    if view.baseline is not None:
        baseline = _row(view.baseline, view.measurements.get(view.baseline.number), front=False)
        rows.append(baseline | {"trial": None, "state": BASELINE_STATE})
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    try:
        return frame.astype(dict(COLUMNS))
    except (TypeError, ValueError, OverflowError) as error:
        raise StudyError(
            f"study {view.name} holds a figure that nas does not write: {error}; another program has changed it",
            "use an unchanged copy of the study",
        ) from None


def _row(record: Record, measurement: DeviceMeasurement | None, *, front: bool) -> dict[str, Any]:
    return {
        "trial": record.number,
        "state": record.state,
        "accuracy": record.accuracy,
        **{name: record.costs.get(name) for name in COSTS},
        "measured_ms": measurement and measurement.measured,
        "meets": measurement and measurement.meets,
        "score": record.score,
        "seconds": record.seconds,
        "seed": record.seed,
        "front": front,
        "arch": record.arch or None,
        "label": record.label or None,
    }


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a data frame as JSON values; NA becomes None.

    Example:
        >>> rows(pd.DataFrame({"trial": pd.array([0, None], dtype="Int64")}))
        [{'trial': 0}, {'trial': None}]
    """
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def front_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the Pareto front by rising accuracy, which is also by rising cost."""
    return frame[frame["front"]].sort_values("accuracy", kind="stable")
