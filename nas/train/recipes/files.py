"""Recipes as YAML files: one `key: value` on each line, with the presets beside this module.

base: finetune        # a preset whose values the file changes; without it, the defaults of all keys
epochs: 30
learning_rate: 5e-4
"""

import difflib
import reprlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
import yaml

from nas.errors import NasError
from nas.files import read_text
from nas.train.defaults import RECIPE_NAMES
from nas.train.recipes.schema import VALUES, TrainingRecipe
from nas.train.recipes.values import Values, format_value

PRESETS = RECIPE_NAMES
# Key of a file that names a preset.
BASE = "base"
MOST_BYTES = 20_000


def load_recipe(name_or_path: str) -> TrainingRecipe:
    """Return the recipe of a preset or of a YAML file.

    Args:
        name_or_path: Name of a preset, or path of a file.

    Raises:
        NasError: There is no such preset or file, or the file breaks a rule. The message names the key.

    >>> load_recipe("efficientnet").optimizer
    'rmsprop-tf'
    """
    return read_preset(name_or_path) if name_or_path in PRESETS else _read_file(Path(name_or_path))


def read_preset(name: str) -> TrainingRecipe:
    """Return the recipe of a preset of `PRESETS`."""
    return parse_recipe(preset_text(name), name)


def preset_text(name: str) -> str:
    """Return the text of a preset's file, whose comments name its sources."""
    return files("nas.train.recipes").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")


def _read_file(path: Path) -> TrainingRecipe:
    try:
        text = read_text(path, MOST_BYTES)
    except (FileNotFoundError, ValueError):
        raise NasError(
            f"recipe {str(path)!r} is not known, and no such file exists; a recipe is one of {', '.join(PRESETS)}, or "
            "a YAML file",
            f"use {nearest(str(path), PRESETS)}, or give the path of a file",
        ) from None
    except OSError as error:
        problem = error.strerror or error
        raise NasError(f"{path}: the recipe cannot be read: {problem}", "give a readable YAML file") from None
    return parse_recipe(text, str(path))


def parse_recipe(text: str, file: str) -> TrainingRecipe:
    """Return the recipe of a YAML text; keys that it does not name have the values of `base`, or their defaults.

    Args:
        text: Text in YAML.
        file: Name of the file for error messages.

    Raises:
        NasError: The text breaks a rule. The message names the file and the key.

    >>> parse_recipe("{epochs: 3, learning_rate: 1e-2}", "mine.yaml").learning_rate
    0.01
    >>> parse_recipe("lerning_rate: 1e-2", "mine.yaml")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    nas.errors.NasError: mine.yaml: the key 'lerning_rate' is not known; the keys of a recipe are base, epochs, ...
      use learning_rate
    """
    given = _read_pairs(text, file)
    base = _base(given.pop(BASE, ""), file)
    values = {name: _parse_value(name, value, file) for name, value in given.items()}
    try:
        return attrs.evolve(base, **values)
    except NasError as error:
        raise NasError(f"{file}: {error.problem}", error.remedy) from None


def format_recipe(recipe: TrainingRecipe) -> str:
    """Return the complete YAML text of a recipe, all keys included; `parse_recipe` reads it back.

    >>> format_recipe(TrainingRecipe()).splitlines()[:3]
    ['epochs: 20', 'batch_size: 32', 'accumulation: 1']
    """
    values = attrs.asdict(recipe)
    return "".join(f"{name}: {format_value(value)}\n" for name, value in values.items())


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the most similar known name.

    >>> nearest("label_smothing", ("loss", "label_smoothing"))
    'label_smoothing'
    """
    return max(known, key=lambda each: difflib.SequenceMatcher(None, name, each).ratio())


def _base(name: str, file: str) -> TrainingRecipe:
    if not name:
        return TrainingRecipe()
    if name not in PRESETS:
        raise NasError(
            f"{file}: {BASE} of the recipe is {reprlib.repr(name)}; it must be one of {', '.join(PRESETS)}",
            f"use {nearest(name[:80], PRESETS)}",
        )
    return read_preset(name)


def _read_pairs(text: str, file: str) -> dict[str, str]:
    """Return the keys and the texts of their values, which are not converted yet.

    The text is only split into nodes, so that no value can stand for more than its own characters, and no tag makes an
    object.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = reprlib.repr(" ".join(str(error).split()))
        raise NasError(f"{file}: the recipe is not YAML: {problem}", "write lines such as `epochs: 20`") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise NasError(f"{file}: a recipe must have lines of a key and a value", "write lines such as `epochs: 20`")
    pairs: dict[str, str] = {}
    for key, value in root.value:
        name = _key_name(key, file)
        if name in pairs:
            raise NasError(f"{file}: the key {name!r} is given twice; each key may be given once", "remove one of them")
        if not isinstance(value, yaml.ScalarNode):
            raise NasError(f"{file}: {name} of the recipe must be a single value", f"give one value for {name}")
        pairs[name] = value.value
    return pairs


def _key_name(key: yaml.Node, file: str) -> str:
    known = (BASE, *attrs.fields_dict(TrainingRecipe))
    name: str = key.value if isinstance(key, yaml.ScalarNode) else ""
    if name not in known:
        raise NasError(
            f"{file}: the key {reprlib.repr(name)} is not known; the keys of a recipe are {', '.join(known)}",
            f"use {nearest(name[:80], known)}",
        )
    return name


def _parse_value(name: str, text: str, file: str) -> Any:
    values: Values = attrs.fields_dict(TrainingRecipe)[name].metadata[VALUES]
    try:
        return values.parse(text)
    except ValueError:
        raise NasError(
            f"{file}: {name} of the recipe is {reprlib.repr(text)}; it must be {values.rule}", f"change {name}"
        ) from None
