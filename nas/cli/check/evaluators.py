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
    from nas.fidelity.collect import CheckedEvaluator
    from nas.space.decode import SearchSpace

# Settings of a training run, each with its lowest value.
SETTINGS: Mapping[str, int] = MappingProxyType({"epochs": 1, "resolution": 4, "images": 2, "networks": 5})
OPTIONS: Mapping[str, str] = MappingProxyType({"resolution": "proxy_resolution", "images": "images"})
SETTABLE = "[:epochs=E,resolution=R,images=I,networks=N]"
SPECS = tuple(f"{form}{SETTABLE}" if form in (TRAIN, SUPERNET) else form for form in FORMS.values())
LONGER = 4  # times the epochs of a search: the training run whose accuracy counts as the truth
Made = Mapping[str, Any]


def read_settings(text: str) -> dict[str, int]:
    """Return the settings that follow `train:` or `supernet:`, by name.

    Raises:
        NasError: One is no setting of a training run, or no number in its range.
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
    """Return the evaluators to check where none is named: the training run of the planned search, and cheaper ones."""
    cheaper = {"epochs": 1, "resolution": max(8, options["proxy_resolution"] // 2)}
    now = {"epochs": options["epochs"], "resolution": options["proxy_resolution"]}
    return (TRAIN, *(f"{TRAIN}:{name}={value}" for name, value in cheaper.items() if value < now[name]))


def usual_truth(options: Made) -> str:
    """Return the usual truth: a training run that is longer than a search's."""
    return f"{TRAIN}:epochs={LONGER * options['epochs']}"


def is_training(text: str) -> bool:
    """Return whether the evaluator of this name trains each network."""
    return text.partition(":")[0] == TRAIN


def make_evaluators(
    texts: Iterable[str], options: Made, space: "SearchSpace", fixed: "SearchSpace"
) -> "list[CheckedEvaluator]":
    """Return an evaluator for each text, checked.

    Args:
        texts: Names as on the command line; repetitions are left out.
        options: Options of the command.
        space: Space for the target with all choices open.
        fixed: Space with the choices that the options fix.

    Raises:
        NasError: One cannot be read or made.
    """
    trainings: dict[tuple[int | None, int], Evaluators] = {}
    return [
        _training(text, options, trainings) if is_training(text) else _untrained(text, options, space, fixed)
        for text in dict.fromkeys(texts)
    ]


def _own(text: str, options: Made) -> tuple[str, dict[str, Any]]:
    """Return the evaluator's name without its settings, and the options of the command with them."""
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


def _untrained(text: str, options: Made, space: "SearchSpace", fixed: "SearchSpace") -> "CheckedEvaluator":
    from nas.evaluate.seeded_evaluators import SeededEvaluators
    from nas.fidelity.collect import CheckedEvaluator

    kind, own = _own(text, options)
    seeds = _seeds(own) if _is_random(*split(kind)) else _seeds(own)[:1]
    evaluators = SeededEvaluators(partial(make_one, kind, own, space, fixed=fixed), seeds[0])
    evaluators.describe()  # one that cannot be made is refused before anything is evaluated
    epochs = own["supernet_epochs"] if kind == SUPERNET else None
    return CheckedEvaluator(
        text,
        evaluators,
        seeds=seeds,
        networks=own.get("judges"),
        seconds_before=partial(_seconds_before, evaluators, seeds[0]),
        key=_key(kind, own, epochs),
    )


def _seconds_before(evaluators: "Evaluators", seed: int) -> float:
    """Return the duration of the supernet's training; 0 for other evaluators."""
    from nas.evaluate.base import Preparing

    evaluator = evaluators.at(0, seed)
    return evaluator.seconds_prepared() if isinstance(evaluator, Preparing) else 0.0


def _is_random(kind: str, rest: str) -> bool:
    """Return whether another seed gives other accuracies at no cost: a supernet would have to be trained again."""
    from nas.evaluate.zero_cost.scores import needs_images

    return kind == ZERO_COST and needs_images(rest)


def _key(kind: str, own: Made, epochs: int | None) -> str:
    """Return what comparable evaluations have in common; those of a file or a function depend on it alone."""
    if kind.partition(":")[0] not in (TRAIN, SUPERNET, ZERO_COST):
        return kind
    told = {"epochs": epochs, "resolution": own["proxy_resolution"], "images": own["images"]}
    if kind == TRAIN and own["metric"] != METRIC_NAMES[0]:
        told["metric"] = own["metric"]
    return f"{kind} " + " ".join(f"{name}={value}" for name, value in told.items() if value is not None)


def make_one(
    text: str, options: Made, space: "SearchSpace", seed: int, *, fixed: "SearchSpace | None" = None
) -> "Evaluator":
    """Return an evaluator that trains no candidate.

    Args:
        text: Its name.
        options: Options of the command.
        space: Space for the target with all choices open.
        seed: Seed of its random numbers.
        fixed: Space with the choices that the options fix; None where they fix none.

    Raises:
        NasError: Its file, function or images cannot be used.
    """
    return make_evaluator(text, {**options, "seed": seed}, space, partial(_images, options), fixed=fixed, say=_say)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _images(options: Made) -> "ImageData":
    from nas.evaluate.short_training.resized import cached_images

    return cached_images(options["data"], options["proxy_resolution"], options["images"])


def _seeds(options: Made) -> range:
    return range(options["seed"], options["seed"] + options["seeds"])


def _training(text: str, options: Made, made: "dict[tuple[int | None, int], Evaluators]") -> "CheckedEvaluator":
    """Return an evaluator that trains; evaluators of the same images are made once."""
    from nas.cli.scale import training
    from nas.fidelity.collect import CheckedEvaluator

    kind, own = _own(text, options)
    of_images = own["images"], own["proxy_resolution"]
    if of_images not in made:
        made[of_images] = training.make_evaluators(own)
    return CheckedEvaluator(
        text,
        made[of_images],
        own["epochs"],
        own["proxy_resolution"],
        _seeds(own),
        own["judges"],
        key=_key(kind, own, own["epochs"]),
    )
