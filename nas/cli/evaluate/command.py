"""`nas evaluate`: accuracy, calibration, confusions and robustness of a trained network on labeled images."""

from pathlib import Path
from typing import Any

import click
from attrs import frozen

from nas.api.evaluation import IMAGES, SPLITS, EvaluationOptions
from nas.cli.shared.checkpoint_options import trained_share_option
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option, take
from nas.cli.shared.verbs import Verb

CHECKPOINT_HELP = "CHECKPOINT is a folder that nas train wrote, a weights file, or any other SOURCE of nas weights."
train_on_option = option(
    Group.IMAGES,
    "--train-on",
    type=click.Choice(["cpu", "cuda", "mps"]),
    show_default="cuda or mps where available, else cpu",
    help="Device that computes.",
)


@frozen
class EvaluateOptions:
    """Hold the parsed options of `nas evaluate`."""

    checkpoint: str
    against: str | None
    out: Path | None
    png: bool
    as_json: bool
    evaluation: EvaluationOptions


@click.command(cls=Verb, epilog=CHECKPOINT_HELP)
@click.argument("checkpoint", metavar="CHECKPOINT")
@option(
    Group.IMAGES,
    "--data",
    required=True,
    metavar="DATA",
    help="Labeled images: digits, a folder, a Parquet file or folder, or the name of a data set on the Hugging Face "
    "hub. Their classes are those of CHECKPOINT, in any order.",
)
@option(
    Group.IMAGES,
    "--split",
    type=click.Choice(SPLITS),
    default=SPLITS[0],
    show_default=True,
    help="Split of DATA to evaluate.",
)
@trained_share_option
@option(
    Group.IMAGES,
    "--against",
    metavar="OTHER",
    show_default="none",
    help="Another CHECKPOINT to evaluate on the same images.",
)
@train_on_option
@option(
    Group.ROBUSTNESS,
    "--robustness",
    is_flag=True,
    help="Evaluate corrupted images too (15 corruptions, 5 severities), slightly changed ones, and other backgrounds.",
)
@option(
    Group.ROBUSTNESS,
    "--images",
    type=click.IntRange(2),
    default=IMAGES,
    show_default=True,
    metavar="N",
    help="Number of images for --robustness, spread evenly over the split. They are evaluated about 100 times.",
)
@option(
    Group.ROBUSTNESS,
    "--masks",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    show_default="approximated from the colors",
    help="Masks of the objects, white on black, with the names of the images.",
)
@option(
    Group.OUTPUT,
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    show_default="not written",
    help="Folder for evaluation.json and the drawings, as pages.",
)
@option(
    Group.OUTPUT,
    "--png",
    is_flag=True,
    help="Write the drawings in --out as pictures too, which needs hwnas[png] and Chrome or Chromium.",
)
@json_option
def command(**options: Any) -> None:
    """Evaluate a trained network on labeled images: accuracy, classes, confusions, calibration and robustness.

    \b
    Example:
      nas evaluate photos-trained/ --data photos/
      nas evaluate photos-trained/ --data photos/ --robustness --out evaluation
      nas evaluate photos-trained/ --data photos/ --against baseline.safetensors

    All intervals are 95% confidence intervals. A class without images in the split is reported as unknown.
    """
    from nas.api.evaluation import evaluate, write_evaluation
    from nas.cli.evaluate.report import print_evaluation
    from nas.cli.shared.printing import print_json, say

    given = _read(options)
    found = evaluate(given.checkpoint, given.evaluation, given.against, say)
    # Printed before anything is written, so that a full disk loses no results.
    if given.as_json:
        print_json(found.as_json())
    else:
        print_evaluation(found)
    written = [] if given.out is None else write_evaluation(found, given.out, png=given.png)
    for path in () if given.as_json else written:
        click.echo(f"wrote {path}")


def _read(options: dict[str, Any]) -> EvaluateOptions:
    """Return the options as a record.

    Raises:
        UsageError: An option is given without another one that it needs.
    """
    if options["masks"] is not None and not options["robustness"]:
        raise click.UsageError("--masks is used by --robustness only; give --robustness too")
    if options["png"] and options["out"] is None:
        raise click.UsageError("--png writes the drawings of --out as pictures; give --out too")
    return EvaluateOptions(evaluation=take(EvaluationOptions, options), **options)
