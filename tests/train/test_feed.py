"""Images by the batch, from the device or from the host."""

import attrs
import pytest
import torch

from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train import feed
from nas.train.feed import make_feed
from nas.train.recipe import Recipe
from tests.evaluate.colours import TINY as ARCH
from tests.evaluate.colours import coloured, make_data


def test_images_move_to_the_device_whole_unless_they_are_mapped() -> None:
    part = coloured(9)
    there = make_feed(part, "meta")
    assert (there.images.device.type, there.labels.device.type, len(there)) == ("meta", "meta", 9)
    stayed = make_feed(attrs.evolve(part, mapped=True), "meta")
    assert (stayed.images.device.type, stayed.labels.device.type) == ("cpu", "meta")
    images, labels = stayed.take(torch.tensor([3, 1]))
    assert (images.device.type, images.shape, labels.shape) == ("meta", (2, 3, 8, 8), (2,))


def test_too_many_for_the_device_stay_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    part = coloured(9)
    for free, device in ((part.images.nbytes * 2, "meta"), (part.images.nbytes * 2 - 2, "cpu")):
        monkeypatch.setattr(feed, "_free_bytes", lambda _device, free=free: free)
        assert make_feed(part, "meta").images.device.type == device


@pytest.mark.parametrize("which", [torch.tensor([5, 0, 5]), slice(2, 6)])
def test_a_batch_is_what_was_asked_for(which: torch.Tensor | slice) -> None:
    part = coloured(9)
    images, labels = make_feed(part, "cpu").take(which)
    assert torch.equal(images, part.images[which])
    assert torch.equal(labels, part.labels[which])


def test_mapped_images_give_the_same_accuracies() -> None:
    data = make_data(lift=10)
    mapped = attrs.evolve(data, train=attrs.evolve(data.train, mapped=True), val=attrs.evolve(data.val, mapped=True))
    first, other = (
        list(TrainEvaluator(each, recipe=Recipe(batch_size=8)).evaluate(ARCH, 2)) for each in (data, mapped)
    )
    assert first == other
