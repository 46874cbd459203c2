"""Recipes as YAML: exact inverses, presets, and files that break a rule."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import NasError
from nas.train.recipes.files import MOST_BYTES, PRESETS, format_recipe, load_recipe, parse_recipe, preset_text
from nas.train.recipes.schema import VALUES, TrainingRecipe
from nas.train.recipes.values import Names, Numbers
from tests.train.recipes.golden import path_of


def allowed(values: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the allowed values of a key."""
    if isinstance(values, Names):
        return st.sampled_from(values.names)
    if not isinstance(values, Numbers):
        return st.booleans()
    high = min(values.high, 1e12)
    numbers: st.SearchStrategy[Any] = (
        st.integers(int(values.low), int(high))
        if values.whole
        else st.floats(values.low, high, exclude_min=values.above, exclude_max=values.below)
    )
    return st.none() | numbers if values.optional else numbers


KEYS = attrs.fields_dict(TrainingRecipe)
FREE = [name for name in KEYS if name not in ("batch_size", "accumulation")]
# The images of AugMix are not mixed with others.
RECIPES = st.fixed_dictionaries({}, optional={name: allowed(KEYS[name].metadata[VALUES]) for name in FREE}).filter(
    lambda values: values.get("policy") != "augmix" or not (values.get("mixup") or values.get("cutmix"))
)


@settings(max_examples=20, deadline=None)
@given(RECIPES)
def test_parsing_a_formatted_recipe_gives_the_same_recipe(given_values: dict[str, Any]) -> None:
    recipe = TrainingRecipe(**given_values)
    text = format_recipe(recipe)
    assert parse_recipe(text, "it") == recipe
    assert set(yaml.safe_load(text)) == set(KEYS)  # any other program can read it


def outcome(text: str) -> TrainingRecipe | str:
    """Return the recipe of a text, or the first line of its message."""
    try:
        return parse_recipe(text, "it.yaml")
    except NasError as error:
        return error.problem


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda data: data.decode("latin-1")))
def test_any_text_gives_a_recipe_or_one_message(text: str) -> None:
    result = outcome(text)
    assert isinstance(result, TrainingRecipe) or result.startswith("it.yaml: ")


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(list(KEYS)), st.text(max_size=20) | st.floats() | st.integers(), max_size=3))
def test_any_values_give_a_recipe_or_one_message(values: dict[str, Any]) -> None:
    result = outcome(yaml.safe_dump(values))
    assert isinstance(result, TrainingRecipe) or result.startswith("it.yaml: ")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_its_golden_complete_form(name: str) -> None:
    assert format_recipe(load_recipe(name)) == path_of(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_explains_itself(name: str) -> None:
    assert preset_text(name).startswith("# ")


def test_the_presets_have_the_figures_of_their_papers() -> None:
    net = load_recipe("efficientnet")
    assert (net.optimizer, net.square_decay, net.momentum, net.epsilon) == ("rmsprop-tf", 0.9, 0.9, 1e-3)
    assert (net.weight_decay, net.learning_rate, net.rate_batch) == (1e-5, 0.016, 256)
    assert (net.ema, net.label_smoothing, net.epochs, net.drop_path) == (0.9999, 0.1, 350, 0.2)
    assert (net.warm_up * net.epochs, net.step_share * net.epochs) == pytest.approx((5, 2.4), rel=1e-4)
    tricks = load_recipe("bag-of-tricks")
    assert (tricks.optimizer, tricks.mixup, tricks.label_smoothing, tricks.quiet_start) == ("sgd", 0.2, 0.1, True)
    assert (tricks.rate_rule, tricks.schedule, tricks.decay_vectors) == ("linear", "cosine", False)
    a2 = load_recipe("timm-a2")
    assert (a2.mixup, a2.cutmix, a2.drop_path, a2.randaugment_magnitude, a2.epochs) == (0.1, 1, 0.05, 7, 300)


def test_a_file_changes_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: fast\nepochs: 3\nlearning_rate: 1e-2\ngradient_clip: 1\n")
    fast = load_recipe("fast")
    assert load_recipe(str(path)) == attrs.evolve(fast, epochs=3, learning_rate=0.01, gradient_clip=1.0)


def test_an_empty_file_has_the_defaults() -> None:
    assert parse_recipe("# nothing\n", "it") == TrainingRecipe()


ALIASES = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lerning_rate: 1", ("'lerning_rate' is not known", "label_smoothing", "use learning_rate")),
        ("schedule: cosin", ("schedule of the recipe is 'cosin'", "one of cosine, linear, one-cycle, step")),
        ("epochs: 0", ("epochs of the recipe is 0", "a whole number from 1 to 100000")),
        ("epochs: 2.5", ("epochs of the recipe is '2.5'", "a whole number")),
        ("epochs: ten", ("epochs of the recipe is 'ten'", "a whole number")),
        ("epochs:", ("epochs of the recipe is ''", "a whole number")),
        ("epochs: null", ("epochs of the recipe is 'null'", "a whole number")),
        ("ema: .inf", ("ema of the recipe is '.inf'",)),
        ("ema: nan", ("ema of the recipe is nan", "from 0 to below 1")),
        ("quiet_start: yes", ("quiet_start of the recipe is 'yes'", "true or false")),
        ("epochs: [1, 2]", ("epochs of the recipe must be a single value",)),
        ("epochs: 1\nepochs: 2", ("'epochs' is given twice",)),
        ("base: fats", ("base of the recipe is 'fats'", "use fast")),
        ("batch_size: 4\naccumulation: 4", ("batch_size of the recipe is 4 and accumulation is 4",)),
        ("- epochs", ("a recipe must have lines of a key and a value",)),
        ("epochs: [", ("is not YAML",)),
        ("[" * 15_000, ("is not YAML",)),
        (f"epochs: {'9' * 10_000}", ("epochs of the recipe is '9",)),
        (ALIASES, ("'a' is not known",)),
        ("epochs: !!python/object/apply:os.system [exit]", ("epochs of the recipe must be a single value",)),
    ],
)
def test_a_file_that_breaks_a_rule_is_one_message_with_its_name(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(NasError) as error:
        parse_recipe(text, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: ")
    assert len(str(error.value)) < 1500
    for part in parts:
        assert part in str(error.value)


def test_a_name_that_is_neither_a_preset_nor_a_file_is_an_error_with_the_presets(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="finetune, fast, efficientnet, bag-of-tricks, timm-a2") as error:
        load_recipe("bagoftricks")
    assert error.value.remedy.startswith("use bag-of-tricks")
    with pytest.raises(NasError, match="no such file"):
        load_recipe("null\0character")
    with pytest.raises(NasError, match="cannot be read"):
        load_recipe(str(tmp_path))
    large = tmp_path / "large.yaml"
    large.write_text("#" * (MOST_BYTES + 1))
    with pytest.raises(NasError, match="larger than 20,000 bytes"):
        load_recipe(str(large))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"\xff\xfe")
    with pytest.raises(NasError, match="cannot be read"):
        load_recipe(str(latin))
