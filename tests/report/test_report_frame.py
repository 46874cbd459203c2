"""Tests of the data frame of a study."""

import csv
import io
import json

import pandas as pd
from hypothesis import given

from nas.report.files import csv_bytes
from nas.report.frame import COLUMNS, front_rows, rows, trial_frame
from nas.studies.records import Record, StudyView
from tests.report.studies import record, studies, study


def dominated(one: Record, other: Record, cost: str) -> bool:
    """Return whether `other` is at least as good in cost and accuracy, and better in one of them."""
    a, b = (one.costs[cost], -(one.accuracy or 0)), (other.costs[cost], -(other.accuracy or 0))
    return b[0] <= a[0] and b[1] <= a[1] and a != b


@given(studies())
def test_the_front_has_the_complete_trials_that_no_other_dominates(view: StudyView) -> None:
    complete = [r for r in view.records if r.state == "complete"]
    best = [r for r in complete if not any(dominated(r, other, view.cost_name) for other in complete)]
    front = front_rows(trial_frame(view))
    pairs = list(zip(front[view.cost_name], front["accuracy"], strict=True))
    assert pairs == sorted({(r.costs[view.cost_name], r.accuracy) for r in best})


@given(studies())
def test_rows_have_the_values_of_the_records(view: StudyView) -> None:
    made = rows(trial_frame(view))
    assert len(made) == len(view.records) + (view.baseline is not None)
    for row, trial in zip(made, view.records, strict=False):
        costs = tuple(row[name] for name in ("macs", "params", "peak_bytes"))
        assert costs == tuple(trial.costs.get(name) for name in ("macs", "params", "peak_bytes"))
        assert (row["trial"], row["state"], row["accuracy"]) == (trial.number, trial.state, trial.accuracy)
        assert (row["score"], row["seconds"], row["seed"]) == (trial.score, trial.seconds, trial.seed)
        assert (row["arch"], row["label"]) == (trial.arch or None, None)


@given(studies())
def test_csv_and_json_have_the_same_rows(view: StudyView) -> None:
    frame = trial_frame(view)
    read = list(csv.DictReader(io.StringIO(csv_bytes(frame).decode(), newline="")))
    plain = json.loads(json.dumps(rows(frame), allow_nan=False))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in plain]


@given(studies())
def test_columns_and_types_are_the_same_for_every_study(view: StudyView) -> None:
    frame = trial_frame(view)
    assert list(frame.columns) == list(COLUMNS)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == dict(COLUMNS)


def test_latency_and_size_have_columns() -> None:
    costs = {"macs": 2, "params": 3, "peak_bytes": 4, "size_bytes": 12, "latency_ms": 7.25}
    limits = [{"cost": "latency_ms", "unit": "ms", "low": 7.2, "high": 8.0}]
    slower = {**costs, "latency_ms": 7.75, "macs": 1}
    view = study(
        Record(0, "complete", "net", slower, accuracy=0.5),
        Record(1, "complete", "net", costs, accuracy=0.5),
        Record(2, "complete", "net", slower, accuracy=0.6),
        targets=["latency=8ms on cpu"],
        limits=limits,
    )
    frame = trial_frame(view)
    assert frame["latency_ms"].tolist() == [7.75, 7.25, 7.75]
    assert frame["size_bytes"].tolist() == [12, 12, 12]
    assert front_rows(frame)["trial"].tolist() == [1, 2]
    assert rows(frame)[1] | costs == rows(frame)[1]


def test_unknown_values_are_missing_and_not_zero() -> None:
    frame = trial_frame(study(Record(0, "running", "", {})))
    costs = ["macs", "params", "peak_bytes", "size_bytes", "latency_ms"]
    unknown = ["accuracy", *costs, "score", "seconds", "seed", "arch", "label"]
    assert frame[unknown].isna().all(axis=None)
    assert not frame[["trial", "state", "front"]].isna().any(axis=None)


def test_the_baseline_has_its_own_state_and_is_not_on_the_front() -> None:
    base = Record(-1, "complete", "net", {"macs": 1, "params": 1, "peak_bytes": 1}, accuracy=0.99, label="known")
    last = trial_frame(study(record(0), baseline=base)).iloc[-1]
    assert pd.isna(last["trial"])
    assert (last["state"], last["label"], last["front"]) == ("baseline", "known", False)
