"""The evaluators that `nas check` compares, as they are written on its command line."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from nas.api import training
from nas.api.evaluators import FINETUNE, FORMS, SUPERNET, TRAIN, TRAINING, ZERO_COST, halves, make_evaluator, split
from nas.cli.check.options import CheckOptions
from nas.cli.shared.printing import say
from nas.errors import NasError
from nas.train.defaults import METRIC_NAMES

if TYPE_CHECKING:
    from nas.data.base import ImageData
    from nas.evaluate.base import Evaluator, Evaluators
    from nas.fidelity.collect import CheckedEvaluator
    from nas.space.decode import SearchSpace

# Settings of a training run, each with its lowest value.
SETTINGS: Mapping[str, int] = MappingProxyType({"epochs": 1, "resolution": 4, "images": 2, "networks": 5})
SETTABLE = "[:epochs=E,resolution=R,images=I,networks=N]"
SPECS = tuple(f"{form}{SETTABLE}" if form in (*TRAINING, SUPERNET) else form for form in FORMS.values())
LONGER = 4  # times the epochs of a search: the training run whose accuracy counts as the truth


@frozen
class _Named:
    """Hold an evaluator as it is written on the command line, with its own settings.

    Attributes:
        kind: Name of the evaluator without its settings, for example "train" or "zero-cost:depth".
        options: Options of the command with the settings of this evaluator in place of those that all share.
        networks: Number of networks that it evaluates; None for all.
    """

    kind: str
    options: CheckOptions
    networks: int | None = None


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
            raise NasError(f"{word!r} is no setting of a training run", f"write {SPECS[0]}, each once, with {ranges}")
        found[name] = int(value)
    return found


def usual(options: CheckOptions) -> tuple[str, ...]:
    """Return the evaluators to check if none is named: the training run of the planned search, and cheaper ones."""
    resolution, kind = options.training.proxy_resolution, _usual_kind(options)
    cheaper = {"epochs": 1, "resolution": max(8, resolution // 2)}
    now = {"epochs": options.training.epochs, "resolution": resolution}
    return (kind, *(f"{kind}:{name}={value}" for name, value in cheaper.items() if value < now[name]))


def usual_truth(options: CheckOptions) -> str:
    """Return the usual truth: a training run that is longer than that of a search."""
    return f"{_usual_kind(options)}:epochs={LONGER * options.training.epochs}"


def _usual_kind(options: CheckOptions) -> str:
    return TRAIN if options.pretrained is None else FINETUNE


def is_training(text: str) -> bool:
    """Return whether the evaluator of this name trains each network."""
    return text.partition(":")[0] in TRAINING


def make_evaluators(
    texts: Iterable[str], options: CheckOptions, space: "SearchSpace", fixed: "SearchSpace"
) -> "list[CheckedEvaluator]":
    """Return an evaluator for each text.

    Args:
        texts: Names as on the command line; repetitions are left out.
        options: Options of the command.
        space: Space for the target with all choices open.
        fixed: Space with the choices that the options fix.

    Raises:
        NasError: An evaluator cannot be read or made.
    """
    made: dict[tuple[int | None, int], Evaluators] = {}
    return [
        _training(text, _named(text, options), made, space.full_resolution)
        if _named(text, options).kind == TRAIN
        else _prepared(text, _named(text, options), space, fixed)
        for text in dict.fromkeys(texts)
    ]


def _named(text: str, options: CheckOptions) -> _Named:
    kind, colon, rest = text.partition(":")
    if halves(text)[0]:
        raise NasError(
            f"{text!r} are two evaluators; each is checked by itself", "give --evaluator twice, once for each of them"
        )
    if kind not in (*TRAINING, SUPERNET):
        return _Named(text, options)
    if colon and not rest:
        raise NasError(f"there is no evaluator {text!r}", f"use {', '.join(SPECS)}")
    settings = read_settings(rest)
    return _Named(kind, options.with_settings(settings, supernet=kind == SUPERNET), settings.get("networks"))


def _prepared(text: str, named: _Named, space: "SearchSpace", fixed: "SearchSpace") -> "CheckedEvaluator":
    """Return an evaluator that holds its own images, or has none; only `train` gets them with each network."""
    from nas.evaluate.seeded_evaluators import SeededEvaluators
    from nas.fidelity.collect import CheckedEvaluator

    kind, options = named.kind, named.options
    every = options.training.every_seed
    trains = kind in TRAINING
    seeds = every if trains or _is_random(*split(kind)) else every[:1]
    evaluators = SeededEvaluators(partial(make_one, kind, options, space, fixed=fixed), seeds[0])
    evaluators.describe()  # An evaluator that cannot be made is an error before anything is evaluated.
    return CheckedEvaluator(
        text,
        evaluators,
        epochs=options.training.epochs if trains else 1,
        seeds=seeds,
        networks=named.networks,
        seconds_before=partial(_seconds_before, evaluators, seeds[0]),
        key=_key(
            kind, options, options.supernet_epochs if kind == SUPERNET else options.training.epochs if trains else None
        ),
    )


def _seconds_before(evaluators: "Evaluators", seed: int) -> float:
    """Return the duration of the training run of a supernet or a teacher; 0 for other evaluators."""
    from nas.evaluate.base import Preparing

    evaluator = evaluators.at(0, seed)
    return evaluator.seconds_prepared() if isinstance(evaluator, Preparing) else 0.0


def _is_random(kind: str, rest: str) -> bool:
    """Return whether another seed gives other accuracies at no cost: a supernet would have to be trained again."""
    from nas.evaluate.zero_cost.scores import needs_images

    return kind == ZERO_COST and needs_images(rest)


def _key(kind: str, options: CheckOptions, epochs: int | None) -> str:
    """Return what comparable evaluations have in common; those of a file or a function depend on it alone."""
    if kind.partition(":")[0] not in (*TRAINING, SUPERNET, ZERO_COST):
        return kind
    own = options.training
    parts: dict[str, object] = {
        "epochs": epochs,
        "resolution": own.proxy_resolution,
        "images": own.images,
    }
    # Studies that are older than the option have no metric in their names, and used the default.
    if kind in TRAINING and own.metric != METRIC_NAMES[0]:
        parts["metric"] = own.metric
    if kind in (FINETUNE, SUPERNET) and options.pretrained is not None:
        parts |= {"pretrained": options.pretrained, "normalization": options.normalization}
    if kind == FINETUNE and not options.distill:
        parts["distill"] = False
    return f"{kind} " + " ".join(f"{name}={value}" for name, value in parts.items() if value is not None)


def make_one(
    text: str, options: CheckOptions, space: "SearchSpace", seed: int, *, fixed: "SearchSpace | None" = None
) -> "Evaluator":
    """Return an evaluator that holds its own images, or has none.

    Args:
        text: Name of the evaluator, without settings.
        options: Options of the command, with the settings of this evaluator.
        space: Space for the target with all choices open.
        seed: Seed of its random numbers.
        fixed: Space with the choices that the options fix; None if they fix none.

    Raises:
        NasError: The file, the function or the images of the evaluator cannot be used.
    """
    load = partial(_load_images, options)
    return make_evaluator(text, options.evaluator_options(seed), space, load, fixed=fixed, say=say)


def _load_images(options: CheckOptions) -> "ImageData":
    from nas.evaluate.short_training.resized import cached_images

    own = options.training
    return cached_images(own.data, own.proxy_resolution, own.images, own.channels, own.validation_share)


def _training(
    text: str, named: _Named, made: "dict[tuple[int | None, int], Evaluators]", full_resolution: int | None
) -> "CheckedEvaluator":
    """Return an evaluator that trains; evaluators of the same images are made once."""
    from nas.fidelity.collect import CheckedEvaluator

    own = named.options.training
    images = own.images, own.proxy_resolution
    if images not in made:
        made[images] = training.make_evaluators(own, named.options.engine, say, full_resolution)
    return CheckedEvaluator(
        text,
        made[images],
        own.epochs,
        own.proxy_resolution,
        own.every_seed,
        named.networks,
        key=_key(named.kind, named.options, own.epochs),
        full_resolution=full_resolution,
    )
