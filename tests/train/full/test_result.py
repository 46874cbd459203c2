"""Metrics of training runs: the test split is used once, and a changed file of metrics is not trusted."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from nas.train.full import result
from nas.train.full.folder import TrainingFolder
from nas.train.full.progress import Progress
from nas.train.full.result import final_metrics, running_metrics
from nas.train.full.training import FullTraining
from tests.train.full.runs import DATA, Heard, make_job, train


def final(folder: Path, progress: Progress) -> dict[str, Any]:
    job, place = make_job(), TrainingFolder(folder)
    network = FullTraining(job, place, Heard()).best_network(progress)
    return final_metrics(job, place, network, running_metrics(job, progress))


def test_the_test_split_is_used_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = train(tmp_path)
    metrics = final(tmp_path, progress)
    assert DATA.test is not None
    assert metrics["test"]["images"] == len(DATA.test)
    assert metrics["test"]["low"] <= metrics["test"]["accuracy"] <= metrics["test"]["high"]
    assert json.loads((tmp_path / "metrics.json").read_text())["test"] == metrics["test"]
    monkeypatch.setattr(result, "assess", None)
    assert final(tmp_path, progress) == metrics


WITHOUT_ASSESSMENT = {"images": 9, "accuracy": 1.0, "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    "test", [{}, [], WITHOUT_ASSESSMENT, {**WITHOUT_ASSESSMENT, "assessment": {"images": math.inf}}, None]
)
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
