"""Tests of the assignment of images to splits by its properties, and of the validation of image records."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.data.base import Images, mean_and_std
from nas.data.parts import PARTS, describe_validation, plan, split_off, subset
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
    assert (slices["val"].origin, len(slices["val"].indices)) == ("train", 4)
    assert len(slices["train"].indices) == 4


def sizes(images: int, validation: float | None = None, **others: Tensor) -> list[int]:
    """Sizes of the three splits of two equal classes."""
    codes = {"train": torch.arange(images) % 2, **others}
    return [len(chosen.indices) for chosen in plan(codes, ("a", "b"), None, validation).values()]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (310, [148, 100, 62]),  # two fifths of the 248 that are not for the test
        (1000, [480, 320, 200]),
        (1400, [770, 350, 280]),  # less than two fifths are enough
        (2060, [1236, 412, 412]),  # a fifth is more than enough
    ],
)
def test_a_small_set_validates_on_more_than_a_fifth(images: int, expected: list[int]) -> None:
    assert sizes(images) == expected
    assert sizes(images, 0.2) == [round(0.6 * images), round(0.2 * images), round(0.2 * images)]


def test_a_set_with_a_test_split_keeps_it_and_validates_on_two_fifths() -> None:
    assert sizes(200, test=torch.tensor([0, 1, 0, 1])) == [120, 80, 4]


@given(label_tensors(), st.floats(0.01, 0.5))
def test_the_test_split_does_not_depend_on_the_validation_share(labels: Tensor, share: float) -> None:
    usual, other = (split_off(labels, ("val", "test"), value) for value in (0.2, share))
    assert usual["test"].tolist() == other["test"].tolist()
    smaller, larger = sorted((usual["val"].tolist(), other["val"].tolist()), key=len)
    assert set(smaller) <= set(larger)
    assert set(labels[other["train"]].tolist()) == set(labels.tolist())


def test_a_share_that_cannot_be_taken_is_an_error() -> None:
    for share in (0.0, -0.1, 0.51, float("nan")):
        with pytest.raises(DataError, match=r"must be above 0 and at most 0\.5"):
            sizes(100, share)
    with pytest.raises(DataError, match="a validation split of its own"):
        sizes(100, 0.3, val=torch.tensor([0, 1]))


def test_a_note_says_how_many_images_validate_where_it_is_not_a_fifth() -> None:
    def notes(images: int, share: float | None = None) -> str:
        codes = {"train": torch.arange(images) % 2}
        return " ".join(describe_validation(codes, plan(codes, ("a", "b"), None, share), share))

    assert notes(310).startswith("100 of 248 images validate, because the set is small")
    assert "a fifth of all, 62, would be too few" in notes(310)
    assert notes(310, 0.3) == "92 of 248 images validate, the share 0.3 that was asked for"
    assert notes(310, 0.2) == notes(2060) == ""


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
