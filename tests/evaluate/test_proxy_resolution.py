"""Networks of several resolutions are evaluated on images that are larger or smaller in proportion."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from nas.data.base import ImageData, Images
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.supernet.evaluator import SupernetEvaluator
from nas.evaluate.supernet.recipe import SAMPLINGS, SupernetRecipe
from nas.evaluate.supernet.weights import SharedWeights
from nas.evaluate.zero_cost.naswot import Naswot
from nas.space.decode import SearchSpace
from nas.space.schema import read_space
from nas.train.loader import resize
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH, make_data

SHORT = Recipe(batch_size=16)
SPACE: dict[str, Any] = {
    "net": "classes=1000 padding=same",
    "resolution": [64, 32, 48],
    "stem": "conv k3 s1 c8",
    "head": "conv c16",
    "stages": [{"operator": ["conv", "mbconv e2"], "channels": 8, "stride": 2, "layers": [1, 2]}],
}


@pytest.fixture(name="data")
def _data() -> ImageData:
    return make_data()  # 8 x 8 pixels


@pytest.fixture(name="space")
def _space() -> SearchSpace:
    return read_space(SPACE, "space.yaml", "space")


def shrunk(data: ImageData, side: int) -> ImageData:
    """Return the same data with every image resized."""
    train, val = (Images(resize(split.images, side), split.labels) for split in (data.train, data.val))
    return attrs.evolve(data, train=train, val=val)


@pytest.mark.parametrize(("resolution", "side"), [(64, 8), (48, 6), (32, 4)])
def test_a_network_is_trained_on_images_of_its_share(data: ImageData, resolution: int, side: int) -> None:
    arch = attrs.evolve(ARCH, resolution=resolution)
    evaluator = TrainEvaluator(data, recipe=SHORT, full_resolution=64)
    expected = list(TrainEvaluator(shrunk(data, side), recipe=SHORT).evaluate(arch, 2))
    assert list(evaluator.evaluate(arch, 2)) == expected
    assert evaluator.seconds_per_epoch(arch) > 0


def test_the_settings_of_a_study_name_the_full_resolution_only_where_there_is_one(data: ImageData) -> None:
    several, usual = TrainEvaluator(data, full_resolution=64).describe(), TrainEvaluator(data).describe()
    assert {**several} == {**usual, "full_resolution": 64}
    assert {**Naswot(data, full_resolution=64).describe()} == {**Naswot(data).describe(), "full_resolution": 64}


def test_a_checkpoint_belongs_to_one_resolution(data: ImageData, tmp_path: Path) -> None:
    evaluator = TrainEvaluator(data, recipe=SHORT, checkpoints=tmp_path, checkpoint_s=0, full_resolution=64)
    large, small = (attrs.evolve(ARCH, resolution=resolution) for resolution in (64, 32))
    interrupted = evaluator.evaluate(large, 3)
    first = next(interrupted)
    assert list(evaluator.evaluate(small, 3)) == list(
        TrainEvaluator(data, recipe=SHORT, full_resolution=64).evaluate(small, 3)
    )
    assert next(interrupted) != first or first == 1
    assert isinstance(interrupted, Generator)
    interrupted.close()


@pytest.mark.parametrize(("resolution", "side"), [(64, 8), (32, 4)])
def test_a_network_is_scored_on_images_of_its_share(data: ImageData, resolution: int, side: int) -> None:
    arch = attrs.evolve(ARCH, resolution=resolution)
    scored = Naswot(data, images=8, full_resolution=64).scores(arch)
    assert scored == Naswot(shrunk(data, side), images=8).scores(arch)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_each_step_of_a_supernet_has_one_resolution(
    data: ImageData, space: SearchSpace, tmp_path: Path, sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[int] = []
    forward = SharedWeights.forward

    def spied(self: SharedWeights, indices: Sequence[int], images: Tensor) -> Tensor:
        sides.append(images.shape[-1])
        return forward(self, indices, images)

    monkeypatch.setattr(SharedWeights, "forward", spied)
    recipe = SupernetRecipe(epochs=4, sampling=sampling, training=SHORT)
    evaluator = SupernetEvaluator(space, data, tmp_path, recipe)
    evaluator.prepare()
    assert set(sides) == {4, 6, 8}
    networks = len(recipe.paths(space, torch.Generator()))
    assert all(len(set(sides[at : at + networks])) == 1 for at in range(0, len(sides), networks))


def test_a_supernet_evaluates_each_network_at_its_share(data: ImageData, space: SearchSpace, tmp_path: Path) -> None:
    recipe = SupernetRecipe(epochs=1, training=SHORT)
    evaluator = SupernetEvaluator(space, data, tmp_path, recipe, metric="probability")
    found = {}
    for option, side in enumerate((8, 4, 6)):
        arch = space.from_indices((option, 1, 1))
        assert evaluator._resolution(arch) == side
        assert [images.shape[-1] for images, _ in evaluator._val(side)] == [side]
        (found[side],) = evaluator.evaluate(arch, 1)
        assert found[side] == next(evaluator.evaluate(arch, 1))
    assert len(set(found.values())) == 3
    # A choice that is fixed changes neither the images nor the layout of the choices.
    fixed = space.fix({"resolution": "32"})
    (value,) = SupernetEvaluator(fixed, data, tmp_path, recipe, metric="probability").evaluate(
        fixed.from_indices((0, 1, 1)), 1
    )
    assert 0 < value < 1
