"""The planning of a search: everything that a request names is loaded and checked, and nothing is stored."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING, Union

from attrs import evolve

from nas.api.architectures import file_stem
from nas.api.engines import check_cluster
from nas.api.evaluators import ZERO_COST, OnBatch, are_about_data, halves, make_evaluator, make_function_evaluator
from nas.api.own_costs import check_costs, make_own_targets, target_name
from nas.api.pretrained_notes import describe_fresh, describe_small_images, propose_pretrained
from nas.api.request import SearchRequest
from nas.errors import TargetError

if TYPE_CHECKING:
    from nas.api.weights import PretrainedSource
    from nas.arch.spec import Architecture
    from nas.cost.target import OnDevice
    from nas.data.base import ImageData
    from nas.search.plan import Plan
    from nas.space.decode import SearchSpace

Say = Callable[[str], None]
SPACE = "mnasnet"
PROXY_RESOLUTION = 32


def make_plan(request: SearchRequest, say: Say, on_batch: OnBatch | None, devices: ExitStack) -> "Plan":
    """Plan a search, with costs for the classes of the data or those of an older study.

    Args:
        request: The request.
        say: Function that is called with sentences about the images, the device and what takes long.
        on_batch: Function that is called after each step of a training run, or None.
        devices: Context that closes the connections to devices.

    Raises:
        NasError: Something in the request cannot be used.
    """
    from nas.api.target_task import Classes, find_classes
    from nas.api.weights import find_source
    from nas.cost.target import read_target

    if not request.targets:
        raise TargetError("a search has no target", "give one like flops=400M")
    check_costs(request.targets, request.costs, request.given)
    for text in _without_own(request):
        read_target(text)  # Raises its error before the data is read.
    source = None if request.pretrained is None else find_source(request.pretrained, request.normalization)
    space = find_space_of(request.space, source, request.storage)
    # A screening and the evaluator itself share one load of the images, and so do two plans.
    load = cache(lambda: _load_images(request, space.for_target(resolution=request.resolution), say))
    plan_for = partial(_plan_for, request, source, load=load, say=say, on_batch=on_batch, devices=devices)
    if not are_about_data([request.evaluator_text]):
        return plan_for(space.for_target(resolution=request.resolution, classes=request.classes))
    own = space.for_target(resolution=request.resolution)
    classes = find_classes(request.data, request.classes, own.net["classes"], f"space {space.name}", say)
    made = plan_for(own.for_target(classes=classes.number))
    older = _older_classes(made, request, own.net["classes"])
    if older is not None:
        made = plan_for(own.for_target(classes=older))
        classes = Classes(older, f"as in study {made.study_name}, which is continued")
    say(str(classes))
    return made


def _older_classes(made: "Plan", request: SearchRequest, own: int) -> int | None:
    """Return the number of classes of the study that the same command began with another number, or None.

    Before costs took the number of classes from the data, they took that of the space.
    """
    from nas.search.settings import default_study_name
    from nas.studies.records import SETTINGS
    from nas.studies.stored import stored_settings

    if request.classes is not None or made.described["classes"] == own:
        return None
    name = request.study or default_study_name({**made.described, "classes": own})
    stored = stored_settings(name, SETTINGS, request.storage).get("classes")
    return stored if isinstance(stored, int) and stored != made.described["classes"] else None


def _plan_for(
    request: SearchRequest,
    source: "PretrainedSource | None",
    whole: "SearchSpace",
    *,
    load: Callable[[], "ImageData"],
    say: Say,
    on_batch: OnBatch | None,
    devices: ExitStack,
) -> "Plan":
    """Load everything that a request names; the evaluator comes last, because images take longest."""
    from nas.cost.analytic import COUNTED, peak_memory
    from nas.cost.target import parse_target
    from nas.search.plan import check, check_objective, plan
    from nas.search.screening import Screen
    from nas.search.settings import Settings
    from nas.studies.early_check import check_storage
    from nas.studies.records import SETTINGS

    space = whole.fix(request.fixes)
    peak_memory(request.precision)  # An unknown precision is an error even if no target uses it.
    check_objective(request.objective, request.w, request.band)
    latencies = _latencies(request, space, say, devices)
    own = make_own_targets(request, space, say)
    settings = Settings(
        targets=tuple(own.get(text) or parse_target(text, request.precision, latencies) for text in request.targets),
        trials=request.trials,
        epochs=request.epochs,
        seed=request.seed,
        objective=request.objective,
        w=request.w,
        band=request.band,
        sampler=request.sampler or "",
        pruner=request.pruner,
        start_from=tuple(_find_start(start, request.storage) for start in request.start_from),
        confirm=request.confirm,
        workers=request.workers or 1,
        retries=request.retries,
        threads=request.threads,
        timeout_s=request.timeout_s,
        patience=request.patience,
        trial_timeout_s=request.trial_timeout_s,
    )
    check(space, settings)
    check_storage(request.storage, request.study, SETTINGS)
    check_cluster(request.engine, request.address)
    cheap, costly = halves(request.evaluator_text)
    options = evolve(request.evaluator_options, source=None if source is None else source.network)
    make = partial(make_evaluator, options=options, space=whole, load=load, fixed=space, say=say)
    screen = Screen(make(cheap), request.screen) if cheap else None
    if callable(request.evaluator):
        evaluator = make_function_evaluator(request.evaluator)
    else:
        evaluator = make(costly, on_batch=on_batch)
    if costly.startswith(ZERO_COST):
        say(f"{costly}: what is called accuracy is a score relative to random networks, from 0 to 1")
    if source is not None and (fresh := describe_fresh(space, source)):
        say(fresh)
    known = None if source is None else (source.name, source.network.arch)
    return plan(space, evaluator, settings, COUNTED, request.study, screen, known)


def find_space_of(
    space: Union[str, "SearchSpace", None], source: "PretrainedSource | None", storage: str
) -> "SearchSpace":
    """Return the search space that a user gave; by default the networks around a pretrained source, else "mnasnet".

    Args:
        space: Name or file of a space, "around:" and a network, or a space; None for the default.
        source: Pretrained network that candidates inherit their weights from, or None.
        storage: Optuna URL of the database in which studies are looked up.

    Raises:
        SpaceError: There is no such space, or its file breaks a rule.
    """
    from nas.api.spaces import find_space
    from nas.arch.presets import preset, preset_names
    from nas.space.around import around

    if space is None and source is not None:
        # The same space as that of "around:" and the preset, so that both make one study.
        name, arch = file_stem(source.name), source.network.arch
        is_preset = name in preset_names() and preset(name) == arch
        return around(arch, name=name, baselines=(name,) if is_preset else ())
    return find_space(space or SPACE, storage) if space is None or isinstance(space, str) else space


def _find_start(start: Union[str, "Architecture"], storage: str) -> "Architecture":
    from nas.api.architectures import check_architecture, find_architecture

    if isinstance(start, str):
        return find_architecture(start, storage)[1]
    check_architecture(start)
    return start


def _without_own(request: SearchRequest) -> list[str]:
    """Return the targets that limit no cost of the user's own."""
    return [text for text in request.targets if target_name(text) not in request.costs]


