"""`nas show`: an architecture's stages with shapes and costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import ARCH_HELP, adapting_options, arch_argument, file_option, json_option, source_option
from nas.cli.shared.verbs import Verb
from nas.output_kinds import ARCHITECTURE, DRAWING

if TYPE_CHECKING:
    from nas.api.architectures import ArchitectureSummary, StageSummary, StoredCost


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
@file_option("save", "Write the architecture to a .json or .txt file.", ARCHITECTURE)
@file_option("svg", "Write a diagram of the layers, with shapes and shares of the MACs.", DRAWING)
@json_option
def command(
    reference: str,
    resolution: int | None,
    classes: int | None,
    precision: str,
    as_text: bool,
    save: Path | None,
    svg: Path | None,
    as_json: bool,
    storage: str,
) -> None:
    """Show the stages, shapes, MACs and parameters of an architecture.

    \b
    Example:
      nas show efficientnet-b0
      nas show study:demo:best --save winner.json
      nas show mobilenetv2 --svg mobilenetv2.svg
    """
    from nas.api.architectures import find_architecture, save_architecture, save_diagram, stored_costs, summarize
    from nas.arch.code import format_text
    from nas.cli.shared.printing import print_json

    name, known = find_architecture(reference, storage)
    arch = known.adapted(resolution=resolution or known.resolution, classes=classes or known.classes)
    summary = summarize(arch, precision)
    stored = stored_costs(reference, storage) if arch == known else []
    if save is not None:
        save_architecture(arch, save)
    if svg is not None:
        save_diagram(arch, svg, name)
    if as_json:
        print_json(_row(name, summary) | ({"costs": [attrs.asdict(cost) for cost in stored]} if stored else {}))
    elif as_text:
        click.echo(format_text(arch))
    else:
        _print(name, summary)
        for cost in stored:
            click.echo(_stored_line(cost))


def _stored_line(cost: "StoredCost") -> str:
    from nas.cost.base import cost_title, format_amount

    margin = "" if cost.spread == 0 else " ± ?" if cost.spread is None else f" ± {cost.spread:.2g}"
    by = f", returned by {cost.function}" if cost.function else ""
    return f"{cost_title(cost.name)}: {format_amount(cost.value, cost.unit)}{margin}, as the search used it{by}"


def _row(name: str, summary: "ArchitectureSummary") -> dict[str, Any]:
    from nas.arch.code import format_text

    arch = summary.architecture
    return {
        "name": name,
        "params": summary.params,
        "macs": summary.macs,
        "peak_bytes": summary.peak_bytes,
        "precision": summary.precision,
        "resolution": arch.resolution,
        "classes": arch.classes,
        "arch": format_text(arch),
        "stages": [_stage_row(stage) for stage in summary.stages],
    }


def _stage_row(stage: "StageSummary") -> dict[str, Any]:
    return {
        "stage": stage.name,
        "text": stage.text,
        "layers": stage.layers,
        "input": list(stage.input),
        "output": list(stage.output),
        "macs": stage.macs,
        "params": stage.params,
    }


def _print(name: str, summary: "ArchitectureSummary") -> None:
    from nas.cli.shared.printing import millions, print_table

    rows = [
        (
            stage.name,
            stage.text,
            "x".join(map(str, stage.input)),
            "x".join(map(str, stage.output)),
            millions(stage.macs),
            f"{stage.params:,}",
        )
        for stage in summary.stages
    ]
    total = ("total", "", "", "", millions(summary.macs), f"{summary.params:,}")
    print_table(("stage", "what", "input", "output", "MACs", "params"), [*rows, total], left=2)
    arch = summary.architecture
    click.echo(
        f"{name}: {millions(summary.macs)} MACs, {summary.params:,} params, "
        f"{summary.peak_bytes / 1e6:.2f} MB peak activations ({summary.precision}, batch 1), "
        f"{arch.resolution} px, {arch.classes:,} classes"
    )
