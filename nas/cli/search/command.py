"""`nas search`: find the most accurate architecture for a target."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from nas.cli.search.result import print_result, print_result_json
from nas.cli.shared.engine import check_engine, engine_options, make_engine
from nas.cli.shared.evaluators import (
    BEFORE,
    FORMS,
    PYTHON,
    SUPERNET,
    TABLE,
    TRAIN,
    ZERO_COST,
    halves,
    make_evaluator,
    settled,
)
from nas.cli.shared.groups import Group, option
from nas.cli.shared.on_device import DEVICE_HELP, connected, on_device
from nas.cli.shared.options import (
    ARCH_HELP,
    INTERRUPTED,
    Duration,
    json_option,
    metric_option,
    read_fixes,
    space_options,
    storage_option,
    supernet_options,
    task_options,
    training_options,
)
from nas.cli.shared.verbs import Verb
from nas.errors import TargetError
from nas.samplers.defaults import PRUNER_NAMES, SAMPLER_NAMES, SURROGATE
from nas.search.defaults import BAND, CONFIRM, SCREENED, TRIALS

if TYPE_CHECKING:
    import numpy as np

    from nas.arch.spec import Architecture
    from nas.cli.shared.progress import Progress
    from nas.cost.base import Target
    from nas.cost.target import OnDevice
    from nas.data.base import ImageData
    from nas.samplers.cost_range import CostRange
    from nas.search.plan import Plan
    from nas.search.screening import Screen
    from nas.space.decode import SearchSpace


# Options that are settings of the same name.
_SETTINGS = (
    *("trials", "epochs", "seed", "objective", "w", "band", "pruner", "confirm"),
    *("retries", "patience"),
)


@runtime_checkable
class Timed(Protocol):
    """An evaluator that can tell how long it will take."""

    def seconds_per_epoch(self, arch: "Architecture") -> float:
        """Seconds that an epoch of this architecture takes here."""
        ...


@click.command(cls=Verb, epilog=ARCH_HELP)
@option(
    Group.TARGET,
    "--target",
    "targets",
    multiple=True,
    required=True,
    metavar="NAME=AMOUNT",
    help="Most that a network may cost: flops=400M, params=5M, peak_memory=8MB, size=5MB or latency=8ms (on --device). "
    "May be repeated; the first target also sets the cost range (--band), further ones are upper bounds only.",
)
@option(Group.TARGET, "--device", "devices", multiple=True, metavar="DEVICE", help=DEVICE_HELP)
@option(
    Group.TARGET,
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    show_default="one made on exactly this device; else candidates are measured",
    help="Latency table that predicts the latency of candidates.",
)
@task_options(Group.TARGET)
@option(
    Group.TARGET,
    "--precision",
    default="fp32",
    show_default=True,
    metavar="FORMAT",
    help="Number format of weights and activations for the targets size and peak_memory: fp32, fp16, bf16 or int8.",
)
@space_options
@option(
    Group.ACCURACY,
    "--evaluator",
    default=TRAIN,
    show_default=True,
    metavar="EVALUATOR",
    help=f"Source of accuracies. {FORMS[TRAIN]}: a short training run. {FORMS[SUPERNET]}: weights that all networks of "
    f"the space share. {FORMS[TABLE]}: a CSV or Parquet file of accuracies. {FORMS[PYTHON]}: a function of yours. "
    f"{FORMS[ZERO_COST]}: a score without training (naswot, distinctness, depth, macs, params or combined). {BEFORE}: "
    "the cheap evaluator scores random networks first, so that the costly one has to evaluate fewer, as in "
    "zero-cost:combined+train.",
)
@option(
    Group.ACCURACY,
    "--screen",
    type=click.IntRange(5, 10_000),
    default=SCREENED,
    show_default=True,
    metavar="N",
    help="Number of random networks that the evaluator before the + scores.",
)
@option(
    Group.ACCURACY,
    "--accuracy",
    default="",
    show_default="accuracy or acc, else that of the lowest seed",
    metavar="COLUMN",
    help="Column of the table that holds the accuracies.",
)
@option(
    Group.ACCURACY,
    "--ignore-columns",
    multiple=True,
    metavar="GLOB",
    help="Columns of the table to ignore, such as 'op*'. May be repeated.",
)
@training_options(Group.ACCURACY)
@metric_option(Group.ACCURACY)
@supernet_options(Group.ACCURACY)
@option(
    Group.ACCURACY,
    "--checkpoint-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    default="nas-checkpoints",
    show_default=True,
    help="Folder for checkpoints of training runs whose epochs take half a minute or longer. An interrupted run goes "
    "on from its checkpoint, on any machine that can read the folder; a finished one removes it.",
)
@option(
    Group.SEARCH,
    "--trials",
    type=click.IntRange(1),
    default=TRIALS,
    show_default=True,
    metavar="N",
    help="Number of architectures that the study evaluates, earlier runs of it included.",
)
@option(
    Group.SEARCH,
    "--study",
    default="",
    metavar="NAME",
    show_default="made from the settings",
    help="Name of the study. A study of the same name and settings is continued.",
)
@option(
    Group.SEARCH,
    "--start-from",
    "starts",
    multiple=True,
    metavar="ARCH",
    help="Known architecture that is evaluated first. May be repeated.",
)
@option(
    Group.SEARCH,
    "--objective",
    type=click.Choice(["soft", "hard", "absolute", "pareto"]),
    default="soft",
    show_default=True,
    help="How costs enter the score of a trial; pareto searches for a whole Pareto front.",
)
@option(
    Group.SEARCH,
    "--w",
    type=float,
    metavar="W",
    show_default="that of the objective, -0.07 for soft",
    help="Exponent of COST/TARGET in the score.",
)
@option(
    Group.SEARCH,
    "--band",
    type=float,
    metavar="SHARE",
    default=BAND,
    show_default=True,
    help="Cost range, as a share of the first target: networks that cost less than this share are not evaluated.",
)
@option(
    Group.SEARCH,
    "--sampler",
    metavar="NAME",
    show_default=SURROGATE,
    help=f"Method that suggests architectures: {', '.join(SAMPLER_NAMES)}, or optuna:CLASS for another sampler of "
    "Optuna.",
)
@option(
    Group.SEARCH,
    "--pruner",
    type=click.Choice(PRUNER_NAMES),
    default="median",
    show_default=True,
    help="Rule that stops unpromising trials between epochs.",
)
@option(
    Group.SEARCH,
    "--confirm",
    type=click.IntRange(0, 100),
    default=CONFIRM,
    show_default=True,
    metavar="N",
    help="Number of the best trials that are re-trained with two more seeds at the end; at most a quarter of all.",
)
@option(
    Group.SEARCH,
    "--timeout",
    type=Duration(),
    metavar="DURATION",
    show_default="no limit",
    help="Time after which no new trial is started: 90s, 45m or 2h.",
)
@option(
    Group.SEARCH,
    "--patience",
    type=click.IntRange(1),
    metavar="N",
    show_default="no limit",
    help="Number of trials in a row without a better result after which the search stops.",
)
@option(
    Group.SEARCH,
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of all random numbers.",
)
@option(
    Group.SEARCH,
    "--dry-run",
    is_flag=True,
    help="Print what the search would do and how long it would take, and evaluate nothing.",
)
@engine_options
@storage_option
@json_option
@click.pass_context
def command(context: click.Context, /, **_options: Any) -> None:
    """Search for the most accurate architecture that meets a target.

    \b
    Example:
      nas search --target flops=400M
      nas search --target flops=300M --target params=5M --data photos/ --epochs 5
      nas search --target latency=8ms --device cpu
      nas search --target params=1M --space my.yaml --evaluator table:scores.csv

    FLOPs are multiply-adds: one multiply-add counts as one. Costs are those of the target task (--resolution,
    --classes). Accuracies come from the proxy task, a short training run on --data (--epochs, --proxy-resolution,
    --images), or from another --evaluator.
    """
    from nas.cli.shared.progress import make_progress
    from nas.search.run import run
    from nas.studies.opening import quiet_optuna

    options = settled(context)
    check_engine(context)
    quiet_optuna()
    progress = make_progress(plain=options["as_json"])
    with ExitStack() as open_devices:
        planned = _plan(options, progress, open_devices)
        if options["dry_run"]:
            _print_plan(planned, options)
            return
        with progress:
            try:
                view = run(planned, storage=options["storage"], listen=progress.listen, workers=make_engine(options))
            except KeyboardInterrupt:
                progress.say(f"stopped; the same command goes on with study {planned.study_name}")
                raise
    (print_result_json if options["as_json"] else print_result)(view, options["storage"])
    if progress.stopped:
        click.echo(f"stopped; the same command goes on with study {planned.study_name}", err=True)
        context.exit(INTERRUPTED)


def _plan(options: dict[str, Any], progress: "Progress", open_devices: ExitStack) -> "Plan":
    """Everything that the options name, loaded and checked; the evaluator comes last: images take longest."""
    from nas.cli.shared.reference import find_architecture
    from nas.cost.analytic import COUNTED, peak_memory
    from nas.cost.target import parse_target
    from nas.search.plan import check, check_objective, plan
    from nas.search.screening import Screen
    from nas.search.settings import Settings
    from nas.space.files import find_space

    whole = find_space(options["space"]).for_target(resolution=options["resolution"], classes=options["classes"])
    space = whole.fix(read_fixes(options["fixes"]))
    peak_memory(options["precision"])  # refuses an unknown one, whatever the targets are
    check_objective(options["objective"], options["w"], options["band"])
    latencies = _latencies(options, space, progress, open_devices)
    settings = Settings(
        targets=tuple(parse_target(text, options["precision"], latencies) for text in options["targets"]),
        start_from=tuple(find_architecture(name, options["storage"])[1] for name in options["starts"]),
        sampler=options["sampler"] or "",
        timeout_s=options["timeout"],
        workers=options["workers"] or 1,
        **{name: options[name] for name in _SETTINGS},
    )
    check(space, settings)
    cheap, costly = halves(options["evaluator"])
    load = cache(lambda: _images(options, progress))
    make = partial(make_evaluator, options=options, space=whole, load=load, fixed=space, say=progress.say)
    screen = Screen(make(cheap), options["screen"]) if cheap else None
    evaluator = make(costly, on_batch=progress.on_batch)
    if costly.startswith(ZERO_COST):
        progress.say(f"{costly}: what is called accuracy is a standing among random networks, 0 to 1")
    return plan(space, evaluator, settings, COUNTED, options["study"], screen)


def _latencies(
    options: dict[str, Any], space: "SearchSpace", progress: "Progress", open_devices: ExitStack
) -> "OnDevice | None":
    """What is known of the device; None where no target is about one."""
    from nas.cost.target import needs_device, parse_target

    if not needs_device(options["targets"]):
        if options["devices"] or options["table"]:
            raise TargetError(
                "--device and --table are about latency, and no target is", "add one like --target latency=8ms"
            )
        return None
    if not options["devices"]:
        for text in options["targets"]:
            parse_target(text)  # tells what is missing
    meter = open_devices.enter_context(connected(options["devices"]))
    return on_device(space, meter, options["devices"], options["table"], options["seed"], progress.say)


def _images(options: dict[str, Any], progress: "Progress") -> "ImageData":
    from nas.data.load import load_images

    data = load_images(options["data"], resolution=options["proxy_resolution"], images=options["images"])
    for note in data.notes:
        progress.say(f"{data.name}: {note}")
    return data


def _print_plan(planned: "Plan", options: dict[str, Any]) -> None:
    """What would be done, with an estimate of its time."""
    import numpy as np

    from nas.cli.shared.printing import print_json

    report = _plan_report(planned, options["storage"], np.random.default_rng(options["seed"]))
    if options["as_json"]:
        print_json(report)
        return
    for name, value in report.items():
        click.echo(f"{name.replace('_', ' '):22} {_shown(value)}")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _plan_report(planned: "Plan", storage: str, rng: "np.random.Generator") -> dict[str, Any]:
    from nas.studies.urls import mask

    settings, band = planned.settings, planned.cost_range
    seconds = _seconds_a_trial(planned)
    evaluations = settings.trials + (planned.baseline is not None) + _further(planned)
    before = sum(each.seconds_to_prepare() for each in planned.preparing) + _seconds_to_screen(planned)
    return {
        "study": planned.study_name,
        "storage": mask(storage),
        "space": band.space.name,
        "targets": [target.text for target in settings.targets],
        "target_task": {key: planned.described[key] for key in ("resolution", "classes")},
        "objective": settings.objective,
        "let_in": {t.name: f"{t.amount(low)} to {t.amount(high)}" for t, low, high in _limits(band)},
        "share_let_in": _share_let_in(planned, rng),
        "sampler": settings.sampler_name,
        "proxy_task": _proxy_task(planned.described["proxy"], settings.epochs),
        **({} if planned.screen is None else {"screen": _screen(planned.screen)}),
        "baseline": planned.baseline[0] if planned.baseline else "none",
        "trials": settings.trials,
        "seconds_a_trial": None if seconds is None else round(seconds, 1),
        "seconds_in_all": None if seconds is None else round(before + seconds * evaluations),
    }


def _share_let_in(planned: "Plan", rng: "np.random.Generator") -> str:
    if planned.pool is None:
        return f"{planned.cost_range.share(rng):.1%} of random architectures"
    inside = int((planned.cost_range.excess(planned.pool) == 0).sum())
    return f"{inside:,} of the {len(planned.pool):,} that the evaluator can score"


def _proxy_task(described: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The images and the training, or the evaluator that does without."""
    if "data" not in described or described["evaluator"] == ZERO_COST:
        return dict(described)
    kept = ("evaluator", "data", "resolution", "metric", "precision")
    shown = {name: described[name] for name in kept if name in described}
    return shown | {"epochs": described["recipe"]["epochs"] if described["evaluator"] == SUPERNET else epochs}


