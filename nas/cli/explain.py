"""`nas explain`: class activation maps of trained networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from attrs import frozen

from nas.api.explain import METHOD_NAMES
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.api.explain import Explanation, NetworkExplanation


@frozen
class ExplainOptions:
    """Hold the parsed options of `nas explain`."""

    checkpoint: str
    images: tuple[str, ...]
    against: str | None
    method: str
    label: str | None
    out: Path
    train_on: str
    as_json: bool


@click.command(cls=Verb)
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@option(
    Group.WEIGHTS,
    "--against",
    metavar="OTHER",
    show_default="no other network",
    help="Another CHECKPOINT, whose map stands beside the first one.",
)
@option(
    Group.MEASUREMENT,
    "--method",
    type=click.Choice(METHOD_NAMES),
    default=METHOD_NAMES[0],
    show_default=True,
    help="How maps are made: from the last convolution (gradcam), or from the pixels.",
)
@option(
    Group.MEASUREMENT,
    "--class",
    "label",
    metavar="NAME",
    show_default="the most probable class of each network",
    help="Class whose logit is explained.",
)
@option(
    Group.MEASUREMENT,
    "--train-on",
    type=click.Choice(("cpu", "cuda", "mps")),
    default="cpu",
    show_default=True,
    help="Device that computes.",
)
@option(
    Group.OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    default=Path("explained"),
    show_default=True,
    metavar="FOLDER",
    help="Folder that receives a PNG image for each IMAGE.",
)
@json_option
def command(**options: Any) -> None:
    """Show which parts of images the decisions of a trained network come from.

    \b
    Example:
      nas explain efficientnet-lite0 cat.jpg dog.jpg
      nas explain large-trained photo.jpg --against small-trained --out maps

    CHECKPOINT is a folder that `nas train` wrote, a weights file, or a source of pretrained weights such as
    efficientnet-lite0. The maps are class activation maps, as in figure 7 of the EfficientNet paper.
    """
    from nas.api.explain import explain
    from nas.cli.shared.printing import print_json

    given = ExplainOptions(**options)
    found = explain(
        given.checkpoint,
        list(given.images),
        against=given.against,
        method=given.method,
        label=given.label,
        out=given.out,
        train_on=given.train_on,
    )
    if given.as_json:
        print_json({"method": given.method, "images": [_row(each) for each in found]})
    else:
        _print(found)


def _row(found: "Explanation") -> dict[str, Any]:
    networks = [{("class" if k == "label" else k): v for k, v in attrs.asdict(each).items()} for each in found.networks]
    return {"image": found.image, "picture": str(found.picture), "networks": networks}


def _print(found: Sequence["Explanation"]) -> None:
    from nas.cli.shared.printing import print_table

    headers = ("image", "network", "class", "probability", "center of the map", "half of it in")
    rows = [(image.image, *_cells(network)) for image in found for network in image.networks]
    print_table(headers, rows, left=3)
    for image in found:
        click.echo(f"wrote {image.picture}")


def _cells(network: "NetworkExplanation") -> tuple[str, ...]:
    shown = (network.network, network.label, f"{network.probability:.1%}")
    if network.mass is None:
        return (*shown, "nothing contributes", "")
    x, y = network.mass["center"]
    return (*shown, f"{x:.0%} from the left, {y:.0%} from the top", f"{network.mass['area']:.0%} of the pixels")
