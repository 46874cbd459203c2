"""The evaluators that `nas check` compares, as they are written on its command line."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from nas.api.evaluators import FORMS, SUPERNET, TRAIN, ZERO_COST, halves, split
from nas.cli.shared.evaluators import make_evaluator
from nas.errors import NasError
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.data.base import ImageData
    from nas.evaluate.base import Evaluator, Evaluators
    from nas.fidelity.collect import Source
    from nas.space.decode import SearchSpace

# A training's own settings, each with the least it can be.
SETTINGS: Mapping[str, int] = MappingProxyType({"epochs": 1, "resolution": 4, "images": 2, "networks": 5})
OPTIONS: Mapping[str, str] = MappingProxyType({"resolution": "proxy_resolution", "images": "images"})
SETTABLE = "[:epochs=E,resolution=R,images=I,networks=N]"
SPECS = tuple(f"{form}{SETTABLE}" if form in (TRAIN, SUPERNET) else form for form in FORMS.values())
LONGER = 4  # times the epochs of a search, for what is held to be true
Made = Mapping[str, Any]


def read_settings(text: str) -> dict[str, int]:
    """What follows `train:` or `supernet:`, by name.

    Raises:
        NasError: it is no setting of a training, or no number in its range.
    """
    found: dict[str, int] = {}
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        if name not in SETTINGS or name in found or not re.fullmatch(r"\d{1,9}", value) or int(value) < SETTINGS[name]:
            ranges = ", ".join(f"{key} from {least}" for key, least in SETTINGS.items())
            raise NasError(f"{word!r} is no setting of a training", f"write {SPECS[0]}, each once, with {ranges}")
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


def make_sources(texts: Iterable[str], options: Made, space: "SearchSpace", fixed: "SearchSpace") -> "list[Source]":
    """An evaluator for each text, checked.

    Args:
        texts: as on the command line; each once.
        options: of the command.
        space: for the target, with every choice open.
        fixed: with the choices that are made.

    Raises:
        NasError: one cannot be read or made.
    """
    trainings: dict[tuple[int | None, int], Evaluators] = {}
    return [
        _training(text, options, trainings) if is_training(text) else _untrained(text, options, space, fixed)
        for text in dict.fromkeys(texts)
    ]


def _own(text: str, options: Made) -> tuple[str, dict[str, Any]]:
    """An evaluator without its settings, and the options of the command with them."""
    kind, colon, rest = text.partition(":")
    if halves(text)[0]:
        raise NasError(f"{text!r} are two evaluators", "check each by itself: give --evaluator twice")
    if kind not in (TRAIN, SUPERNET):
        return text, dict(options)
    if colon and not rest:
        raise NasError(f"there is no evaluator {text!r}", f"use {', '.join(SPECS)}")
    own = read_settings(rest)
    epochs = {"supernet_epochs" if kind == SUPERNET else "epochs": own["epochs"]} if "epochs" in own else {}
    kept = {option: own[name] for name, option in OPTIONS.items() if name in own}
    return kind, {**options, **epochs, **kept, "judges": own.get("networks")}


def _untrained(text: str, options: Made, space: "SearchSpace", fixed: "SearchSpace") -> "Source":
    from nas.evaluate.by_seed import BySeed
    from nas.fidelity.collect import Source

    kind, own = _own(text, options)
    seeds = _seeds(own) if _is_random(*split(kind)) else _seeds(own)[:1]
    evaluators = BySeed(partial(make_one, kind, own, space, fixed=fixed), seeds[0])
    evaluators.describe()  # what cannot be made is told before anything is judged
    epochs = own["supernet_epochs"] if kind == SUPERNET else None
    return Source(
        text,
        evaluators,
        seeds=seeds,
        networks=own.get("judges"),
        seconds_before=partial(_seconds_before, evaluators, seeds[0]),
        key=_key(kind, own, epochs),
    )


def _seconds_before(evaluators: "Evaluators", seed: int) -> float:
    """Of the supernet's training."""
    from nas.evaluate.base import Preparing

    evaluator = evaluators.at(0, seed)
    return evaluator.seconds_prepared() if isinstance(evaluator, Preparing) else 0.0


def _is_random(kind: str, rest: str) -> bool:
    """Whether another seed gives other verdicts at once: a supernet would have to be trained anew."""
    from nas.evaluate.zero_cost.evaluator import needs_images

    return kind == ZERO_COST and needs_images(rest)


def _key(kind: str, own: Made, epochs: int | None) -> str:
    """What verdicts that can be compared have in common; those of a file or a function depend on it alone."""
    if kind.partition(":")[0] not in (TRAIN, SUPERNET, ZERO_COST):
        return kind
    told = {"epochs": epochs, "resolution": own["proxy_resolution"], "images": own["images"]}
    if kind == TRAIN and own["metric"] != METRIC_NAMES[0]:
        told["metric"] = own["metric"]
    return f"{kind} " + " ".join(f"{name}={value}" for name, value in told.items() if value is not None)


def make_one(
    text: str, options: Made, space: "SearchSpace", seed: int, *, fixed: "SearchSpace | None" = None
) -> "Evaluator":
    """An evaluator that trains no candidate.

    Raises:
        NasError: its file, function or images cannot be used.
    """
    return make_evaluator(text, {**options, "seed": seed}, space, partial(_images, options), fixed=fixed, say=_say)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _images(options: Made) -> "ImageData":
    from nas.evaluate.short_training.resized import images_of

    return images_of(options["data"], options["proxy_resolution"], options["images"])


def _seeds(options: Made) -> range:
    return range(options["seed"], options["seed"] + options["seeds"])


def _training(text: str, options: Made, made: "dict[tuple[int | None, int], Evaluators]") -> "Source":
    from nas.cli.scale.training import make_evaluators
    from nas.fidelity.collect import Source

    kind, own = _own(text, options)
    of_images = own["images"], own["proxy_resolution"]
    if of_images not in made:
        made[of_images] = make_evaluators(own)
    return Source(
        text,
        made[of_images],
        own["epochs"],
        own["proxy_resolution"],
        _seeds(own),
        own["judges"],
        key=_key(kind, own, own["epochs"]),
    )
