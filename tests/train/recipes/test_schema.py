"""The keys of a complete recipe: their ranges, what they share with the search's, and what follows from them."""

import math
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from torch import nn
from torch.optim import Optimizer

from nas.arch.presets import preset
from nas.errors import NasError
from nas.models.build import build_model
from nas.train.optimizers import TensorFlowRMSprop
from nas.train.recipe import NO_FACTORS, Recipe
from nas.train.recipes.files import load_recipe
from nas.train.recipes.schema import TrainingRecipe, complete, describe_keys
from tests.train.recipes.golden import HEADER, PAGE, page_with_table, table

OUTSIDE: dict[str, Any] = {
    "epochs": 0,
    "batch_size": 1,
    "min_steps": -1,
    "min_total_steps": 1.5,
    "accumulation": 0,
    "precision": "int8",
    "cuda_graphs": 1,
    "optimizer": "adam",
    "momentum": 1,
    "square_decay": -0.1,
    "epsilon": 0,
    "learning_rate": math.inf,
    "rate_rule": "square",
    "rate_batch": 0,
    "head_rate": 0,
    "bias_rate": -1,
    "layer_rate": 1.5,
    "weight_decay": -1,
    "decay_vectors": None,
    "gradient_clip": 0,
    "schedule": "cosin",
    "warm_up": 1,
    "initial_rate": 1.1,
    "final_rate": -0.1,
    "step_share": 0,
    "step_factor": 0,
    "quiet_start": "yes",
    "norm_momentum": 0,
    "dropout": 1,
    "drop_path": 1,
    "ema": 1,
    "loss": "hinge",
    "label_smoothing": 1,
    "squared_weight": 0,
    "squared_target": math.nan,
    "shift": 1,
    "flip": "always",
    "crop": 0,
    "policy": "trivial",
    "randaugment_operations": 16,
    "randaugment_magnitude": 30,
    "augmix_weight": -1,
    "augmix_severity": 11,
    "augmix_width": 0,
    "augmix_depth": 2.5,
    "erasing": 1.1,
    "mixup": -0.1,
    "cutmix": 101,
    "initial_resolution": 0,
    "full_resolution_from": 0,
    "resolution_multiple": 0,
    "teacher_share": 2,
    "teacher_temperature": 0,
}


@pytest.mark.parametrize("name", attrs.fields_dict(TrainingRecipe))
def test_a_value_outside_its_range_is_an_error_with_the_key_and_the_range(name: str) -> None:
    rules = {key: rule for key, rule, _, _ in describe_keys()}
    with pytest.raises(NasError) as error:
        TrainingRecipe(**{name: OUTSIDE[name]})
    assert error.value.problem.startswith(f"{name} of the recipe is ")
    assert error.value.problem.endswith(f"it must be {rules[name]}")


def test_a_batch_cannot_be_divided_into_parts_of_a_single_image() -> None:
    TrainingRecipe(batch_size=16, accumulation=8)
    with pytest.raises(NasError, match="accumulation is 9"):
        TrainingRecipe(batch_size=16, accumulation=9)


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_views_of_mixed_images_are_not_compared(key: str) -> None:
    mixed: dict[str, Any] = {key: 0.2}
    with pytest.raises(NasError, match="augmix cannot be used together with mixup"):
        TrainingRecipe(policy="augmix", **mixed)


def test_a_recipe_of_a_search_stays_the_same_and_gets_no_further_technique() -> None:
    recipe = Recipe(optimizer="rmsprop", learning_rate=0.5, shift=0.25, norm_momentum=None, quiet_start=False)
    full = complete(recipe)
    assert {name: getattr(full, name) for name in attrs.fields_dict(Recipe)} == attrs.asdict(recipe)
    assert complete(Recipe()) == TrainingRecipe()
    assert complete(full) is full
    off = {"mixup", "cutmix", "erasing", "gradient_clip", "cuda_graphs"}
    assert {getattr(full, name) for name in off} == {0.0, None}
    assert (full.policy, full.crop, full.initial_resolution, full.accumulation) == ("none", 1, 1, 1)


@pytest.mark.parametrize("done", [0.0, 0.1, 0.25, 0.6, 1.0])
def test_the_learning_rate_is_that_of_a_recipe_of_a_search(done: float) -> None:
    recipe = Recipe(learning_rate=0.3)
    assert complete(recipe).learning_rate_at(done) == pytest.approx(recipe.learning_rate_at(done), rel=1e-12)


@pytest.mark.parametrize(("rule", "rate"), [("none", 0.1), ("linear", 0.4), ("root", 0.2)])
def test_the_learning_rate_grows_with_the_batch(rule: str, rate: float) -> None:
    recipe = TrainingRecipe(learning_rate=0.1, rate_rule=rule, rate_batch=256, batch_size=1024, warm_up=0)
    assert recipe.peak_rate == pytest.approx(rate)
    assert recipe.learning_rate_at(0) == pytest.approx(rate)


