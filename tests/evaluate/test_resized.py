"""Trainings at one resolution after another: real ones, of images of 8 pixels."""

import json
import pickle
from pathlib import Path

import attrs
import pytest
import torch

from nas.arch.code import parse_text
from nas.data.load import load_images
from nas.errors import DataError, NasError
from nas.evaluate.base import Evaluators
from nas.evaluate.short_training import resized
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.short_training.resized import TrainEvaluators
from nas.train.recipe import Recipe

ARCH = parse_text("net resolution=224 classes=1000\nstem conv k3 s1 c8\nconv k3 s2 c12\nhead conv c16")
SMALL = TrainEvaluators("digits", images=200, device="cpu")


def test_it_gives_the_resolution_and_the_seed_that_are_asked_for() -> None:
    for resolution, seed in ((8, 0), (9, 5)):
        evaluator = SMALL.at(resolution, seed)
        assert (evaluator.seed, evaluator.device, evaluator.recipe) == (seed, "cpu", SMALL.recipe)
        assert evaluator.data.train.images.shape == (200, 3, resolution, resolution)
        assert evaluator.data.val.images.shape[-2:] == (resolution, resolution)
        assert evaluator.describe()["resolution"] == resolution


def test_images_of_a_resolution_are_read_once() -> None:
    assert SMALL.at(8, 0).data is SMALL.at(8, 1).data


def test_images_may_be_read_from_another_place_than_the_study_names(tmp_path: Path) -> None:
    moved = TrainEvaluators(str(tmp_path / "photos"), images=200, device="cpu", place="digits")
    assert moved.at(8, 0).data is SMALL.at(8, 0).data
    assert moved.describe() == {**SMALL.describe(), "data": str(tmp_path / "photos")}


def test_the_recipe_is_handed_on() -> None:
    recipe = Recipe(batch_size=20)
    assert TrainEvaluators("digits", images=200, device="cpu", recipe=recipe).at(8, 0).recipe == recipe


def test_the_metric_is_handed_on_and_described() -> None:
    balanced = attrs.evolve(SMALL, metric="balanced")
    assert balanced.at(8, 0).metric == balanced.describe()["metric"] == "balanced"
    assert SMALL.at(8, 0).metric == "accuracy"


def test_threads_are_set_where_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    SMALL.at(8, 0)
    assert said == []
    attrs.evolve(SMALL, threads=3).at(8, 0)
    assert said == [3]


def test_it_can_be_sent_to_another_process() -> None:
    sent = pickle.loads(pickle.dumps(SMALL))  # noqa: S301 -- made here
    assert sent == SMALL
    assert sent.at(8, 2).describe() == SMALL.at(8, 2).describe()


def test_its_description_is_json_and_says_nothing_of_resolution_seed_and_threads() -> None:
    described = SMALL.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert not {"resolution", "seed", "threads", "environment", "device"} & set(described)
    assert attrs.evolve(SMALL, threads=3).describe() == described
    SMALL.at(8, 1)
    assert SMALL.describe() == described
    for other in (
        attrs.evolve(SMALL, images=100),
        attrs.evolve(SMALL, source="other"),
        attrs.evolve(SMALL, recipe=Recipe(batch_size=20)),
    ):
        assert other.describe() != described


def test_what_it_describes_is_what_its_evaluators_describe() -> None:
    described, one = SMALL.describe(), SMALL.at(8, 0).describe()
    for name in ("evaluator", "recipe", "precision", "data"):
        assert described[name] == one[name]


def test_images_and_devices_that_are_not_there_are_told() -> None:
    with pytest.raises(DataError):
        TrainEvaluators("nowhere/at/all", device="cpu").at(8, 0)
    with pytest.raises(NasError, match="device 'tpu' is not here"):
        TrainEvaluators("digits", device="tpu")


def test_it_trains_as_the_search_does() -> None:
    evaluators: Evaluators = SMALL
    data = load_images("digits", resolution=8, images=200)
    expected = list(TrainEvaluator(data, seed=3, device="cpu").evaluate(ARCH, 2))
    assert len(expected) == 2
    assert list(evaluators.at(8, 3).evaluate(ARCH, 2)) == expected


def test_few_resolutions_are_held_at_once() -> None:
    resized.images_of.cache_clear()
    for resolution in (8, 9, 10):
        SMALL.at(resolution, 0)
    assert resized.images_of.cache_info().currsize == resized.RESOLUTIONS_HELD
