"""The ranges of the values of the recipes for fine-tuning and distillation."""

from typing import Any

import attrs
import pytest
import torch
from torch import nn

from nas.errors import NasError
from nas.evaluate.finetune.recipe import DistillationRecipe, FinetuneRecipe
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH, make_data


@pytest.mark.parametrize("name", [*attrs.fields_dict(Recipe), "head_rate", "min_steps"])
def test_a_value_outside_its_range_is_named_in_the_error(name: str) -> None:
    if name == "quiet_start":  # either value is allowed
        return
    value: Any = "none" if name in ("optimizer", "precision") else -1
    with pytest.raises(NasError, match=name):
        FinetuneRecipe(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("share", 1.5), ("temperature", 0), ("feature_weight", -1)])
def test_a_value_of_the_distillation_outside_its_range_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(NasError, match=name):
        DistillationRecipe(**{name: value})


@pytest.mark.parametrize(
    ("images", "passes", "steps"), [(240, 5, 7), (64, 15, 2), (5, 30, 1), (960, 1, 30), (2000, 1, 62)]
)
def test_an_epoch_passes_over_few_images_several_times(images: int, passes: int, steps: int) -> None:
    recipe = FinetuneRecipe(batch_size=32, min_steps=30)
    assert recipe.passes_per_epoch(images) == passes
    assert recipe.steps_per_epoch(images) == passes * steps


@pytest.mark.parametrize("count", [5, 33])
def test_each_pass_of_an_epoch_has_every_image_once_in_an_order_of_its_own(count: int) -> None:
    recipe = FinetuneRecipe(batch_size=8, min_steps=8)
    run = TrainingRun(make_data(count), nn.Linear(1, 1), recipe, 1, "cpu")
    indices = torch.split(torch.cat(run.shuffled_batches(torch.Generator())), count)
    assert len(indices) == recipe.passes_per_epoch(count) > 1
    assert all(sorted(order.tolist()) == list(range(count)) for order in indices)
    assert len({tuple(order.tolist()) for order in indices}) == len(indices)


def test_networks_are_trained_without_dropout_and_stochastic_depth() -> None:
    adapted = FinetuneRecipe(norm_momentum=0.25).adapt(ARCH)
    assert (adapted.head.dropout, adapted.drop_path, adapted.norm.momentum) == (0.0, 0.0, 0.25)
    assert (adapted.stages, adapted.norm.eps) == (ARCH.stages, ARCH.norm.eps)
