"""Data frame of a study, with one row for each trial and one for the baseline."""

from collections.abc import Mapping, Sequence
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
        "evaluations": "Int64",
        "accuracy_mean": "Float64",
        "accuracy_low": "Float64",
        "accuracy_high": "Float64",
        "latency_spread_ms": "Float64",
        "measured_spread_ms": "Float64",
        "recommended": "boolean",
    }
)
LATENCY = "latency_ms"
COSTS = ("macs", "params", "peak_bytes", "size_bytes", LATENCY)


def own_columns(cost: str) -> tuple[str, str, str, str]:
    """Return the columns of a cost of a user's own: cost, its spread, the cost that was measured again, its spread."""
    return cost, f"{cost}_spread", f"{cost}_measured", f"{cost}_measured_spread"


def frame_columns(view: StudyView) -> dict[str, str]:
    """Return the types of the columns of a study: `COLUMNS`, and behind them those of costs of the user's own."""
    own = (column for limit in view.own_limits for column in own_columns(str(limit["cost"])))
    return {**COLUMNS, **{column: "Float64" for column in own if column not in COLUMNS}}


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
    - `evaluations`: Number of evaluations, with one seed each, of which `accuracy` is the first.
    - `accuracy_mean`: Mean accuracy of all these evaluations.
    - `accuracy_low`, `accuracy_high`: 95% interval of the accuracy; NA where it is unknown.
    - `latency_spread_ms`: Standard deviation of `latency_ms`, for a prediction the error of the latency table.
    - `measured_spread_ms`: Standard deviation of `measured_ms`.
    - `recommended`: Whether the trial is the one that `nas search` recommends.

    A cost of the user's own with the name `energy` has the columns `energy`, `energy_spread` (standard deviation),
    `energy_measured` (measured again after the search; only the best trials have one) and `energy_measured_spread`.

    Args:
        view: Study to show.

    Raises:
        StudyError: The study has a value that is not a number, or a count that is not a whole number.

    Example:
        >>> trial = Record(0, "complete", "net", {"macs": 381_000_000, "params": 4_000_000}, accuracy=0.62)
        >>> settings = {"limits": [{"cost": "macs"}], "proxy": {"evaluator": "train"}}
        >>> view = StudyView("demo", settings, (trial,))
        >>> trial_frame(view)[["trial", "accuracy", "macs", "front"]].to_dict("records")
        [{'trial': 0, 'accuracy': 0.62, 'macs': 381000000, 'front': True}]
    """
    front = {record.number for record in view.front}
    best = view.best
    rows = [_row(view, record, front=record.number in front, recommended=record is best) for record in view.records]
    if view.baseline is not None:
        baseline = _row(view, view.baseline, front=False, recommended=False)
        rows.append(baseline | {"trial": None, "state": BASELINE_STATE})
    columns = frame_columns(view)
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    try:
        return frame.astype(columns)
    except (TypeError, ValueError, OverflowError) as error:
        raise StudyError(
            f"study {view.name} holds a figure that nas does not write: {error}; another program has changed it",
            "use an unchanged copy of the study",
        ) from None


def _row(view: StudyView, record: Record, *, front: bool, recommended: bool) -> dict[str, Any]:
    measurement, interval = view.measurements.get(record.number), view.interval(record)
    latency = measurement if measurement and measurement.cost == LATENCY else None
    own = (_own_row(record, str(limit["cost"]), measurement) for limit in view.own_limits)
    return {
        **{column: value for row in own for column, value in row.items()},
        "trial": record.number,
        "state": record.state,
        "accuracy": record.accuracy,
        "evaluations": interval and 1 + len(view.confirmed.get(record.number, ())),
        "accuracy_mean": interval and interval.value,
        "accuracy_low": interval and interval.low,
        "accuracy_high": interval and interval.high,
        **{name: record.costs.get(name) for name in COSTS},
        "latency_spread_ms": record.spreads.get("latency_ms"),
        "measured_ms": latency and latency.measured,
        "measured_spread_ms": latency and latency.spread,
        "meets": measurement and measurement.meets,
        "score": record.score,
        "seconds": record.seconds,
        "seed": record.seed,
        "front": front,
        "recommended": recommended,
        "arch": record.arch or None,
        "label": record.label or None,
    }


def _own_row(record: Record, cost: str, measurement: DeviceMeasurement | None) -> dict[str, float | None]:
    known = measurement if measurement and measurement.cost == cost else None
    measured = (None, None) if known is None else (known.measured, known.spread)
    values = (record.costs.get(cost), record.spreads.get(cost), *measured)
    return dict(zip(own_columns(cost), values, strict=True))


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


def study_frames(views: Sequence[StudyView]) -> pd.DataFrame:
    """Return the rows of several studies below each other, with the name of the study as the last column.

    One study has the columns of `trial_frame`.
    """
    if len(views) == 1:
        return trial_frame(views[0])
    frames = [trial_frame(view).assign(study=pd.array([view.name], dtype="string")[0]) for view in views]
    return pd.concat([frame.astype({"study": "string"}) for frame in frames], ignore_index=True)


def front_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the Pareto front by rising accuracy, which is also by rising cost."""
    return frame[frame["front"]].sort_values("accuracy_mean", kind="stable")
