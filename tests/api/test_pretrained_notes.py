"""Sentences of a search about pretrained weights."""

from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image

from nas.api.pretrained_notes import FEW_IMAGES, describe_fresh, describe_small_images, propose_pretrained
from nas.api.request import SearchRequest
from nas.api.weights import PretrainedSource, find_source
from nas.arch.presets import preset
from nas.data.load import load_images
from nas.errors import WeightsError
from nas.models.build import build_model
from nas.space.around import around
from nas.space.files import find_space
from nas.weights.base import TrainedNetwork
from tests.evaluate.colors import make_data

LITE0 = preset("efficientnet-lite0")
PHOTOS = attrs.evolve(make_data(60), name="photos", stored_side=100)


@pytest.fixture(name="source", scope="module")
def _source() -> PretrainedSource:
    return PretrainedSource("efficientnet-lite0", TrainedNetwork(LITE0, build_model(LITE0).state_dict()))


def request(**changes: Any) -> SearchRequest:
    return SearchRequest(**{"targets": ("flops=200M",), "data": "photos", **changes})


def test_few_images_of_the_user_are_proposed_a_pretrained_network() -> None:
    sentence = propose_pretrained(request(), PHOTOS)
    assert sentence.startswith("photos: ")
    assert "--pretrained efficientnet-lite0" in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"pretrained": "efficientnet-lite0"},
        {"data": "digits"},
        {"evaluator": "supernet"},
        {"evaluator": "zero-cost:depth"},
        {"evaluator": describe_fresh},
    ],
)
def test_other_searches_are_proposed_nothing(changes: dict[str, Any]) -> None:
    assert propose_pretrained(request(**changes), PHOTOS) == ""


def test_many_images_are_proposed_nothing() -> None:
    class Many:
        train = range(FEW_IMAGES)

    assert propose_pretrained(request(), Many()) == ""  # type: ignore[arg-type]


def test_options_with_other_operators_are_named(source: PretrainedSource) -> None:
    """All stages of Lite0 but the first have expansions, so "mbconv e1" and "conv" are other operators there."""
    sentence = describe_fresh(find_space("mnasnet"), source)
    assert "stage1.operator=conv" in sentence
    assert sentence.endswith("and 11 more")
    assert describe_fresh(around(LITE0), source) == ""


def test_images_that_are_smaller_than_every_network_are_reported(source: PretrainedSource) -> None:
    space = around(source.network.arch)
    assert "the images have 100 pixels" in describe_small_images(PHOTOS, space)
    assert "at least 128" in describe_small_images(PHOTOS, space)
    for side in (0, 128, 3000):  # unknown, large enough
        assert describe_small_images(attrs.evolve(PHOTOS, stored_side=side), space) == ""
    assert describe_small_images(PHOTOS, space.for_target(resolution=96)) == ""


def test_a_network_with_values_that_are_no_numbers_is_refused_like_a_file(source: PretrainedSource) -> None:
    tensors = dict(source.network.tensors)
    tensors["stem.conv.conv.weight"] = tensors["stem.conv.conv.weight"] / 0
    with pytest.raises(WeightsError, match="infinite or not a number"):
        find_source(attrs.evolve(source.network, tensors=tensors))


def test_the_name_of_a_network_comes_from_what_it_was_matched_to(source: PretrainedSource) -> None:
    """The origin of fine-tuned weights is the network before the fine-tuning, which has other weights."""
    fine_tuned = attrs.evolve(source.network, provenance={"source": "efficientnet-lite0"})
    assert find_source(fine_tuned).name == "pretrained"
    assert find_source(attrs.evolve(fine_tuned, provenance={"matched to": "resnet-18"})).name == "resnet-18"


def test_the_stored_side_is_the_median_of_the_shorter_sides(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i, size in enumerate(((30, 40), (50, 20), (70, 60), (30, 90), (80, 30))):
            Image.new("RGB", size, (i * 40, 0, 0)).save(tmp_path / name / f"{i}.png")
    assert load_images(str(tmp_path), resolution=8, test=True).stored_side == 30
