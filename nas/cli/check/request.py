"""What `nas check` is asked for: networks, the evaluators that are checked, and the truth."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.api.evaluators import TABLE
from nas.cli.check.evaluators import make_evaluators, make_one, usual, usual_truth
from nas.cli.shared.options import read_fixes
from nas.errors import NasError, SpaceError, TargetError
from nas.search.defaults import BAND

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.evaluate.base import Evaluator
    from nas.fidelity.collect import CheckedEvaluator
    from nas.space.decode import SearchSpace

Truth = dict[int, list[float]]


@frozen
class Asked:
    """A check, before anything is evaluated.

    Attributes:
        space: Space of the networks.
        archs: The networks.
        evaluators: The evaluators; the last one gives the truth, where networks are trained for it.
        truth: The truth as it was written; a table without its folder.
        recorded: True accuracies from a table, by network; empty where networks are trained for them.
        study: Beginning of the names of its studies.
    """

    space: "SearchSpace"
    archs: "Sequence[Architecture]"
    evaluators: "Sequence[CheckedEvaluator]"
    truth: str
    recorded: Truth
    study: str


def ask(options: dict[str, Any]) -> Asked:
    """Return everything that the options name, loaded and checked.

    Args:
        options: Options of the command.

    Raises:
        NasError: An option breaks a rule.
    """
    from nas.space.files import find_space

    whole = find_space(options["space"]).for_target(resolution=options["resolution"], classes=options["classes"])
    space = whole.fix(read_fixes(options["fixes"]))
    texts, truth = options["evaluators"] or usual(options), options["truth"] or usual_truth(options)
    known = make_one(truth, options, whole, options["seed"]) if truth.startswith(f"{TABLE}:") else None
    archs = _networks(space, options, known)
    _check_places(options)
    evaluators = make_evaluators(texts, options, whole, space)
    if known is None:
        # With seeds of its own: equal initial weights would make an evaluator look better than it is.
        later = {**options, "seed": options["seed"] + options["seeds"]}
        evaluators += make_evaluators([truth], later, whole, space)
    _check_unlike(evaluators, truth)
    recorded = {} if known is None else {number: _known_accuracies(known, arch) for number, arch in enumerate(archs)}
    shown = truth if known is None else f"{TABLE}:{Path(truth.partition(':')[2]).name}"
    return Asked(space, archs, evaluators, shown, recorded, options["study"] or _study_name(space, options))


def _check_places(options: Mapping[str, Any]) -> None:
    """Raise NasError for figures that could not be written in the end."""
    for path in (options["png"], options["html"]):
        if path is not None and not path.parent.is_dir():
            raise NasError(f"{path} cannot be written: there is no folder {path.parent}", "make it, or choose another")


def _check_unlike(evaluators: "Sequence[CheckedEvaluator]", truth: str) -> None:
    """Raise NasError where two evaluators give the same accuracies."""
    by_key: dict[str, str] = {}
    for evaluator in evaluators:
        if evaluator.key in by_key:
            raise NasError(
                f"{by_key[evaluator.key]} and {evaluator.name} are the same evaluator"
                + (", both checked and held to be true" if evaluator.name == truth else ""),
                "give another one, or leave it out once",
            )
        by_key[evaluator.key] = evaluator.name


def _networks(space: "SearchSpace", options: Mapping[str, Any], known: "Evaluator | None") -> "list[Architecture]":
    from nas.arch.canonical import canonical
    from nas.cost.target import needs_device, parse_target
    from nas.fidelity.agreement import FEWEST
    from nas.objective import limits
    from nas.samplers.cost_range import make_cost_range
    from nas.samplers.random_networks import draw
    from nas.search.plan import find_pool

    if needs_device(options["targets"]):
        raise TargetError("a check draws networks by what they cost, and measures none", "give --target flops=…")
    targets = [parse_target(text) for text in options["targets"]]
    band = make_cost_range(space, targets, limits(targets, band=BAND, objective="soft")) if targets else None
    pool = None if known is None else find_pool(space, known)
    drawn = draw(space, options["networks"], options["seed"], band, pool)
    archs = [canonical(space.from_indices(indices.tolist())) for indices in drawn]
    if len(archs) < FEWEST:
        raise SpaceError(
            f"a check needs {FEWEST} networks, and {len(archs)} were found",
            "give another --target or space, or a table that holds more of it",
        )
    if len(archs) < options["networks"]:
        click.echo(f"there are {len(archs)} such networks, and all are taken", err=True)
    return archs


def _known_accuracies(known: "Evaluator", arch: "Architecture") -> list[float]:
    """Return the accuracies of all seeds in a table, else the single accuracy."""
    from nas.evaluate.base import HasMetadata

    accuracy = list(known.evaluate(arch, 1))[-1:]
    metadata = known.metadata(arch) if isinstance(known, HasMetadata) else {}
    return list(metadata.get("accuracy_seeds", accuracy))


def _study_name(space: "SearchSpace", options: Mapping[str, Any]) -> str:
    """Return a name that the same space and images give again, also with more networks or other evaluators."""
    seen = [space.definition, space.net["resolution"], space.net["classes"], options["data"], options["train_on"]]
    seen += list(options["fixes"])
    return f"check-{space.name}-{hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:6]}"
