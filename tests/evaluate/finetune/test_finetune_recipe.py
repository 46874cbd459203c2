"""The ranges of the values of the recipes for fine-tuning and distillation."""

from typing import Any

import attrs
import pytest

from nas.errors import NasError
from nas.evaluate.finetune.recipe import DistillationRecipe, FinetuneRecipe
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH


@pytest.mark.parametrize("name", [*attrs.fields_dict(Recipe), "head_rate"])
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


def test_networks_are_trained_without_dropout_and_stochastic_depth() -> None:
    adapted = FinetuneRecipe(norm_momentum=0.25).adapt(ARCH)
    assert (adapted.head.dropout, adapted.drop_path, adapted.norm.momentum) == (0.0, 0.0, 0.25)
    assert (adapted.stages, adapted.norm.eps) == (ARCH.stages, ARCH.norm.eps)
