"""The moving average of weights, compared with its recursion computed by hand."""

import pytest
import torch
from torch import nn

from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.average import WeightAverage
from nas.train.recipe import Recipe
from tests.evaluate.colors import TINY as ARCH
from tests.evaluate.colors import make_data


def model_at(value: float) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    for name, tensor in model.state_dict().items():
        tensor.fill_(value if "num" not in name else 7)
    return model


@pytest.mark.parametrize("decay", [0.25, 0.9])
def test_weights_and_statistics_follow_the_formula(decay: float) -> None:
    average, expected = WeightAverage(model_at(0.0), decay), 0.0
    for step, value in enumerate((1.0, 4.0, -2.0, 8.0), 1):
        average.update(model_at(value))
        share = min(decay, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * value
    state = average.model.state_dict()
    floats = [float(tensor.flatten()[0]) for tensor in state.values() if tensor.is_floating_point()]
    assert len(floats) == 6
    assert floats == pytest.approx([expected] * 6, rel=1e-6)


def test_averaging_does_not_change_the_trained_weights() -> None:
    data = make_data(lift=10)
    losses: dict[float, list[float]] = {0.0: [], 0.9: []}
    accuracies = {}
    for ema, steps in losses.items():
        recipe = Recipe(batch_size=8, ema=ema)
        evaluator = TrainEvaluator(data, recipe=recipe, on_batch=lambda *step, steps=steps: steps.append(step[2]))
        accuracies[ema] = list(evaluator.evaluate(ARCH, 4))
    assert losses[0.0] == losses[0.9]
    assert accuracies[0.0] != accuracies[0.9]


def test_the_average_of_equal_weights_is_these_weights() -> None:
    model = model_at(3.0)
    average = WeightAverage(model, 0.99)
    average.update(model)
    assert all(
        torch.equal(a, b) for a, b in zip(average.model.state_dict().values(), model.state_dict().values(), strict=True)
    )
