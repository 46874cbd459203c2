"""`nas predict`: the classes that a trained network gives image files."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs
import click

from nas.cli.evaluate.command import CHECKPOINT_HELP, train_on_option
from nas.cli.shared.exits import FAILED
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.train.assessment.prediction import Prediction


@click.command(cls=Verb, epilog=CHECKPOINT_HELP)
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.argument("images", metavar="IMAGE|FOLDER...", nargs=-1, required=True)
@option(
    Group.IMAGES,
    "--top",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="K",
    help="Number of classes for each image, the most probable first.",
)
@train_on_option
@json_option
@click.pass_context
def command(
    context: click.Context, checkpoint: str, images: tuple[str, ...], top: int, train_on: str | None, as_json: bool
) -> None:
    """Predict the class of image files.

    \b
    Example:
      nas predict photos-trained/ holiday.jpg
      nas predict photos-trained/ photos/new/ --top 3 --json

    Images are resized and normalized as in the training run of CHECKPOINT. Each line has a file, a class and its
    probability. A file that cannot be decoded is reported, the others are predicted, and the exit status is 1.
    """
    from nas.api.evaluation import predictions
    from nas.cli.shared.printing import print_json

    found = _reported(predictions(checkpoint, images, top, train_on), as_json=as_json)
    failed = sum(1 for each in found if each.problem)
    if as_json:
        print_json({"checkpoint": checkpoint, "predictions": [_row(each) for each in found], "failed": failed})
    if failed:
        context.exit(FAILED)


def _reported(found: "Iterable[Prediction]", *, as_json: bool) -> "list[Prediction]":
    """Print each prediction as soon as it is known, and return all of them."""
    from nas.cli.shared.printing import plain, say

    kept = []
    for each in found:
        kept.append(each)
        if each.problem:
            say(f"{each.problem}; the other images are predicted")
        elif not as_json:
            pairs = zip(each.classes, each.probabilities, strict=True)
            classes = "  ".join(f"{name}  {100 * probability:.2f}%" for name, probability in pairs)
            click.echo(plain(f"{each.file}  {classes}"))
    return kept


def _row(each: "Prediction") -> dict[str, Any]:
    ranking = [{"class": n, "probability": p} for n, p in zip(each.classes, each.probabilities, strict=True)]
    row = attrs.asdict(each)
    return {"file": row["file"], "predictions": ranking, "problem": each.problem or None}
