"""The ranges of the recipe's values, its learning rate and its weight decay."""

from typing import Any

import attrs
import pytest

from nas.arch.presets import preset
from nas.arch.spec import Norm
from nas.errors import NasError
from nas.models.build import build_model
from nas.train.recipe import OPTIMIZERS, Recipe
from tests.models.test_build import parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer", "adam"),
        ("batch_size", 1),
        ("learning_rate", 0),
        ("warm_up", 1),
        ("weight_decay", -1),
        ("label_smoothing", 1.5),
        ("shift", -0.1),
        ("norm_momentum", 0),
        ("ema", 1),
        ("precision", "int8"),
    ],
)
def test_a_value_outside_its_range_is_named_in_the_error(name: str, value: Any) -> None:
    with pytest.raises(NasError, match=name):
        Recipe(**{name: value})


def test_the_learning_rate_rises_linearly_and_falls_to_zero() -> None:
    recipe = Recipe(learning_rate=2.0, warm_up=0.25)
    assert [recipe.learning_rate_at(done) for done in (0, 0.125, 0.25, 0.625)] == pytest.approx([0, 1, 2, 1])
    assert recipe.learning_rate_at(1) == pytest.approx(0)
    assert Recipe(learning_rate=2.0, warm_up=0).learning_rate_at(0) == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vectors_have_no_weight_decay(name: str) -> None:
    model = build_model(preset("mnasnet-small"))
    optimizer = Recipe(optimizer=name, weight_decay=0.3).make_optimizer(model)
    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.3) for p in group["params"])
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == parameters(model)


def test_without_weight_decay_all_parameters_are_still_trained() -> None:
    model = build_model(preset("mnasnet-small"))
    groups = Recipe(weight_decay=0.0).make_optimizer(model).param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == parameters(model)


def test_only_the_batch_norm_momentum_of_the_architecture_changes() -> None:
    arch = preset("efficientnet-b0")
    assert Recipe(norm_momentum=None).adapt(arch) == arch
    adapted = Recipe(norm_momentum=0.2).adapt(arch)
    assert adapted.norm == Norm(0.2, 1e-3)
    assert attrs.evolve(adapted, norm=arch.norm) == arch


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (63, 1), (64, 1), (127, 1), (128, 2), (1257, 19)])
def test_an_epoch_has_as_many_steps_as_there_are_full_batches(images: int, steps: int) -> None:
    assert Recipe(batch_size=64).steps_per_epoch(images) == steps


def test_parameters_may_have_a_learning_rate_of_their_own() -> None:
    model = build_model(preset("mnasnet-small"))
    optimizer = Recipe(weight_decay=0.3).make_optimizer(model, {"head.classifier.weight": 4.0})
    groups = {
        id(p): (group["weight_decay"], group["rate_factor"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        factor = 4.0 if name == "head.classifier.weight" else 1.0
        assert groups[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0, factor)
