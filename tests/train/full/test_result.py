"""Metrics of training runs: the test split is used once, and a changed file of metrics is not trusted."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from nas.train.full import result
from nas.train.full.curve import EpochResult
from nas.train.full.folder import TrainingFolder
from nas.train.full.progress import Progress
from nas.train.full.result import final_metrics, running_metrics
from nas.train.full.training import FullTraining
from tests.train.full.runs import DATA, Heard, make_job, train


def final(folder: Path, progress: Progress, drawn: list[object] | None = None) -> dict[str, Any]:
    """Return the final metrics; what would be drawn is appended to a list."""
    job, place = make_job(), TrainingFolder(folder)
    network = FullTraining(job, place, Heard()).best_network(progress)
    return final_metrics(job, place, network, running_metrics(job, progress), ([] if drawn is None else drawn).append)


def test_the_test_split_is_used_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress, drawn = train(tmp_path), list[object]()
    metrics = final(tmp_path, progress, drawn)
    assert DATA.test is not None
    assert drawn == [metrics["test"]["assessment"]]
    assert metrics["test"]["images"] == len(DATA.test)
    assert metrics["test"]["low"] <= metrics["test"]["accuracy"] <= metrics["test"]["high"]
    assert json.loads((tmp_path / "metrics.json").read_text())["test"] == metrics["test"]
    monkeypatch.setattr(result, "assess", None)
    assert final(tmp_path, progress) == metrics


@pytest.mark.parametrize("correct", range(len(DATA.val) + 1))
def test_the_interval_of_the_validation_is_that_of_wilson(correct: int) -> None:
    images = len(DATA.val)
    result = EpochResult(1, 1.0, correct / images, 0.1, 9.0, 2.0)
    found = running_metrics(make_job(), Progress(1, 0, (result,), {}, {}, {}))["validation"]
    expected = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found["low"] <= found["accuracy"] <= found["high"]


SHARES = {"images": 9, "accuracy": 0.5, "low": 0.25, "high": 0.75, "assessment": {}}
CHANGED: list[object] = [
    {},
    [],
    None,
    *({**SHARES, "accuracy": value} for value in ("1", 5.0, float("nan"))),
    {**SHARES, "low": -1.0},
    {**SHARES, "high": float("inf")},
    {**SHARES, "images": "9"},
    {**SHARES, "assessment": 3},
]


@pytest.mark.parametrize("test", CHANGED)
def test_a_changed_file_of_metrics_is_not_trusted(tmp_path: Path, test: object) -> None:
    progress = train(tmp_path)
    metrics = final(tmp_path, progress)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "test": test}))
    assert final(tmp_path, progress) == metrics
    path.write_text(path.read_text().replace(f'"accuracy": {metrics["test"]["accuracy"]}', '"accuracy": 0.123'))
    assert final(tmp_path, progress) == metrics
    path.write_text("[" * 100_000)
    assert final(tmp_path, progress) == metrics
