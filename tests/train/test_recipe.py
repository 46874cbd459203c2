"""The recipe's rules and arithmetic."""

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
def test_numbers_out_of_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(NasError, match=name):
        Recipe(**{name: value})


def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    recipe = Recipe(learning_rate=2.0, warm_up=0.25)
    assert [recipe.rate(done) for done in (0, 0.125, 0.25, 0.625)] == pytest.approx([0, 1, 2, 1])
    assert recipe.rate(1) == pytest.approx(0)
    assert Recipe(learning_rate=2.0, warm_up=0).rate(0) == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vectors_are_not_decayed(name: str) -> None:
    model = build_model(preset("mnasnet-small"))
    optimizer = Recipe(optimizer=name, weight_decay=0.3).make_optimizer(model)
    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.3) for p in group["params"])
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == parameters(model)


def test_no_decay_at_all_still_trains_everything() -> None:
    model = build_model(preset("mnasnet-small"))
    groups = Recipe(weight_decay=0.0).make_optimizer(model).param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == parameters(model)


def test_nothing_of_the_architecture_is_changed_but_its_norms_momentum() -> None:
    arch = preset("efficientnet-b0")
    assert Recipe(norm_momentum=None).adapt(arch) == arch
    short = Recipe(norm_momentum=0.2).adapt(arch)
    assert short.norm == Norm(0.2, 1e-3)
    assert attrs.evolve(short, norm=arch.norm) == arch


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (63, 1), (64, 1), (127, 1), (128, 2), (1257, 19)])
def test_an_epoch_has_as_many_steps_as_full_batches(images: int, steps: int) -> None:
    assert Recipe(batch_size=64).steps(images) == steps
