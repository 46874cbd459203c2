"""The draw of the parts, by its properties; and the records' own rules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.data.base import Images, mean_and_std
from nas.data.parts import PARTS, carve, plan, subset
from nas.errors import DataError


@st.composite
def label_tensors(draw: st.DrawFn) -> Tensor:
    counts = draw(st.lists(st.integers(3, 30), min_size=2, max_size=6))
    labels = draw(st.permutations([k for k, count in enumerate(counts) for _ in range(count)]))
    return torch.tensor(labels)


@given(label_tensors())
def test_parts_are_disjoint_and_whole_and_each_has_every_class(labels: Tensor) -> None:
    slices = plan({"train": labels}, [str(k) for k in range(int(labels.max()) + 1)], None)
    assert tuple(slices) == PARTS
    assert torch.cat([held.indices for held in slices.values()]).sort().values.tolist() == list(range(len(labels)))
    for held in slices.values():
        assert set(labels[held.indices].tolist()) == set(labels.tolist())


@given(label_tensors())
def test_a_carved_part_takes_a_fifth_of_each_class(labels: Tensor) -> None:
    carved = torch.bincount(labels[carve(labels, ("val", "test"))["val"]])
    exact = 0.2 * torch.bincount(labels)
    assert ((carved - exact).abs() <= 0.5 + (carved == 1) * 0.5).all()


@given(label_tensors(), st.data())
def test_a_subset_keeps_each_class_s_share(labels: Tensor, data: st.DataObject) -> None:
    classes = int(labels.max()) + 1
    images = data.draw(st.integers(classes, len(labels)))
    kept = subset(labels, images, classes)
    assert len(set(kept.tolist())) == images
    held = torch.bincount(labels[kept], minlength=classes)
    assert held.min() >= 1
    exact = torch.bincount(labels) * images / len(labels)
    # Places given to a class that would have none are taken from the others.
    assert ((held - exact).abs() <= 1 + (exact < 1).sum()).all()


@given(label_tensors(), st.data())
def test_smaller_subsets_lie_inside_larger(labels: Tensor, data: st.DataObject) -> None:
    classes = int(labels.max()) + 1
    few, many = sorted(data.draw(st.integers(classes, len(labels))) for _ in range(2))
    assert set(subset(labels, few, classes).tolist()) <= set(subset(labels, many, classes).tolist())


def test_the_draw_mixes_the_source_s_order() -> None:
    val = carve(torch.zeros(100, dtype=torch.int64), ("val",))["val"]
    assert len(val) == 20
    assert not set(val.tolist()) <= set(range(20))


def test_parts_of_the_source_are_kept_whole() -> None:
    codes = {"train": torch.tensor([0, 1] * 5), "test": torch.tensor([1, 0, 0])}
    slices = plan(codes, ("a", "b"), 4)
    assert slices["test"].origin == "test"
    assert slices["test"].indices.tolist() == [0, 1, 2]
    assert (slices["val"].origin, len(slices["val"].indices)) == ("train", 2)
    assert len(slices["train"].indices) == 4


def test_a_class_that_train_cannot_spare_is_refused() -> None:
    codes = {"train": torch.tensor([0, 0, 0, 1]), "test": torch.tensor([0, 1, 1, 1])}
    with pytest.raises(DataError, match=r"too few of b \(4\)"):
        plan(codes, ("a", "b"), None)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
    ids=["float images", "one channel", "label too many", "float labels"],
)
def test_images_of_another_form_cannot_exist(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError, match="must be"):
        Images(images, labels)


def test_images_move_with_their_labels() -> None:
    moved = Images(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([1, 0])).to("meta")
    assert (moved.images.device.type, moved.labels.device.type, len(moved)) == ("meta", "meta", 2)


def test_a_constant_channel_keeps_a_usable_spread() -> None:
    mean, std = mean_and_std(torch.full((2, 3, 4, 4), 51, dtype=torch.uint8))
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert std == pytest.approx((1 / 255,) * 3)
