"""Tests of the assignment of images to splits by its properties, and of the validation of image records."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.data.base import Images, mean_and_std
from nas.data.parts import PARTS, plan, split_off, subset
from nas.errors import DataError


@st.composite
def label_tensors(draw: st.DrawFn) -> Tensor:
    counts = draw(st.lists(st.integers(3, 30), min_size=2, max_size=6))
    labels = draw(st.permutations([k for k, count in enumerate(counts) for _ in range(count)]))
    return torch.tensor(labels)


@given(label_tensors())
def test_splits_are_disjoint_and_complete_and_each_has_every_class(labels: Tensor) -> None:
    slices = plan({"train": labels}, [str(k) for k in range(int(labels.max()) + 1)], None)
    assert tuple(slices) == PARTS
    assert torch.cat([chosen.indices for chosen in slices.values()]).sort().values.tolist() == list(range(len(labels)))
    for chosen in slices.values():
        assert set(labels[chosen.indices].tolist()) == set(labels.tolist())


@given(label_tensors())
def test_a_split_taken_from_train_has_a_fifth_of_each_class(labels: Tensor) -> None:
    taken = torch.bincount(labels[split_off(labels, ("val", "test"))["val"]])
    exact = 0.2 * torch.bincount(labels)
    assert ((taken - exact).abs() <= 0.5 + (taken == 1) * 0.5).all()


@given(label_tensors(), st.data())
def test_a_subset_keeps_the_share_of_each_class(labels: Tensor, data: st.DataObject) -> None:
    classes = int(labels.max()) + 1
    images = data.draw(st.integers(classes, len(labels)))
    kept = subset(labels, images, classes)
    assert len(set(kept.tolist())) == images
    counts = torch.bincount(labels[kept], minlength=classes)
    assert counts.min() >= 1
    exact = torch.bincount(labels) * images / len(labels)
    # A class that would have no image gets one, at the expense of the other classes.
    assert ((counts - exact).abs() <= 1 + (exact < 1).sum()).all()


@given(label_tensors(), st.data())
def test_a_smaller_subset_is_contained_in_a_larger_one(labels: Tensor, data: st.DataObject) -> None:
    classes = int(labels.max()) + 1
    few, many = sorted(data.draw(st.integers(classes, len(labels))) for _ in range(2))
    assert set(subset(labels, few, classes).tolist()) <= set(subset(labels, many, classes).tolist())


def test_the_assignment_does_not_follow_the_order_of_the_source() -> None:
    val = split_off(torch.zeros(100, dtype=torch.int64), ("val",))["val"]
    assert len(val) == 20
    assert not set(val.tolist()) <= set(range(20))


def test_splits_of_the_source_are_kept_whole() -> None:
    codes = {"train": torch.tensor([0, 1] * 5), "test": torch.tensor([1, 0, 0])}
    slices = plan(codes, ("a", "b"), 4)
    assert slices["test"].origin == "test"
    assert slices["test"].indices.tolist() == [0, 1, 2]
    assert (slices["val"].origin, len(slices["val"].indices)) == ("train", 2)
    assert len(slices["train"].indices) == 4


def test_a_class_with_too_few_training_images_raises_an_error() -> None:
    codes = {"train": torch.tensor([0, 0, 0, 1]), "test": torch.tensor([0, 1, 1, 1])}
    with pytest.raises(DataError, match=r"these classes have too few images: b \(4\)"):
        plan(codes, ("a", "b"), None)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 0, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
    ids=["float images", "no channel", "one label too many", "float labels"],
)
def test_images_of_another_type_or_shape_raise_an_error(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError, match="must be"):
        Images(images, labels)


def test_images_and_labels_are_moved_together() -> None:
    moved = Images(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([1, 0])).to("meta")
    assert (moved.images.device.type, moved.labels.device.type, len(moved)) == ("meta", "meta", 2)


def test_a_constant_channel_has_a_standard_deviation_above_zero() -> None:
    mean, std = mean_and_std(torch.full((2, 3, 4, 4), 51, dtype=torch.uint8))
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert std == pytest.approx((1 / 255,) * 3)
