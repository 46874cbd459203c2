"""The evaluators of the training runs of fits, comparisons and checks, as their options describe them."""

from pathlib import Path
from typing import Any

import pytest

from nas.api.engines import EngineOptions
from nas.api.training import TrainingOptions, make_evaluators
from nas.evaluate.short_training.resized import TrainEvaluators


def made(data: str = "digits", **engine: Any) -> TrainEvaluators:
    training = TrainingOptions(data=data, images=64, train_on="cpu", proxy_resolution=8)
    evaluators = make_evaluators(training, EngineOptions(**engine), lambda _message: None)
    assert isinstance(evaluators, TrainEvaluators)
    return evaluators


@pytest.mark.parametrize(
    ("options", "threads"),
    [
        ({}, None),
        ({"workers": 1}, None),
        ({"workers": 2}, 3),
        ({"workers": 12}, 1),
        ({"engine": "ray", "workers": 2}, None),
        ({"engine": "ray"}, None),
    ],
)
def test_worker_processes_share_the_cores(
    options: dict[str, Any], threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(6)), raising=False)
    monkeypatch.setattr("torch.set_num_threads", lambda _threads: None)
    assert made(**options).threads == threads


def test_tasks_of_ray_find_images_by_an_absolute_path(monkeypatch: pytest.MonkeyPatch, folder_of_images: Path) -> None:
    monkeypatch.chdir(folder_of_images.parent)
    there = made(engine="ray", data=folder_of_images.name)
    assert (there.place, there.source) == (str(folder_of_images), folder_of_images.name)
    here = made(data=folder_of_images.name)
    assert (here.place, here.describe()) == ("", there.describe())
    assert made(engine="ray").place == ""


@pytest.fixture(name="folder_of_images")
def _folder_of_images(tmp_path: Path) -> Path:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(20):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"
