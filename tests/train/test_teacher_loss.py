"""The loss of a step with a teacher, in closed form."""

import math

import pytest
import torch
from torch import Generator, Tensor

from nas.models.build import build_model
from nas.train.loop import TrainingRun
from nas.train.recipes.schema import TrainingRecipe
from tests.evaluate.colors import TINY, make_data

# A teacher that gives every image the probabilities p^(1/T) / sum at temperature T.
PROBABILITIES = (0.5, 0.25, 0.25)


def teacher(images: Tensor) -> Tensor:
    return torch.tensor(PROBABILITIES).log().expand(len(images), 3)


@pytest.mark.parametrize(("share", "temperature"), [(0.25, 1.0), (0.5, 4.0), (0.9, 0.5)])
def test_the_loss_is_that_of_hinton(share: float, temperature: float) -> None:
    torch.manual_seed(0)
    model = build_model(TINY.adapted(resolution=8, classes=3))
    torch.nn.init.zeros_(model.get_parameter("head.classifier.weight"))
    torch.nn.init.zeros_(model.get_parameter("head.classifier.bias"))
    recipe = TrainingRecipe(
        epochs=1, batch_size=8, label_smoothing=0.0, teacher_share=share, teacher_temperature=temperature
    )
    run = TrainingRun(make_data(), model, recipe, 1, "cpu", teacher=teacher)
    loss = run.step(torch.arange(8), 0.0, Generator().manual_seed(0)).item()
    powers = [p ** (1 / temperature) for p in PROBABILITIES]
    softened = [power / sum(powers) for power in powers]
    # The student gives each class 1/3 at every temperature.
    divergence = sum(p * math.log(3 * p) for p in softened)
    expected = (1 - share) * math.log(3) + share * temperature**2 * divergence
    assert loss == pytest.approx(expected, abs=1e-5)
