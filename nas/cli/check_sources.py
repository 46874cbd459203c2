"""The evaluators that `nas check` compares, as they are written on its command line."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from nas.cli.evaluators import FORMS, TRAIN, ZERO_COST, make_evaluator, split
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.data.base import ImageData
    from nas.evaluate.base import Evaluator, Evaluators
    from nas.fidelity.collect import Source
    from nas.space.decode import SearchSpace

# A training's own settings, each with the least it can be.
SETTINGS: Mapping[str, int] = MappingProxyType({"epochs": 1, "resolution": 4, "images": 2, "networks": 5})
SPEC = f"{TRAIN}[:epochs=E,resolution=R,images=I,networks=N]"
SEEDED = (ZERO_COST,)  # of those that train nothing: other seeds give other verdicts
LONGER = 4  # times the epochs of a search, for what is held to be true
Made = Mapping[str, Any]


def read_settings(text: str) -> dict[str, int]:
    """What follows `train:`, by name.

    Raises:
        NasError: it is no setting of a training, or no number in its range.
    """
    found: dict[str, int] = {}
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        if name not in SETTINGS or name in found or not re.fullmatch(r"\d{1,9}", value) or int(value) < SETTINGS[name]:
            ranges = ", ".join(f"{key} from {least}" for key, least in SETTINGS.items())
            raise NasError(f"{word!r} is no setting of a training", f"write {SPEC}, each once, with {ranges}")
        found[name] = int(value)
    return found


def usual(options: Made) -> tuple[str, ...]:
    """What is compared where nothing is named: the training of a search as it is planned, and cheaper ones."""
    cheaper = {"epochs": 1, "resolution": max(8, options["proxy_resolution"] // 2)}
    now = {"epochs": options["epochs"], "resolution": options["proxy_resolution"]}
    return (TRAIN, *(f"{TRAIN}:{name}={value}" for name, value in cheaper.items() if value < now[name]))


def usual_truth(options: Made) -> str:
    """A training that is longer than a search's."""
    return f"{TRAIN}:epochs={LONGER * options['epochs']}"


def is_training(text: str) -> bool:
    """Whether an evaluator is written that trains."""
    return text.partition(":")[0] == TRAIN


def make_sources(texts: Iterable[str], options: Made, space: "SearchSpace") -> "list[Source]":
    """An evaluator for each text, checked.

    Args:
        texts: as on the command line; each once.
        options: of the command.
        space: for the target, with every choice open.

    Raises:
        NasError: one cannot be read or made.
    """
    trainings: dict[tuple[int | None, int], Evaluators] = {}
    return [
        _training(text, options, trainings) if is_training(text) else _untrained(text, options, space)
        for text in dict.fromkeys(texts)
    ]


def _untrained(text: str, options: Made, space: "SearchSpace") -> "Source":
    from nas.evaluate.by_seed import BySeed
    from nas.fidelity.collect import Source

    seeds = _seeds(options) if split(text)[0] in SEEDED else _seeds(options)[:1]
    return Source(text, BySeed(partial(make_one, text, options, space), seeds[0]), seeds=seeds)


def make_one(text: str, options: Made, space: "SearchSpace", seed: int) -> "Evaluator":
    """An evaluator that trains nothing.

    Raises:
        NasError: its file, function or images cannot be used.
    """
    return make_evaluator(text, {**options, "seed": seed}, space, partial(_images, options), say=_say)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _images(options: Made) -> "ImageData":
    from nas.evaluate.resized import images_of

    return images_of(options["data"], options["proxy_resolution"], options["images"])


def _seeds(options: Made) -> range:
    return range(options["seed"], options["seed"] + options["seeds"])


def _training(text: str, options: Made, made: "dict[tuple[int | None, int], Evaluators]") -> "Source":
    from nas.cli.scale_train import make_evaluators
    from nas.fidelity.collect import Source

    _, colon, rest = text.partition(":")
    if colon and not rest:
        raise NasError(f"there is no evaluator {text!r}", f"use {', '.join((SPEC, *list(FORMS.values())[1:]))}")
    own = {"epochs": options["epochs"], "resolution": options["proxy_resolution"], "images": options["images"]}
    own |= read_settings(rest)
    of_images = own["images"], own["resolution"]
    if of_images not in made:
        made[of_images] = make_evaluators({**options, "images": own["images"], "proxy_resolution": own["resolution"]})
    seeds = _seeds(options)
    return Source(text, made[of_images], own["epochs"], own["resolution"], seeds, own.get("networks"))
