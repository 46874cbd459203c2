"""Training evaluators for several resolutions and seeds, with real training runs on images of 8 pixels."""

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


def test_an_evaluator_has_the_requested_resolution_and_seed() -> None:
    for resolution, seed in ((8, 0), (9, 5)):
        evaluator = SMALL.at(resolution, seed)
        assert (evaluator.seed, evaluator.device, evaluator.recipe) == (seed, "cpu", SMALL.recipe)
        assert evaluator.data.train.images.shape == (200, 3, resolution, resolution)
        assert evaluator.data.val.images.shape[-2:] == (resolution, resolution)
        assert evaluator.describe()["resolution"] == resolution


def test_images_of_a_resolution_are_loaded_once() -> None:
    assert SMALL.at(8, 0).data is SMALL.at(8, 1).data


def test_images_may_be_read_from_another_place_than_the_study_names(tmp_path: Path) -> None:
    moved = TrainEvaluators(str(tmp_path / "photos"), images=200, device="cpu", place="digits")
    assert moved.at(8, 0).data is SMALL.at(8, 0).data
    assert moved.describe() == {**SMALL.describe(), "data": str(tmp_path / "photos")}


def test_evaluators_have_the_recipe() -> None:
    recipe = Recipe(batch_size=20)
    assert TrainEvaluators("digits", images=200, device="cpu", recipe=recipe).at(8, 0).recipe == recipe


def test_evaluators_have_the_metric_and_describe_it() -> None:
    balanced = attrs.evolve(SMALL, metric="balanced")
    assert balanced.at(8, 0).metric == balanced.describe()["metric"] == "balanced"
    assert SMALL.at(8, 0).metric == "accuracy"


def test_the_number_of_threads_is_set_if_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    SMALL.at(8, 0)
    assert calls == []
    attrs.evolve(SMALL, threads=3).at(8, 0)
    assert calls == [3]


def test_the_evaluators_can_be_sent_to_another_process() -> None:
    sent = pickle.loads(pickle.dumps(SMALL))  # noqa: S301 -- pickled in the same line
    assert sent == SMALL
    assert sent.at(8, 2).describe() == SMALL.at(8, 2).describe()


def test_the_description_is_json_without_resolution_seed_and_threads() -> None:
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


def test_images_of_networks_of_several_resolutions_are_loaded_once() -> None:
    several = attrs.evolve(SMALL, full_resolution=64, held=8)
    assert several.at(4, 0).data is several.at(8, 0).data
    assert (several.at(4, 0).data.resolution, several.at(4, 0).full_resolution) == (8, 64)
    assert several.describe() == {**SMALL.describe(), "full_resolution": 64, "held": 8}


def test_the_description_agrees_with_that_of_an_evaluator() -> None:
    described, one = SMALL.describe(), SMALL.at(8, 0).describe()
    for name in ("evaluator", "recipe", "precision", "data"):
        assert described[name] == one[name]


def test_missing_images_and_devices_are_errors() -> None:
    with pytest.raises(DataError):
        TrainEvaluators("nowhere/at/all", device="cpu").at(8, 0)
    with pytest.raises(NasError, match="device 'tpu' is not available"):
        TrainEvaluators("digits", device="tpu")


def test_an_evaluator_gives_the_accuracies_of_a_train_evaluator() -> None:
    evaluators: Evaluators = SMALL
    data = load_images("digits", resolution=8, images=200)
    expected = list(TrainEvaluator(data, seed=3, device="cpu").evaluate(ARCH, 2))
    assert len(expected) == 2
    assert list(evaluators.at(8, 3).evaluate(ARCH, 2)) == expected


def test_images_of_only_a_few_resolutions_stay_in_memory() -> None:
    resized.cached_images.cache_clear()
    for resolution in (8, 9, 10):
        SMALL.at(resolution, 0)
    assert resized.cached_images.cache_info().currsize == resized.RESOLUTIONS_HELD


def test_the_validation_split_has_the_same_images_in_the_same_order_at_every_resolution() -> None:
    """Networks of different resolutions are compared image by image."""
    small, large = (SMALL.at(resolution, 0).data.val for resolution in (8, 24))
    assert small.labels.tolist() == large.labels.tolist()
    brightness = [part.images.double().mean(dim=(1, 2, 3)) for part in (small, large)]
    assert float((brightness[0] - brightness[1]).abs().max()) < 2
    assert float(brightness[0].std()) > 6
