"""Batches of images from the memory of the device or of the host."""

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from nas.evaluate.finetune.teacher import compute_outputs
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train import loader
from nas.train.loader import make_loader, resize, val_batch_size
from nas.train.prediction import Predictor
from nas.train.recipe import Recipe
from nas.weights.base import Normalization
from tests.evaluate.colors import TINY as ARCH
from tests.evaluate.colors import colored, make_data
from tests.evaluate.finetune.networks import make_source
from tests.train.batches import largest_batch


def test_all_images_move_to_the_device_unless_they_are_memory_mapped() -> None:
    split = colored(9)
    moved = make_loader(split, "meta")
    assert (moved.images.device.type, moved.labels.device.type, len(moved)) == ("meta", "meta", 9)
    stayed = make_loader(attrs.evolve(split, mapped=True), "meta")
    assert (stayed.images.device.type, stayed.labels.device.type) == ("cpu", "meta")
    images, labels = stayed.take(torch.tensor([3, 1]))
    assert (images.device.type, images.shape, labels.shape) == ("meta", (2, 3, 8, 8), (2,))


def test_images_too_large_for_the_device_stay_in_host_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    split = colored(9)
    for free, device in ((split.images.nbytes * 2, "meta"), (split.images.nbytes * 2 - 2, "cpu")):
        monkeypatch.setattr(loader, "_free_bytes", lambda _device, free=free: free)
        assert make_loader(split, "meta").images.device.type == device


@pytest.mark.parametrize("indices", [torch.tensor([5, 0, 5]), slice(2, 6)])
def test_a_batch_holds_the_images_and_labels_of_its_indices(indices: torch.Tensor | slice) -> None:
    split = colored(9)
    images, labels = make_loader(split, "cpu").take(indices)
    assert torch.equal(images, split.images[indices])
    assert torch.equal(labels, split.labels[indices])


def test_mapped_images_give_the_same_accuracies() -> None:
    data = make_data(lift=10)
    mapped = attrs.evolve(data, train=attrs.evolve(data.train, mapped=True), val=attrs.evolve(data.val, mapped=True))
    first, other = (
        list(TrainEvaluator(each, recipe=Recipe(batch_size=8)).evaluate(ARCH, 2)) for each in (data, mapped)
    )
    assert first == other


@pytest.mark.parametrize("resolution", [4, 12])
def test_batches_are_resized_as_pillow_resizes_them(resolution: int) -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    resized = resize(images, resolution)
    expected = [
        np.asarray(Image.fromarray(each.permute(1, 2, 0).numpy()).resize((resolution,) * 2, Image.Resampling.BILINEAR))
        for each in images
    ]
    difference = resized.permute(0, 2, 3, 1).int() - torch.from_numpy(np.stack(expected)).int()
    assert int(difference.abs().max()) <= 1


def test_a_loader_returns_batches_of_its_resolution_and_holds_the_images_as_they_are() -> None:
    split = colored(9)
    loader = make_loader(split, "cpu", 4)
    assert loader.images is split.images
    assert loader.take(slice(0, 2))[0].shape == (2, 3, 4, 4)


@pytest.mark.parametrize(("resolution", "size"), [(8, 250), (32, 250), (64, 250), (128, 62), (224, 20), (2000, 8)])
def test_batches_of_larger_images_have_no_more_pixels_than_those_of_small_ones(resolution: int, size: int) -> None:
    assert val_batch_size(resolution) == size
    assert val_batch_size(resolution, 500) in (500, 2 * size, 2 * size + 1, 8)


def test_all_that_is_not_trained_on_comes_in_batches_of_limited_size() -> None:
    """The limit for 128 pixels is a quarter of 250 images; a step of the training has 8."""
    data = make_data(70, side=128, val_images=70)
    evaluator, source = TrainEvaluator(data, recipe=Recipe(batch_size=8)), make_source(ARCH)
    assert largest_batch(lambda: list(evaluator.evaluate(ARCH, 1))) == 62
    assert largest_batch(lambda: compute_outputs(source, data, 128, "cpu")) == 62
    # Both batches of the statistics have half of the images.
    predictor = Predictor(Normalization((0.5,) * 3, (0.5,) * 3), "cpu")
    assert largest_batch(lambda: predictor.correct(source.module(), data.val)) == 62
    train = make_data(140, side=128).train
    assert largest_batch(lambda: predictor.re_estimate(source.module(), train)) == 70
