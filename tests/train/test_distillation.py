"""What a teacher adds to the loss of a step, against formulas that are written out here."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas.models.build import build_model
from nas.train.distillation import Distillation, TeacherOutputs, pooled_features
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH, make_data

RANDOM = np.random.default_rng(0)
TAUGHT, LENGTHS = RANDOM.normal(size=(2, 7, 3)), RANDOM.normal(size=(2, 7, 5))
LOGITS, FEATURES = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 5))
BATCH, MIRRORED = [6, 0, 3, 3], [True, False, False, True]
OUTPUTS = TeacherOutputs(torch.tensor(TAUGHT).float(), torch.tensor(LENGTHS).float())


def divergence(temperature: float) -> float:
    """Return T² times the mean of sum(p · log(p / q)) over the images."""

    def probabilities(logits: Any) -> Any:
        powers = np.exp(logits / temperature)
        return powers / powers.sum(-1, keepdims=True)

    teacher = probabilities(np.stack([TAUGHT[int(side), i] for side, i in zip(MIRRORED, BATCH, strict=True)]))
    terms = teacher * np.log(teacher / probabilities(LOGITS))
    return float(temperature**2 * terms.sum(1).mean())


def distance() -> float:
    taught = np.stack([LENGTHS[int(side), i] for side, i in zip(MIRRORED, BATCH, strict=True)])
    return float(((FEATURES - taught) ** 2).sum() / (taught**2).sum())


def loss(distillation: Distillation, features: Any = FEATURES) -> float:
    logits, read = torch.tensor(LOGITS).float(), torch.tensor(features).float()
    return distillation.loss(torch.tensor(1.5), logits, read, torch.tensor(BATCH), torch.tensor(MIRRORED)).item()


@pytest.mark.parametrize(("share", "temperature", "weight"), [(0.5, 2.0, 0.0), (1.0, 1.0, 3.0), (0.0, 4.0, 0.5)])
def test_the_loss_is_the_one_of_the_formula(share: float, temperature: float, weight: float) -> None:
    expected = (1 - share) * 1.5 + share * divergence(temperature) + weight * distance()
    assert loss(Distillation(OUTPUTS, share, temperature, weight)) == pytest.approx(expected, rel=1e-5)


def test_features_of_another_number_of_channels_are_no_part_of_the_loss() -> None:
    expected = loss(Distillation(OUTPUTS, 0.5, 2.0, 0.0))
    assert loss(Distillation(OUTPUTS, 0.5, 2.0, 9.0), FEATURES[:, :4]) == expected


def test_the_features_are_what_the_classifier_reads() -> None:
    model = build_model(ARCH).eval()
    with pooled_features(model) as features:
        logits = model(torch.rand(2, 3, 8, 8))
    classifier = model.get_submodule("head.classifier")
    assert isinstance(classifier, nn.Linear)
    assert torch.equal(classifier(features[0]), logits)
    model(torch.rand(2, 3, 8, 8))
    assert len(features) == 1


def test_the_loss_of_a_step_has_the_teachers_part() -> None:
    data, model = make_data(8), build_model(ARCH.adapted(resolution=8, classes=3))
    outputs = TeacherOutputs(torch.zeros(2, 8, 3), torch.zeros(2, 8, 16, dtype=torch.float16))
    recipe = Recipe(batch_size=8, label_smoothing=0.0)
    nn.init.zeros_(model.get_parameter("head.classifier.weight"))
    run = TrainingRun(data, model, recipe, 1, "cpu", distillation=Distillation(outputs, 0.25, 3.0))
    # All logits are zero, so the student agrees with its teacher, and the labels' loss is that of guessing.
    step = run.step(torch.arange(8), 0.0, torch.Generator().manual_seed(0))
    assert step.item() == pytest.approx(0.75 * np.log(3), rel=1e-5)
