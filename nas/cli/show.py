"""`nas show`: an architecture's stages with shapes and costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    ARCH_HELP,
    adapting_options,
    arch_argument,
    file_option,
    json_option,
    source_option,
)
from nas.cli.shared.verbs import Verb
from nas.errors import ArchitectureError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture


@click.command(cls=Verb, epilog=ARCH_HELP)
@arch_argument
@adapting_options()
@option(
    Group.ARCHITECTURE,
    "--precision",
    default="fp32",
    show_default=True,
    metavar="FORMAT",
    help="Number format of the activations, for their peak memory: fp32, fp16, bf16 or int8.",
)
@source_option
@option(Group.OUTPUT, "--text", "as_text", is_flag=True, help="Print the text form, with one stage on each line.")
@file_option("save", "Write the architecture to a .json or .txt file.")
@json_option
def command(
    reference: str,
    resolution: int | None,
    classes: int | None,
    precision: str,
    as_text: bool,
    save: Path | None,
    as_json: bool,
    storage: str,
) -> None:
    """Show the stages, shapes, MACs and parameters of an architecture.

    \b
    Example:
      nas show efficientnet-b0
      nas show study:demo:best --save winner.json
    """
    from nas.arch.code import format_text
    from nas.cli.shared.printing import print_json
    from nas.cli.shared.reference import find_architecture

    name, arch = find_architecture(reference, storage)
    arch = arch.adapted(resolution=resolution or arch.resolution, classes=classes or arch.classes)
    if save is not None:
        _save(save, arch)
    if as_json:
        print_json(_summary(name, arch, precision))
    elif as_text:
        click.echo(format_text(arch))
    else:
        _print(_summary(name, arch, precision))


def _save(path: Path, arch: "Architecture") -> None:
    from nas.arch.code import format_json, format_text
    from nas.files import write_atomically

    forms = {".txt": format_text, ".json": format_json}
    if path.suffix not in forms:
        raise ArchitectureError(f"--save {path} has no known form", f"end the name in {' or '.join(forms)}")
    write_atomically(path, (forms[path.suffix](arch) + "\n").encode())


def _summary(name: str, arch: "Architecture", precision: str) -> dict[str, Any]:
    from nas.arch.code import format_text
    from nas.cost.analytic import cost

    whole = cost(arch)
    return {
        "name": name,
        "params": whole.params,
        "macs": whole.macs,
        "peak_bytes": whole.peak_bytes(precision),
        "precision": precision,
        "resolution": arch.resolution,
        "classes": arch.classes,
        "arch": format_text(arch),
        "stages": _rows(arch),
    }


def _rows(arch: "Architecture") -> list[dict[str, Any]]:
    """A row for stem, stages and head, like table 1 of the EfficientNet paper, with costs."""
    from nas.arch.code import format_part
    from nas.cost.analytic import place_costs

    return [
        {
            "stage": place.name,
            "text": format_part(place.part, arch.stem.activation),
            "layers": getattr(place.part, "layers", 1),
            "input": [place.shape.channels, place.shape.height, place.shape.width],
            "output": [place.cost.shape.channels, place.cost.shape.height, place.cost.shape.width],
            "macs": place.cost.macs,
            "params": place.cost.params,
        }
        for place in place_costs(arch)
    ]


def _print(summary: dict[str, Any]) -> None:
    from nas.cli.shared.printing import millions, print_table

    rows = [
        (
            row["stage"],
            row["text"],
            "x".join(map(str, row["input"])),
            "x".join(map(str, row["output"])),
            millions(row["macs"]),
            f"{row['params']:,}",
        )
        for row in summary["stages"]
    ]
    total = ("total", "", "", "", millions(summary["macs"]), f"{summary['params']:,}")
    print_table(("stage", "what", "input", "output", "MACs", "params"), [*rows, total], left=2)
    click.echo(
        f"{summary['name']}: {millions(summary['macs'])} MACs, {summary['params']:,} params, "
        f"{summary['peak_bytes'] / 1e6:.2f} MB peak activations ({summary['precision']}, batch 1), "
        f"{summary['resolution']} px, {summary['classes']:,} classes"
    )