def test_the_architecture_gets_dropout_and_stochastic_depth() -> None:
    arch = preset("efficientnet-b0")
    same = TrainingRecipe(norm_momentum=None)
    assert same.adapt(arch) == arch
    adapted = attrs.evolve(same, dropout=0.5, drop_path=0.3).adapt(arch)
    assert (adapted.head.dropout, adapted.drop_path) == (0.5, 0.3)
    assert attrs.evolve(adapted, head=arch.head, drop_path=arch.drop_path) == arch


def test_half_a_batch_is_twice_the_parts_of_the_same_step() -> None:
    recipe = TrainingRecipe(batch_size=32, learning_rate=0.3)
    assert recipe.with_half_batch() == attrs.evolve(recipe, accumulation=2)
    quarter = attrs.evolve(recipe, accumulation=4)
    assert attrs.evolve(recipe, accumulation=2).with_half_batch() == quarter
    assert quarter.with_half_batch() is None  # parts of 4 images


def test_few_images_are_passed_over_repeatedly() -> None:
    recipe = TrainingRecipe(batch_size=32, min_steps=30)
    # 240 images are 7 steps, and 5 times as many are 35.
    assert (recipe.passes_per_epoch(240), recipe.steps_per_epoch(240)) == (5, 35)
    assert (recipe.passes_per_epoch(2000), recipe.steps_per_epoch(2000)) == (1, 62)


@pytest.mark.parametrize(("images", "batch"), [(100, 32), (10_000, 100), (40_000, 400), (60_000, 512)])
def test_a_short_run_has_smaller_batches_and_a_rate_that_suits_them(images: int, batch: int) -> None:
    recipe = TrainingRecipe(batch_size=512, min_total_steps=500, epochs=5, learning_rate=0.2, rate_rule="linear")
    fitted = recipe.fitted(images)
    assert fitted == attrs.evolve(recipe, batch_size=batch)
    assert fitted.peak_rate == pytest.approx(0.2 * batch / 256)
    assert attrs.evolve(recipe, min_total_steps=0).fitted(images).batch_size == 512


def test_the_recipe_fast_has_large_batches_for_many_images_and_enough_steps_for_few() -> None:
    fast = load_recipe("fast")
    # The accuracies of experiments/gpu were measured with these batches and this rate.
    assert (fast.fitted(50_000).batch_size, fast.fitted(50_000).peak_rate) == (512, 0.4)
    for images in (1200, 8000):
        assert fast.fitted(images).steps_per_epoch(images) >= 31
    assert load_recipe("finetune").steps_per_epoch(300) >= 30


def rates_of(
    recipe: TrainingRecipe, model: nn.Module, factors: Mapping[str, float] = NO_FACTORS
) -> dict[str, list[float]]:
    """Return each parameter's weight decay and factor of the learning rate."""
    groups = recipe.make_optimizer(model, factors)
    found = {id(p): [g["weight_decay"], g["rate_factor"]] for g in groups.param_groups for p in g["params"]}
    return {name: found[id(parameter)] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop", "rmsprop-tf"])
def test_learning_rates_fall_from_the_head_to_the_stem_and_vectors_have_no_decay(optimizer: str) -> None:
    recipe = TrainingRecipe(optimizer=optimizer, layer_rate=0.5, head_rate=2, bias_rate=3, weight_decay=0.25)
    rates = rates_of(recipe, build_model(preset("mnasnet-small")))
    assert rates["head.classifier.weight"] == [0.25, 2]
    assert rates["head.classifier.bias"] == [0, 6]
    # The network has 7 stages: the last one is a step away from the head, the stem is eight steps away.
    assert rates["stages.6.0.project.conv.weight"] == [0.25, 0.5]
    assert rates["stages.0.0.depthwise.conv.weight"] == [0.25, 0.5**7]
    assert rates["stages.0.0.depthwise.norm.bias"] == [0, 3 * 0.5**7]
    assert next(rate for name, rate in rates.items() if name.startswith("stem.")) == [0.25, 0.5**8]


def test_given_factors_take_the_place_of_those_by_depth() -> None:
    recipe = TrainingRecipe(layer_rate=0.5, head_rate=2, decay_vectors=True, weight_decay=0.25)
    model = build_model(preset("mnasnet-small"))
    rates = rates_of(recipe, model, {"head.classifier.bias": 5.0})
    assert rates["head.classifier.bias"] == [0.25, 5]
    assert rates["head.classifier.weight"] == [0.25, 2]


def test_constants_reach_the_optimizer() -> None:
    model = nn.Linear(2, 2)
    recipe = TrainingRecipe(optimizer="rmsprop-tf", momentum=0.7, square_decay=0.8, epsilon=0.01)
    made: Optimizer = recipe.make_optimizer(model)
    assert type(made) is TensorFlowRMSprop
    assert [made.defaults[name] for name in ("momentum", "alpha", "eps")] == [0.7, 0.8, 0.01]
    adamw = attrs.evolve(recipe, optimizer="adamw").make_optimizer(model).defaults
    assert (adamw["betas"], adamw["eps"]) == ((0.7, 0.8), 0.01)
    sgd = attrs.evolve(recipe, optimizer="sgd").make_optimizer(model).defaults
    assert (sgd["momentum"], sgd["nesterov"]) == (0.7, True)


def test_the_page_on_training_has_the_table_of_all_keys() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert HEADER in page
    assert table() in page
    assert page_with_table(page) == page
