"""The functions on evaluation."""

from pathlib import Path

import pytest
import torch

import nas
from nas.data.load import load_images, load_split
from tests.cli.test_cli_evaluate import DIGITS, network


def test_classes_in_another_order_give_the_same_result(tmp_path: Path) -> None:
    made = network(tmp_path / "weights.safetensors")
    tensors = {
        name: tensor.flip(0) if name.startswith("head.classifier") else tensor for name, tensor in made.tensors.items()
    }
    turned = nas.TrainedNetwork(made.arch, tensors, DIGITS[::-1], made.normalization)
    one, two = (nas.evaluate_network(each, "digits", train_on="cpu").assessment for each in (made, turned))
    assert one.accuracy == two.accuracy
    assert {each.name: each.recall for each in one.classes} == {each.name: each.recall for each in two.classes}


@pytest.mark.parametrize(
    "arguments",
    [
        {"split": "all"},
        {"images": 1},
        {"robustness": "yes"},
        {"masks": "masks"},
        {"against": 3},
        {"validation_share": 0.9, "split": "val"},
    ],
)
def test_arguments_that_cannot_be_used_are_errors(arguments: dict[str, object], tmp_path: Path) -> None:
    made = network(tmp_path / "weights.safetensors")
    with pytest.raises(nas.NasError):
        nas.evaluate_network(made, "digits", train_on="cpu", **arguments)  # type: ignore[arg-type]  # on purpose


def test_a_network_without_normalization_is_an_error(tmp_path: Path) -> None:
    made = network(tmp_path / "weights.safetensors")
    bare = nas.TrainedNetwork(made.arch, made.tensors, made.classes)
    with pytest.raises(nas.WeightsError, match="normalization"):
        nas.evaluate_network(bare, "digits")
    with pytest.raises(nas.NasError, match="top is 0"):
        nas.predict(made, tmp_path, top=0)


class TestSplit:
    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_a_split_that_is_loaded_alone_has_the_images_of_the_whole_data_set(self, split: str) -> None:
        alone, whole = load_split("digits", split, resolution=8), load_images("digits", resolution=8, test=True)
        expected = getattr(whole, split)
        assert alone.images.images.equal(expected.images)
        assert alone.images.labels.equal(expected.labels)
        assert alone.classes == whole.classes
        assert (alone.total, len(alone.names)) == (len(expected), len(expected))

    def test_a_part_of_a_split_is_spread_over_it(self) -> None:
        whole = load_split("digits", "test", resolution=8).images
        part = load_split("digits", "test", resolution=8, images=5)
        places = torch.linspace(0, len(whole) - 1, 5, dtype=torch.float64).round().long()
        assert part.images.images.equal(whole.images[places])
        assert part.total == len(whole)
