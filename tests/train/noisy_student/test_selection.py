"""The selection of unlabeled images, checked by properties and by counting in plain Python."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.errors import DataError
from nas.train.noisy_student.selection import balance, describe_selection, mean_count, select


@st.composite
def probabilities(draw: st.DrawFn) -> Tensor:
    """Probabilities (N, classes) of 1 to 30 images, with ties."""
    classes = draw(st.integers(2, 5))
    rows = draw(st.lists(st.lists(st.integers(1, 9), min_size=classes, max_size=classes), min_size=1, max_size=30))
    weights = torch.tensor(rows, dtype=torch.float64)
    return weights / weights.sum(1, keepdim=True)


@given(probabilities(), st.floats(0, 1), st.none() | st.integers(1, 8))
def test_every_class_has_the_same_number_of_confident_images(
    given_to: Tensor, threshold: float, per_class: int | None
) -> None:
    confidence = [max(row) for row in given_to.tolist()]
    predicted = [row.index(max(row)) for row in given_to.tolist()]
    confident = {image for image, value in enumerate(confidence) if value >= threshold}
    if not confident:
        with pytest.raises(DataError, match="reaches the confidence"):
            select(given_to, threshold, per_class)
        return
    selection = select(given_to, threshold, per_class)
    by_class = Counter(predicted[image] for image in confident)
    each = per_class or math.ceil(len(confident) / len(by_class))
    chosen = selection.images.tolist()
    assert set(chosen) <= confident
    assert Counter(predicted[image] for image in chosen) == dict.fromkeys(by_class, each)
    for label, available in by_class.items():
        times = Counter(image for image in chosen if predicted[image] == label)
        # All images are taken before one is repeated, and no image is repeated more often than a more confident one.
        assert len(times) == min(available, each)
        assert max(times.values()) - min(times.values()) <= 1
        left = [confidence[image] for image in confident if predicted[image] == label and image not in times]
        assert all(confidence[image] >= value for image in times for value in left)
    assert torch.equal(selection.targets, given_to[selection.images])


@given(probabilities(), st.floats(0, 0.3))
def test_counts_are_those_of_the_selection(given_to: Tensor, threshold: float) -> None:
    confidence, predicted = given_to.max(1)
    if not (confidence >= threshold).any():
        return
    selection = select(given_to, threshold)
    for label, count in enumerate(selection.counts):
        chosen = [image for image in selection.images.tolist() if int(predicted[image]) == label]
        assert count.predicted == int((predicted == label).sum())
        assert count.confident == int(((predicted == label) & (confidence >= threshold)).sum())
        assert (count.kept, count.total) == (len(set(chosen)), len(chosen))


def test_the_most_confident_images_come_first_and_begin_again() -> None:
    predicted = torch.tensor([1, 0, 1, 0, 0])
    confidence = torch.tensor([0.6, 0.7, 0.9, 0.9, 0.8])
    assert balance(predicted, confidence, classes=3, per_class=3).tolist() == [3, 4, 1, 2, 0, 2]


def test_the_mean_leaves_out_classes_without_images() -> None:
    assert mean_count(torch.tensor([4, 4, 4, 4, 1]), classes=6) == 3  # 5 images of 2 classes


def test_the_report_states_every_class() -> None:
    selection = select(torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0], [0.4, 0.3, 0.3]]), 0.5, 2)
    assert describe_selection(selection, ("cat", "dog", "owl")) == (
        "3 of 4 unlabeled images reach the confidence; 3 of them are kept, 4 with repetitions",
        "class cat: 2 of 2 confident images kept, 2 with repetitions",
        "class dog: 1 of 1 confident images kept, 2 with repetitions",
        "class owl: 0 of 0 confident images kept, 0 with repetitions",
    )
