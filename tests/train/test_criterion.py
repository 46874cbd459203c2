"""Losses of batches, compared with their closed forms."""

import math

import attrs
import pytest
import torch
from torch.nn import functional

from nas.train.criterion import Criterion, jensen_shannon
from nas.train.recipes.schema import TrainingRecipe

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
LABELS = torch.tensor([0, 2])


def test_the_squared_loss_is_that_of_the_paper() -> None:
    """Hui and Belkin: (1 / C) · (k · (f_true - M)² + the sum of the squares of the others), the mean over images."""
    recipe = TrainingRecipe(loss="squared", label_smoothing=0, squared_weight=15, squared_target=30)
    rows = (15 * (1 - 30) ** 2 + 4 + 0.25, 15 * (1 - 30) ** 2 + 0 + 9)
    assert Criterion(recipe, 3)((LOGITS,), LABELS).item() == pytest.approx(sum(rows) / 3 / 2)


def test_the_squared_loss_of_few_classes_is_the_mean_squared_error() -> None:
    recipe = TrainingRecipe(loss="squared", label_smoothing=0)
    expected = functional.mse_loss(LOGITS, functional.one_hot(LABELS, 3).float())
    assert Criterion(recipe, 3)((LOGITS,), LABELS).item() == pytest.approx(expected.item())


def test_smoothed_squared_targets_are_between_the_labels_and_all_classes() -> None:
    recipe = TrainingRecipe(loss="squared", label_smoothing=0.3)
    targets = functional.one_hot(LABELS, 3) * 0.7 + 0.1
    expected = (LOGITS - targets).square().mean()
    assert Criterion(recipe, 3)((LOGITS,), LABELS).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_certain_probabilities_give_the_loss_of_their_labels(loss: str, smoothing: float) -> None:
    criterion = Criterion(TrainingRecipe(loss=loss, label_smoothing=smoothing, squared_weight=4), 3)
    by_label = criterion((LOGITS,), LABELS)
    by_probability = criterion((LOGITS,), functional.one_hot(LABELS, 3).float())
    assert by_probability.item() == pytest.approx(by_label.item())


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
def test_the_loss_of_guessing_is_that_of_logits_of_zero(loss: str) -> None:
    criterion = Criterion(TrainingRecipe(loss=loss, label_smoothing=0, squared_weight=2, squared_target=3), 3)
    assert criterion((torch.zeros(2, 3),), LABELS).item() == pytest.approx(criterion.guessing)


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_the_jensen_shannon_divergence_is_its_definition() -> None:
    views = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]
    mixture = [sum(column) / 3 for column in zip(*views, strict=True)]
    expected = sum(divergence(view, mixture) for view in views) / 3
    logits = tuple(torch.tensor([view]).log() for view in views)
    assert jensen_shannon(logits).item() == pytest.approx(expected, rel=1e-5)
    assert jensen_shannon((LOGITS, LOGITS)).item() == pytest.approx(0, abs=1e-7)


def test_augmix_adds_twelve_times_the_divergence_to_the_loss_of_the_clean_view() -> None:
    criterion = Criterion(TrainingRecipe(policy="augmix"), 3)
    views = (LOGITS, LOGITS + 1.5, LOGITS.flip(1))
    expected = criterion((LOGITS,), LABELS) + 12 * jensen_shannon(views)
    assert criterion(views, LABELS).item() == pytest.approx(expected.item())
    light = attrs.evolve(criterion, recipe=TrainingRecipe(policy="augmix", augmix_weight=0))
    assert light(views, LABELS).item() == pytest.approx(criterion((LOGITS,), LABELS).item())
