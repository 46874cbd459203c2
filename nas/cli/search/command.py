"""`nas search`: find the most accurate architecture for a target."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import click
from click.core import ParameterSource

from nas.api.evaluators import BEFORE, FINETUNE, FORMS, PYTHON, SUPERNET, TABLE, TRAIN, ZERO_COST
from nas.api.own_costs import COST_FORMS, PYTHON_ONNX, read_costs
from nas.cli.search.result import print_result, print_result_json
from nas.cli.shared.engine import engine_options
from nas.cli.shared.exits import INTERRUPTED, TARGET_MISSED
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    ARCH_HELP,
    DEVICE_HELP,
    OF_DATA,
    accuracy_unit_option,
    json_option,
    metric_option,
    pretrained_options,
    read_fixes,
    space_options_of,
    storage_option,
    supernet_options,
    task_options,
    training_options,
)
from nas.cli.shared.parameter_types import Duration, Number, NumberRange, PatienceType
from nas.cli.shared.verbs import Verb
from nas.samplers.defaults import PRUNER_NAMES, SAMPLER_NAMES, SURROGATE
from nas.search.defaults import BAND, CONFIRM, COST_TIMEOUT_S, KEEP_WEIGHTS, SCREENED, TRIALS

if TYPE_CHECKING:
    from nas.api.request import SearchRequest

# Options whose field in `SearchRequest` has another name, and options that are not part of it.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "starts": "start_from",
        "timeout": "timeout_s",
        "trial_timeout": "trial_timeout_s",
        "cost_timeout": "cost_timeout_s",
    }
)
_PRINTING = ("dry_run", "price", "as_json")


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
@option(
    Group.TARGET,
    "--cost",
    "costs",
    multiple=True,
    metavar="NAME=FUNCTION",
    help=f"Cost of your own for a target NAME=AMOUNT with any unit, as in --target energy=12mJ. "
    f"{COST_FORMS[PYTHON]}: a function of an architecture that returns a number. {COST_FORMS[PYTHON_ONNX]}: a function "
    "of the path of an ONNX file. May be repeated.",
)
@option(
    Group.TARGET,
    "--cost-timeout",
    type=Duration(),
    default=f"{COST_TIMEOUT_S / 60:g}m",
    show_default=True,
    metavar="DURATION",
    help="Longest duration of one call of a --cost function. After it, the network counts as one without a cost.",
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
@task_options(Group.TARGET, OF_DATA.format("or without images that of the space"))
@option(
    Group.TARGET,
    "--precision",
    default="fp32",
    show_default=True,
    metavar="FORMAT",
    help="Number format of weights and activations for the targets size and peak_memory: fp32, fp16, bf16 or int8.",
)
@space_options_of("the networks around SOURCE with --pretrained, else mnasnet")
@option(
    Group.ACCURACY,
    "--evaluator",
    show_default=f"{FINETUNE} with --pretrained, else {TRAIN}",
    metavar="EVALUATOR",
    help=f"Source of accuracies. {FORMS[TRAIN]}: a short training run from random weights. {FORMS[FINETUNE]}: a short "
    f"training run from the weights that a network inherits from --pretrained. {FORMS[SUPERNET]}: weights that all "
    f"networks of the space share. {FORMS[TABLE]}: a CSV or Parquet file of accuracies. {FORMS[PYTHON]}: a function of "
    f"yours. {FORMS[ZERO_COST]}: a score without training (naswot, distinctness, depth, macs, params or combined). "
    f"{BEFORE}: the cheap evaluator scores random networks first, so that the costly one has to evaluate fewer, as in "
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
@accuracy_unit_option(Group.ACCURACY)
@option(
    Group.ACCURACY,
    "--ignore-columns",
    multiple=True,
    metavar="GLOB",
    help="Columns of the table to ignore, such as 'op*'. May be repeated.",
)
@pretrained_options(Group.ACCURACY)
@option(
    Group.ACCURACY,
    "--keep-weights",
    type=click.IntRange(0, 10_000),
    default=KEEP_WEIGHTS,
    show_default=True,
    metavar="N",
    help="Number of the best trials whose fine-tuned weights are kept in --weights-dir.",
)
@training_options(Group.ACCURACY, resolution=None)
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
    type=Number(),
    metavar="W",
    show_default="that of the objective, -0.07 for soft",
    help="Exponent of COST/TARGET in the score.",
)
@option(
    Group.SEARCH,
    "--band",
    type=Number(),
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
    help="Number of the best trials that are re-trained with two more seeds at the end, at most a quarter of all. The "
    "baseline is re-trained too, and up to as many further trials if they are then expected to be the best.",
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
    type=PatienceType(),
    metavar="N|CHANCE|auto",
    show_default="no limit",
    help="Number of trials in a row without a better result after which the search stops. With a chance such as 1%, it "
    "stops after 20 such trials, and later, if the chance of a gain above 0.1 points is at most that; auto is 1%.",
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
@option(
    Group.SEARCH,
    "--price",
    type=NumberRange(0),
    metavar="AMOUNT",
    show_default="not estimated",
    help="Price of an hour on this machine, from which --dry-run estimates the price of the search.",
)
@engine_options
@storage_option
@json_option
@click.pass_context
def command(context: click.Context, /, dry_run: bool, price: float | None, as_json: bool, **_options: Any) -> None:
    """Search for the most accurate architecture that meets a target.

    \b
    Example:
      nas search --target latency=8ms --device cpu --data photos/ \\
        --pretrained efficientnet-lite0
      nas search --target flops=400M
      nas search --target flops=300M --target params=5M --data photos/ --epochs 5
      nas search --target latency=8ms --device cpu
      nas search --target params=1M --space my.yaml --evaluator table:scores.csv
      nas search --target energy=12mJ --cost energy=python:meter:energy

    FLOPs are multiply-adds: one multiply-add counts as one. Costs are those of the target task (--resolution,
    --classes). Accuracies come from the proxy task, a short training run on --data (--epochs, --proxy-resolution,
    --images), or from another --evaluator.
    """
    from nas.api.engines import cores_per_worker
    from nas.api.plan_report import report_plan
    from nas.api.search import kept_weights, plan_search, run_search
    from nas.cli.shared.progress import make_progress
    from nas.search.verification import describe_miss

    if price is not None and not dry_run:
        raise click.UsageError("--price needs --dry-run; add --dry-run, or leave --price out")
    request = _read_request(context)
    progress = make_progress(plain=as_json)
    with plan_search(request, say=progress.say, on_batch=progress.on_batch) as planned:
        kept = kept_weights(planned)
        if dry_run:
            cores = cores_per_worker(request.engine, request.workers)
            _print_plan(report_plan(planned.plan, request.storage, cores, price), as_json=as_json)
            return
        study = planned.plan.study_name
        with progress:
            try:
                view = run_search(planned, listen=progress.listen, say=progress.say)
            except KeyboardInterrupt:
                progress.say(f"stopped; the same command goes on with study {study}")
                raise
    missed = "" if progress.stopped else describe_miss(view)
    if missed:
        click.echo(missed, err=as_json)
    if as_json:
        print_result_json(view, request.storage, kept)
    else:
        print_result(view, request.storage, kept, _training_options(request))
    if progress.stopped:
        click.echo(f"stopped; the same command goes on with study {study}", err=True)
        context.exit(INTERRUPTED)
    if missed:
        context.exit(TARGET_MISSED)


def _read_request(context: click.Context) -> "SearchRequest":
    """Return the options as a request; every option but those about printing is one of its fields.

    Raises:
        NasError: An option cannot be used.
    """
    from nas.api.request import SearchRequest

    options = {_FIELDS.get(name, name): value for name, value in context.params.items() if name not in _PRINTING}
    given = frozenset(name for name in context.params if _is_given(context, name))
    fixes, costs = read_fixes(options.pop("fixes")), read_costs(options.pop("costs"))
    return SearchRequest(**options, fixes=fixes, costs=costs, given=given)


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


def _training_options(request: "SearchRequest") -> tuple[str, ...]:
    """Return the options with which `nas train` finds the images and the kept weights of a search."""
    folder = str(request.weights_dir)
    usual = folder == str(attrs.fields_dict(type(request))["weights_dir"].default)
    return ("--data", request.data, *(() if usual else ("--weights-dir", folder)))