def _latencies(request: SearchRequest, space: "SearchSpace", say: Say, devices: ExitStack) -> "OnDevice | None":
    """Return the latencies on the device, or None if no target refers to a device."""
    from nas.api.devices import connected, on_device
    from nas.cost.target import needs_device, parse_target

    texts = _without_own(request)
    if not needs_device(texts):
        if request.devices or request.table:
            raise TargetError(
                "--device and --table are about latency, and no target is", "add one like --target latency=8ms"
            )
        return None
    if not request.devices:
        for text in texts:
            parse_target(text)  # Raises the error that names the missing device.
    meter = devices.enter_context(connected(request.devices))
    return on_device(space, meter, request.devices, request.table, request.seed, say)


def _load_images(request: SearchRequest, space: "SearchSpace", say: Say) -> "ImageData":
    from nas.data.load import load_images

    # Pretrained weights are made for the details of images at the network's own resolution.
    usual = PROXY_RESOLUTION if request.pretrained is None else space.resolutions[-1]
    data = load_images(
        request.data,
        resolution=request.proxy_resolution or usual,
        images=request.images,
        channels=space.net["in_channels"],
        validation_share=request.validation_share,
    )
    for note in data.notes:
        say(f"{data.name}: {note}")
    known = (propose_pretrained(request, data), describe_small_images(data, space) if request.pretrained else "")
    for sentence in filter(None, known):
        say(sentence)
    return data
