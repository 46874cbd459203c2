"""What `nas check` is asked for: networks, the evaluators that judge them, and the truth."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.api.evaluators import TABLE
from nas.cli.check.sources import make_one, make_sources, usual, usual_truth
from nas.cli.shared.options import read_fixes
from nas.errors import NasError, SpaceError, TargetError
from nas.search.defaults import BAND

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.evaluate.base import Evaluator
    from nas.fidelity.collect import Source
    from nas.space.decode import SearchSpace

Truth = dict[int, list[float]]


@frozen
class Asked:
    """A check, before anything is judged.

    Attributes:
        space: that the networks are of.
        archs: the networks.
        sources: of verdicts; the last one is the truth, where it is trained.
        truth: as it was written; a table without its folder.
        recorded: what a table says, by network; empty where the truth is trained.
        study: the beginning of its studies' names.
    """

    space: "SearchSpace"
    archs: "Sequence[Architecture]"
    sources: "Sequence[Source]"
    truth: str
    recorded: Truth
    study: str


def ask(options: dict[str, Any]) -> Asked:
    """Everything that the options name, loaded and checked.

    Raises:
        NasError: something breaks a rule.
    """
    from nas.space.files import find_space

    whole = find_space(options["space"]).for_target(resolution=options["resolution"], classes=options["classes"])
    space = whole.fix(read_fixes(options["fixes"]))
    texts, truth = options["evaluators"] or usual(options), options["truth"] or usual_truth(options)
    known = make_one(truth, options, whole, options["seed"]) if truth.startswith(f"{TABLE}:") else None
    archs = _networks(space, options, known)
    _check_places(options)
    sources = make_sources(texts, options, whole, space)
    if known is None:
        # With seeds of its own: weights in common would make it look alike.
        later = {**options, "seed": options["seed"] + options["seeds"]}
        sources += make_sources([truth], later, whole, space)
    _check_unlike(sources, truth)
    recorded = {} if known is None else {number: _readings(known, arch) for number, arch in enumerate(archs)}
    told = truth if known is None else f"{TABLE}:{Path(truth.partition(':')[2]).name}"
    return Asked(space, archs, sources, told, recorded, options["study"] or _study_name(space, options))


def _check_places(options: Mapping[str, Any]) -> None:
    """Refuse figures that cannot be written in the end."""
    for path in (options["png"], options["html"]):
        if path is not None and not path.parent.is_dir():
            raise NasError(f"{path} cannot be written: there is no folder {path.parent}", "make it, or choose another")


def _check_unlike(sources: "Sequence[Source]", truth: str) -> None:
    by_key: dict[str, str] = {}
    for source in sources:
        if source.key in by_key:
            raise NasError(
                f"{by_key[source.key]} and {source.name} are the same evaluator"
                + (", both checked and held to be true" if source.name == truth else ""),
                "give another one, or leave it out once",
            )
        by_key[source.key] = source.name


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
    archs = [canonical(space.from_picks(picks.tolist())) for picks in drawn]
    if len(archs) < FEWEST:
        raise SpaceError(
            f"a check needs {FEWEST} networks, and {len(archs)} were found",
            "give another --target or space, or a table that holds more of it",
        )
    if len(archs) < options["networks"]:
        click.echo(f"there are {len(archs)} such networks, and all are taken", err=True)
    return archs


def _readings(known: "Evaluator", arch: "Architecture") -> list[float]:
    """All seeds that are known, else the one accuracy."""
    from nas.evaluate.base import Remarking

    accuracy = list(known.evaluate(arch, 1))[-1:]
    remarks = known.remarks(arch) if isinstance(known, Remarking) else {}
    return list(remarks.get("accuracy_seeds", accuracy))


def _study_name(space: "SearchSpace", options: Mapping[str, Any]) -> str:
    """One that the same space and images find again, with more networks and other evaluators too."""
    seen = [space.definition, space.net["resolution"], space.net["classes"], options["data"], options["train_on"]]
    seen += list(options["fixes"])
    return f"check-{space.name}-{hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:6]}"
