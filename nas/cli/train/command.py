"""`nas train`: train one network fully, and test it once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.checkpoint_options import weights_dir_option
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    ARCH_HELP,
    all_of,
    arch_argument,
    data_options,
    json_option,
    metric_option,
    source_option,
)
from nas.cli.shared.parameter_types import Duration
from nas.cli.shared.verbs import Verb
from nas.cli.train.options import TEACHER_OPTIONS, TRACKING_OPTIONS
from nas.train.defaults import METRIC_NAMES, RECIPE_NAMES

if TYPE_CHECKING:
    from nas.api.train import TrainingResult


@click.command(cls=Verb, epilog=ARCH_HELP)
@arch_argument
@data_options(Group.TRAINING)
@option(
    Group.TRAINING,
    "--resolution",
    type=click.IntRange(4, 1024),
    metavar="N",
    show_default="that of ARCH",
    help="Height and width of the images, in pixels.",
)
@option(
    Group.TRAINING,
    "--recipe",
    metavar="RECIPE",
    show_default="finetune with weights to start from, else fast",
    help=f"Settings of the training run: {', '.join(RECIPE_NAMES)}, or a .yaml file.",
)
@option(
    Group.TRAINING,
    "--epochs",
    type=click.IntRange(1, 100_000),
    metavar="N",
    show_default="that of the recipe",
    help="Number of epochs.",
)
@option(
    Group.TRAINING,
    "--timeout",
    "timeout_s",
    type=Duration(),
    metavar="DURATION",
    show_default="no limit",
    help="Time in which the training run ends, such as 45m or 2h; the number of epochs is chosen by the duration of a "
    "few steps.",
)
@metric_option(Group.TRAINING)
@option(
    Group.TRAINING,
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of all random numbers.",
)
@option(
    Group.TRAINING,
    "--deterministic",
    is_flag=True,
    help="Use deterministic algorithms alone, so that a training run on a GPU gives the same weights again.",
)
@option(
    Group.WEIGHTS,
    "--pretrained",
    metavar="SOURCE",
    show_default="the weights that a search kept, else random weights",
    help="Network whose weights ARCH inherits: efficientnet-lite0, -lite1 or -lite2, timm:NAME, torchvision:NAME, "
    "hub:OWNER/NAME, a file or a folder of `nas train`, as in `nas weights SOURCE`; none for random weights.",
)
@option(
    Group.WEIGHTS,
    "--normalization",
    metavar="NORMALIZATION",
    show_default="that of SOURCE",
    help="Normalization of the images, where SOURCE does not say: imagenet, 0..1, -1..1, or MEAN/STD.",
)
@weights_dir_option
@source_option
@all_of(*TEACHER_OPTIONS)
@option(
    Group.OUTPUT,
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    show_default="the name of ARCH and -trained",
    help="Folder for weights, architecture, recipe, metrics and progress. It is a CHECKPOINT for other commands.",
)
@all_of(*TRACKING_OPTIONS)
@json_option
def command(reference: str, as_json: bool, **options: Any) -> None:
    """Train a network on your images, and test it once at the end.

    \b
    Example:
      nas train efficientnet-lite0 --pretrained efficientnet-lite0 --data photos/
      nas train study:demo:best --data photos/ --timeout 2h
      nas train mobilenetv2 --resolution 32 --data cifar10/ --recipe fast

    The training split trains, the validation split chooses the best epoch, and the test split, which is held out if
    DATA has none, is used once at the end. The same command continues after an interruption. Several processes that
    torchrun starts train the network together, as in torchrun ... -m nas train ARCH.
    """
    from nas.api.train import run_training
    from nas.api.train_request import TrainRequest
    from nas.cli.shared.printing import print_json
    from nas.cli.train.progress import make_progress

    request = TrainRequest(arch=reference, **options)
    with make_progress(plain=as_json) as progress:
        try:
            result = run_training(request, progress)
        except KeyboardInterrupt:
            progress.say("stopped; the same command continues after the last finished epoch")
            raise
    if not result.is_first_process:
        return
    if as_json:
        print_json({"folder": str(result.folder), **result.metrics})
    else:
        _print(result, options["data"])


def _print(result: "TrainingResult", data: str) -> None:
    from nas.cli.shared.printing import next_command

    metrics = result.metrics
    # The test reports the plain accuracy, whatever chose the best epoch.
    name = "accuracy" if metrics["metric"] == METRIC_NAMES[0] else f"{metrics['metric']} accuracy"
    best = f"best epoch {metrics['best_epoch']} of {metrics['epochs']}"
    click.echo(f"{best}: validation {name} {_interval(metrics['validation'])}")
    click.echo(f"test ({metrics['test']['images']:,} images): accuracy {_interval(metrics['test'])}")
    folder = str(result.folder)
    click.echo(f"the weights, the metrics and the drawings of the test are in {folder}")
    click.echo(f"next: {next_command('evaluate', folder, '--data', data, '--robustness')}")
    click.echo(f"      {next_command('predict', folder)} IMAGE")


def _interval(found: dict[str, float]) -> str:
    from nas.cli.shared.printing import percent

    return f"{percent(found['accuracy'])} (95% interval {percent(found['low'])} to {percent(found['high'])})"
