"""`nas search`: find the most accurate architecture for a target."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from nas.cli.search.result import print_result, print_result_json
from nas.cli.shared.engine import check_engine, engine_options, make_engine
from nas.cli.shared.evaluators import BEFORE, FORMS, SUPERNET, TRAIN, ZERO_COST, halves, make_evaluator, settled
from nas.cli.shared.on_device import DEVICE_HELP, connected, on_device
from nas.cli.shared.options import (
    ARCH_HELP,
    INTERRUPTED,
    Span,
    json_option,
    metric_option,
    read_fixes,
    space_options,
    storage_option,
    supernet_options,
    target_task_options,
    training_options,
)
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


@click.command(epilog=ARCH_HELP)
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    metavar="NAME=AMOUNT",
    help="What it may cost: flops=400M, params=5M, peak_memory=8MB, size=5MB, latency=8ms (on --device). The first "
    "one sets the band, more are upper limits.",
)
@click.option("--device", "devices", multiple=True, metavar="DEVICE", help=DEVICE_HELP)
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A latency table of the device.  [default: one that is exactly of it, else candidates are measured]",
)
@space_options
@click.option(
    "--evaluator",
    default=TRAIN,
    show_default=True,
    metavar="|".join((*FORMS.values(), BEFORE)),
    help="Where accuracies come from: a short training, weights that all networks of the space share, a CSV or Parquet "
    "file that holds them, a function of yours, or a standing without training (naswot, distinctness, depth, macs, "
    "params, combined). Before a + one that looks through the band first, so that the other is asked less: "
    "zero-cost:combined+train.",
)
@click.option(
    "--screen",
    type=click.IntRange(5, 10_000),
    default=SCREENED,
    show_default=True,
    metavar="N",
    help="Random networks that the evaluator before the + looks at.",
)
@click.option(
    "--accuracy",
    default="",
    metavar="COLUMN",
    help="The table's column to search by.  [default: accuracy or acc, else the lowest seed]",
)
@click.option(
    "--ignore-columns", multiple=True, metavar="GLOB", help="Columns of the table that say nothing here: 'op*'."
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=TRIALS,
    show_default=True,
    help="Architectures to evaluate in the whole study.",
)
@click.option(
    "--study",
    default="",
    metavar="NAME",
    help="Its name; the same name and settings go on where it stopped.  [default: made of the settings]",
)
@storage_option
@click.option("--start-from", "starts", multiple=True, metavar="ARCH", help="A known network to evaluate first.")
@target_task_options
@click.option(
    "--precision", default="fp32", show_default=True, help="Of weights and activations, for size and peak_memory."
)
@training_options("Pixels of a side in the proxy task.")
@metric_option
@supernet_options
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "--objective",
    type=click.Choice(["soft", "hard", "absolute", "pareto"]),
    default="soft",
    show_default=True,
    help="How costs enter the score; pareto looks for a whole front.",
)
@click.option("--w", type=float, help="Exponent of COST/T in the score.  [default: the objective's, -0.07 for soft]")
@click.option(
    "--band",
    type=float,
    default=BAND,
    show_default=True,
    help="Share of the first target below which nothing is evaluated.",
)
@click.option(
    "--sampler",
    metavar="NAME",
    help=f"{', '.join(SAMPLER_NAMES)}, or optuna:CLASS for another of Optuna's.  [default: {SURROGATE}, made for this]",
)
@click.option(
    "--pruner",
    type=click.Choice(PRUNER_NAMES),
    default="median",
    show_default=True,
    help="What stops unpromising trials between epochs.",
)
@click.option(
    "--confirm",
    type=click.IntRange(0, 100),
    default=CONFIRM,
    show_default=True,
    metavar="N",
    help="Train so many of the best with two more seeds in the end, at most a quarter of all.",
)
@engine_options
@click.option(
    "--checkpoint-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default="nas-checkpoints",
    show_default=True,
    help="Where trainings with epochs of half a minute and more are kept after each, until they end. A training whose "
    "process was ended goes on from there, on any machine that sees the folder.",
)
@click.option(
    "--timeout",
    type=Span(),
    metavar="SPAN",
    help="Begin nothing new after so long: 90s, 45m, 2h.  [default: no limit]",
)
@click.option(
    "--patience", type=click.IntRange(1), metavar="N", help="Stop when N trials in a row have brought nothing better."
)
@click.option("--dry-run", is_flag=True, help="Print what would be done and how long it would take.")
@json_option
@click.pass_context
def command(context: click.Context, /, **_options: Any) -> None:
    """Search for the most accurate architecture that meets a target.

    \b
    Example:
      nas search --target flops=400M
      nas search --target flops=300M --target params=5M --data photos/ --trials 100 --epochs 5
      nas search --target latency=8ms --device cpu
      nas search --target params=1M --space my.yaml --evaluator table:accuracies.csv

    FLOPs are multiply-adds. Costs are those of the target task (--resolution, --classes); accuracy comes from a short
    training on --data (--epochs, --proxy-resolution, --images), the proxy task, or from another --evaluator.
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
