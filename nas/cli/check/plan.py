"""The plan of a check: its networks, the evaluators that are checked, and the truth."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from nas.api.evaluators import TABLE, are_about_data
from nas.api.target_task import Classes, find_classes
from nas.api.weights import find_source
from nas.cli.check.evaluators import make_evaluators, make_one, usual, usual_truth
from nas.cli.check.options import CheckOptions
from nas.cli.shared.options import read_fixes
from nas.cli.shared.printing import say
from nas.errors import NasError, SpaceError, TargetError
from nas.search.defaults import BAND

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.evaluate.base import Evaluator
    from nas.fidelity.collect import CheckedEvaluator
    from nas.space.decode import SearchSpace

Truth = dict[int, list[float]]


@frozen
class PlannedCheck:
    """Hold a check before anything is evaluated.

    Attributes:
        space: Space of the networks.
        archs: The networks.
        evaluators: The evaluators; the last one gives the truth if networks are trained for it.
        truth: Name of the truth as it was written, a table without its folder.
        recorded: True accuracies from a table, by network; empty if networks are trained for them.
        study: Beginning of the names of its studies.
    """

    space: "SearchSpace"
    archs: "Sequence[Architecture]"
    evaluators: "Sequence[CheckedEvaluator]"
    truth: str
    recorded: Truth
    study: str


def plan_check(options: CheckOptions) -> PlannedCheck:
    """Return the plan of a check, with everything that the options name loaded and checked.

    Args:
        options: Options of the command.

    Raises:
        NasError: An option cannot be used.
    """
    from nas.api.search_plan import find_space_of

    source = None if options.pretrained is None else find_source(options.pretrained, options.normalization)
    own = find_space_of(options.space, source, options.storage)
    resolution = options.training.proxy_resolution or options.resolution or own.resolutions[-1]
    training = evolve(options.training, channels=own.net["in_channels"], proxy_resolution=resolution)
    options = evolve(options, training=training)
    texts, truth = options.evaluators or usual(options), options.truth or usual_truth(options)
    fixes = read_fixes(options.fixes)
    classes = _classes(own, options) if are_about_data([*texts, truth]) else options.classes
    whole = own.for_target(resolution=options.resolution, classes=classes)
    space, seed = whole.fix(fixes), training.seed
    known = make_one(truth, options, whole, seed) if truth.startswith(f"{TABLE}:") else None
    archs = _networks(space, options, known)
    _check_folders(options)
    evaluators = make_evaluators(texts, options, whole, space)
    if known is None:
        # With seeds of its own: equal initial weights would make an evaluator look better than it is.
        later = evolve(options.training, seed=seed + options.training.seeds)
        evaluators += make_evaluators([truth], evolve(options, training=later), whole, space)
    _check_unlike(evaluators, truth)
    recorded = {} if known is None else {number: _known_accuracies(known, arch) for number, arch in enumerate(archs)}
    shown = truth if known is None else f"{TABLE}:{Path(truth.partition(':')[2]).name}"
    return PlannedCheck(space, archs, evaluators, shown, recorded, options.study or _study_name(space, options))


def _classes(own: "SearchSpace", options: CheckOptions) -> int:
    """Return the number of classes that costs count, and print it; a check that was begun keeps its number.

    Raises:
        NasError: The data cannot be read, or the database cannot be opened.
    """
    classes = find_classes(options.training.data, options.classes, own.net["classes"], f"space {own.name}", say)
    study = options.study or _study_name(own.for_target(resolution=options.resolution), options)
    if options.classes is None and _stored_classes(study, options.storage) == own.net["classes"] != classes.number:
        classes = Classes(own.net["classes"], f"as in study {study}, which is continued")
    say(str(classes))
    return classes.number


def _stored_classes(study: str, storage: str) -> int | None:
    """Return the number of classes of the networks that a check has evaluated, or None if it was not begun."""
    from nas.arch.code import parse_text
    from nas.search.job_study import job_study_names
    from nas.studies.stored import existing_storage

    opened = existing_storage(storage)
    if opened is None:
        return None
    ids = (opened.get_study_id_from_name(name) for name in job_study_names(opened) if name.startswith(f"{study}: "))
    trials = (trial for each in ids for trial in opened.get_all_trials(each, deepcopy=False))
    return next((parse_text(trial.user_attrs["arch"]).classes for trial in trials if "arch" in trial.user_attrs), None)


def _check_folders(options: CheckOptions) -> None:
    """Check that the figures, which are written last, have folders.

    Raises:
        NasError: A folder does not exist.
    """
    for path in options.figure.paths:
        if not path.parent.is_dir():
            raise NasError(
                f"{path} cannot be written: there is no folder {path.parent}", "make the folder, or choose another one"
            )


def _check_unlike(evaluators: "Sequence[CheckedEvaluator]", truth: str) -> None:
    """Check that no two evaluators give the same accuracies.

    Raises:
        NasError: Two evaluators do.
    """
    by_key: dict[str, str] = {}
    for evaluator in evaluators:
        if evaluator.key in by_key:
            raise NasError(
                f"{by_key[evaluator.key]} and {evaluator.name} are the same evaluator"
                + (", and the second one is the truth" if evaluator.name == truth else ""),
                "leave one of them out, or give another one",
            )
        by_key[evaluator.key] = evaluator.name


def _networks(space: "SearchSpace", options: CheckOptions, known: "Evaluator | None") -> "list[Architecture]":
    """Return random networks of the cost range of the targets; only networks of the table if there is one."""
    from nas.arch.canonical import canonical
    from nas.cost.target import needs_device, parse_target
    from nas.fidelity.agreement import FEWEST
    from nas.objective import limits
    from nas.samplers.cost_range import make_cost_range
    from nas.samplers.random_networks import draw
    from nas.search.plan import find_pool

    if needs_device(options.targets):
        raise TargetError(
            "a target depends on a device; a check uses costs that are computed, and measures nothing on a device",
            "give another target, like --target flops=400M",
        )
    targets = [parse_target(text) for text in options.targets]
    band = make_cost_range(space, targets, limits(targets, band=BAND, objective="soft")) if targets else None
    pool = None if known is None else find_pool(space, known)
    drawn = draw(space, options.networks, options.training.seed, band, pool)
    archs = [canonical(space.from_indices(indices.tolist())) for indices in drawn]
    if len(archs) < FEWEST:
        raise SpaceError(
            f"{len(archs)} networks were found; a check needs at least {FEWEST}",
            "give another --target or --space, or a table with more networks of the space",
        )
    if len(archs) < options.networks:
        say(f"there are only {len(archs)} such networks; all of them are used")
    return archs


def _known_accuracies(known: "Evaluator", arch: "Architecture") -> list[float]:
    """Return the accuracies of all seeds in a table, else the single accuracy."""
    from nas.evaluate.base import HasMetadata

    accuracy = list(known.evaluate(arch, 1))[-1:]
    metadata = known.metadata(arch) if isinstance(known, HasMetadata) else {}
    return list(metadata.get("accuracy_seeds", accuracy))


def _study_name(space: "SearchSpace", options: CheckOptions) -> str:
    """Return a name that the same space and images give again, also with more networks or other evaluators."""
    training, net = options.training, space.net
    parts = [space.definition, net["resolution"], net["classes"], training.data, training.train_on, *options.fixes]
    return f"check-{space.name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:6]}"
