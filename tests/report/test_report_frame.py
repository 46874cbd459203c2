"""Tests of the data frame of a study."""

import csv
import io
import json

import attrs
import pandas as pd
import pytest
from hypothesis import given

from nas.report.files import csv_bytes
from nas.report.frame import COLUMNS, front_rows, rows, trial_frame
from nas.studies.records import DeviceMeasurement, Expected, Record, StudyView
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


def test_retrained_trials_have_means_intervals_and_a_recommendation() -> None:
    lucky, steady = (attrs.evolve(record(i, 380e6, accuracy), score=accuracy) for i, accuracy in ((0, 0.7), (1, 0.66)))
    view = attrs.evolve(
        study(lucky, steady, record(2, 370e6, 0.6)),
        confirmed={0: (0.62, 0.63), 1: (0.66, 0.69)},
        expected={0: Expected(0.65, 0.01, 0.65), 1: Expected(0.67, 0.02, 0.67)},
    )
    one, other, single = rows(trial_frame(view))
    assert (one["accuracy"], one["evaluations"], one["accuracy_mean"]) == (0.7, 3, pytest.approx(0.65))
    assert (other["accuracy_low"], other["accuracy_high"]) == (pytest.approx(0.67 - 0.0392), pytest.approx(0.7092))
    assert (single["evaluations"], single["accuracy_mean"], single["accuracy_low"]) == (1, 0.6, None)
    assert [row["recommended"] for row in (one, other, single)] == [False, True, False]
    assert [row["front"] for row in (one, other, single)] == [False, True, True]


def test_predicted_and_measured_latencies_have_their_spreads() -> None:
    costs = {"macs": 2, "latency_ms": 7.25}
    trial = Record(0, "complete", "net", costs, accuracy=0.5, spreads={"latency_ms": 0.3})
    limits = [{"cost": "latency_ms", "unit": "ms", "low": 7.2, "high": 8.0}]
    measured = DeviceMeasurement("latency_ms", 8.0, 7.25, 8.5, 0.1)
    view = attrs.evolve(study(trial, limits=limits), measurements={0: measured})
    (row,) = rows(trial_frame(view))
    assert (row["latency_ms"], row["latency_spread_ms"]) == (7.25, 0.3)
    assert (row["measured_ms"], row["measured_spread_ms"], row["meets"]) == (8.5, 0.1, False)
    assert not row["recommended"]


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
