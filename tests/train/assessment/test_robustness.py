"""Robustness of classifiers whose answers are known."""

import json

import numpy as np
import pytest
import torch
from attrs import frozen
from torch import Tensor

from nas.data.backgrounds import Masked
from nas.data.base import Images
from nas.data.corruptions.kinds import KINDS
from nas.train.assessment.robustness import Robustness, Subject, measure_robustness


@frozen
class Constant:
    """Always the same class."""

    answer: int
    classes: tuple[str, ...] | None = ("dark", "bright")
    form: tuple[int, int] = (16, 3)

    def logits(self, images: Images) -> Tensor:
        return torch.nn.functional.one_hot(torch.full((len(images),), self.answer), 2).float()


@frozen
class Brightness:
    """Bright or dark, by the middle of the image."""

    classes: tuple[str, ...] | None = ("dark", "bright")
    form: tuple[int, int] = (16, 3)

    def logits(self, images: Images) -> Tensor:
        mean = images.images[..., 6:10, 6:10].float().mean((1, 2, 3)) / 255
        return torch.stack((0.5 - mean, mean - 0.5), 1)


def bright_and_dark(count: int = 12) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 40, (count, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    return (40 + 140 * labels.view(-1, 1, 1, 1) + noise).to(torch.uint8), labels


@pytest.fixture(name="found", scope="module")
def _found() -> Robustness:
    images, labels = bright_and_dark()
    masks = torch.zeros(len(images), 1, 16, 16, dtype=torch.bool)
    masks[..., 4:12, 4:12] = True
    subjects = [Subject("mine", Brightness(), labels), Subject("base", Constant(0), labels)]
    return measure_robustness(subjects, images, Masked(images, labels, masks, torch.arange(12)), masks="given")


def test_a_constant_answer_is_wrong_equally_often_everywhere(found: Robustness) -> None:
    base = found.baseline
    assert base is not None
    assert base.clean.value == base.mean_corruption_error.value == 0.5
    assert {cell.accuracy.value for cell in base.corruptions} == {0.5}
    assert {each.same.value for each in base.perturbations} == {1.0}
    assert {each.accuracy.value for each in base.backgrounds} == {0.5}
    assert base.background_gap is not None
    assert base.background_gap.value == 0


def test_errors_are_compared_with_those_of_the_baseline_on_the_same_images(found: Robustness) -> None:
    assert found.against is not None
    own = 1 - np.array([cell.accuracy.value for cell in found.network.corruptions])
    assert len(own) == 5 * len(KINDS)
    assert found.network.mean_corruption_error.value == pytest.approx(own.mean())
    assert found.against.error_difference.value == pytest.approx(own.mean() - 0.5)
    relative = found.against.relative_error
    assert relative is not None
    # The baseline has the error 0.5 under every corruption.
    assert relative.value == pytest.approx(own.mean() / 0.5)
    assert relative.low <= relative.value <= relative.high


def test_the_middle_of_an_image_does_not_depend_on_its_background(found: Robustness) -> None:
    accuracies = {each.background: each.accuracy.value for each in found.network.backgrounds}
    assert found.network.clean.value == 1
    assert {accuracies[name] for name in accuracies if name != "only the background"} == {1.0}
    assert found.masked == 12


def test_the_report_is_plain_json_and_the_same_again(found: Robustness) -> None:
    text = json.dumps(found.as_json(), allow_nan=False)
    images, labels = bright_and_dark()
    again = measure_robustness([Subject("mine", Brightness(), labels)], images)
    assert json.loads(text)["network"]["corruptions"] == again.as_json()["network"]["corruptions"]
    assert (again.masks, again.masked, again.baseline, again.against) == ("none", 0, None, None)
    assert again.network.background_gap is None


def test_a_baseline_without_errors_gives_no_relative_error() -> None:
    images, labels = bright_and_dark()
    subjects = [Subject("mine", Brightness(), 0 * labels), Subject("base", Constant(0), 0 * labels)]
    against = measure_robustness(subjects, images).against
    assert against is not None
    assert against.relative_error is None
