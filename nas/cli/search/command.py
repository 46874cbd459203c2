"""`nas search`: find the most accurate architecture for a target."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas.api.evaluators import BEFORE, FORMS, TRAIN
from nas.cli.search.engine import engine_options
from nas.cli.search.result import print_result, print_result_json
from nas.cli.shared.on_device import DEVICE_HELP
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
from nas.samplers.defaults import PRUNER_NAMES, SAMPLER_NAMES, SURROGATE
from nas.search.defaults import BAND, CONFIRM, SCREENED, TRIALS

if TYPE_CHECKING:
    from nas.api.request import SearchRequest

# Options whose field in `SearchRequest` has another name, and options that are not part of it.
_FIELDS: Mapping[str, str] = MappingProxyType({"starts": "start_from", "timeout": "timeout_s"})
_PRINTING = ("dry_run", "as_json")


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
def command(context: click.Context, /, dry_run: bool, as_json: bool, **_options: Any) -> None:
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
    from nas.api.plan_report import report_plan
    from nas.api.search import plan_search, run_search
    from nas.cli.shared.progress import make_progress

    request = _read_request(context)
    progress = make_progress(plain=as_json)
    with plan_search(request, say=progress.say, on_batch=progress.on_batch) as planned:
        if dry_run:
            _print_plan(report_plan(planned.plan, request.storage), as_json=as_json)
            return
        study = planned.plan.study_name
        with progress:
            try:
                view = run_search(planned, listen=progress.listen)
            except KeyboardInterrupt:
                progress.say(f"stopped; the same command goes on with study {study}")
                raise
    (print_result_json if as_json else print_result)(view, request.storage)
    if progress.stopped:
        click.echo(f"stopped; the same command goes on with study {study}", err=True)
        context.exit(INTERRUPTED)


def _read_request(context: click.Context) -> "SearchRequest":
    """Return the options as a request; every option but those about printing is one of its fields.

    Raises:
        NasError: An option cannot be used.
    """
    from nas.api.request import SearchRequest

    options = {_FIELDS.get(name, name): value for name, value in context.params.items() if name not in _PRINTING}
    given = frozenset(name for name in context.params if _is_given(context, name))
    return SearchRequest(**{**options, "fixes": read_fixes(options["fixes"])}, given=given)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def _print_plan(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what would be done."""
    from nas.cli.shared.printing import print_json

    if as_json:
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