def _screen(screen: "Screen") -> dict[str, Any]:
    """What looks through the band first, and at how much of it."""
    return {"networks": screen.networks, **_proxy_task(screen.describe(), 1)}


def _seconds_a_trial(planned: "Plan") -> float | None:
    """An estimate from the first network that would be evaluated; None where the evaluator gives none."""
    from nas.search.plan import first_proposal

    if not isinstance(planned.evaluator, Timed):
        return None
    arch = first_proposal(planned.cost_range, planned.settings).arch
    return planned.settings.epochs * planned.evaluator.seconds_per_epoch(arch)


def _further(planned: "Plan") -> int:
    """Evaluations of the best with more seeds."""
    from nas.evaluate.base import Reseedable
    from nas.objective import PARETO
    from nas.search.retraining import SEEDS, SHARE

    if not isinstance(planned.evaluator, Reseedable) or planned.settings.objective == PARETO:
        return 0
    return SEEDS * min(planned.settings.confirm, planned.settings.trials // SHARE)


def _seconds_to_screen(planned: "Plan") -> float:
    """What the look through the band takes; 0 where the evaluator that looks gives no estimate."""
    from nas.search.plan import first_proposal

    screen = planned.screen
    if screen is None or not isinstance(screen.evaluator, Timed):
        return 0.0
    first = first_proposal(planned.cost_range, planned.settings)
    return screen.networks * screen.evaluator.seconds_per_epoch(first.arch)


def _limits(band: "CostRange") -> "Iterator[tuple[Target, float, float]]":
    return zip(band.targets, band.limits.low, band.limits.high, strict=True)
