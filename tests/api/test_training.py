"""The evaluators of the training runs of fits, comparisons and checks, as their options describe them."""

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nas.api.engines import EngineOptions
from nas.api.training import TrainingOptions, make_evaluators, open_training_study, study_name
from nas.errors import StudyError
from nas.evaluate.short_training.resized import TrainEvaluators
from nas.workers.threads import ThreadChoice

# Fingerprint that version 0.1 gave the images of `folder_of_images`, a fifth of which validated.
OLD_FINGERPRINT = "065b0c1c5c73"


def made(data: str = "digits", **engine: Any) -> TrainEvaluators:
    training = TrainingOptions(data=data, images=64, train_on="cpu", proxy_resolution=8)
    evaluators = make_evaluators(training, EngineOptions(**engine), lambda _message: None)
    assert isinstance(evaluators, TrainEvaluators)
    return evaluators


@pytest.mark.parametrize(
    ("options", "threads"),
    [
        ({}, 6),
        ({"workers": 1}, 6),
        ({"workers": 2}, 3),
        ({"workers": 12}, 1),
        ({"workers": 2, "threads": 5}, 5),
        ({"engine": "ray", "workers": 2}, None),
        ({"engine": "ray"}, None),
    ],
)
def test_worker_processes_share_the_cores(
    options: dict[str, Any], threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six cores, each process has an equal share; the made-up probe finds that all of the share are fastest."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(6)), raising=False)
    monkeypatch.setattr("torch.set_num_threads", lambda _threads: None)
    monkeypatch.setattr("nas.workers.threads.choose_threads", lambda _measure, cores: ThreadChoice(cores, {}))
    assert made(**options).threads == threads


def test_the_number_of_threads_that_the_probe_finds_is_used_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(4)), raising=False)
    monkeypatch.setattr("torch.set_num_threads", lambda _threads: None)
    choice = ThreadChoice(2, {1: 0.3, 2: 0.1, 4: 0.1})
    monkeypatch.setattr("nas.workers.threads.choose_threads", lambda _measure, _cores: choice)
    messages: list[str] = []
    training = TrainingOptions(images=64, train_on="cpu", proxy_resolution=8)
    evaluators = make_evaluators(training, EngineOptions(), messages.append)
    assert isinstance(evaluators, TrainEvaluators)
    assert evaluators.threads == 2
    assert messages[-1] == str(choice)


def test_the_name_of_a_study_depends_on_the_settings_and_the_options_of_the_training_runs() -> None:
    settings, training = {"kind": "fit", "phi": 1.0}, TrainingOptions()
    name = study_name("fit", "study:demo:best", settings, training)
    assert re.fullmatch(r"fit-demo-best-[0-9a-f]{6}", name)
    # More seeds continue the study; other epochs make another one.
    assert study_name("fit", "study:demo:best", settings, evolve(training, seeds=9)) == name
    assert study_name("fit", "study:demo:best", settings, evolve(training, epochs=9)) != name
    assert study_name("fit", "study:demo:best", {**settings, "phi": 2.0}, training) != name


def test_tasks_of_ray_find_images_by_an_absolute_path(monkeypatch: pytest.MonkeyPatch, folder_of_images: Path) -> None:
    monkeypatch.chdir(folder_of_images.parent)
    there = made(engine="ray", data=folder_of_images.name)
    assert (there.place, there.source) == (str(folder_of_images), folder_of_images.name)
    here = made(data=folder_of_images.name)
    assert (here.place, here.describe()) == ("", there.describe())
    assert made(engine="ray").place == ""


def test_a_study_that_validated_on_a_fifth_of_a_small_set_names_the_option_that_continues_it(
    folder_of_images: Path,
) -> None:
    def opened(share: float | None) -> str:
        options = TrainingOptions(
            str(folder_of_images), proxy_resolution=8, train_on="cpu", validation_share=share, images=2
        )
        evaluators = make_evaluators(options, EngineOptions(threads=1), lambda _message: None)
        storage = f"sqlite:///{folder_of_images.parent / 'nas.db'}"
        with open_training_study(
            "old", {}, evaluators, 1, EngineOptions(), storage=storage, listen=lambda _event: None
        ) as study:
            return str(study.study.user_attrs["nas:scoring"]["proxy"]["fingerprint"])

    # The fingerprint is the one that version 0.1 gave these images.
    assert opened(0.2) == OLD_FINGERPRINT
    with pytest.raises(StudyError, match=r"study old was made with proxy\.fingerprint") as refused:
        opened(None)
    assert "--validation-share 0.2 continues it" in refused.value.remedy
    assert opened(0.2) == OLD_FINGERPRINT


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
