"""The section of a network: its diagram, and a table of its layers with shapes and costs."""

from collections.abc import Sequence

from nas.arch.layers import Shape
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.cost.base import format_amount
from nas.cost.table import LatencyTable
from nas.errors import TargetError
from nas.report.diagram_svg import diagram_svg
from nas.report.network_layers import Latency, Layers, description, details, heading, layer_groups, shape_text
from nas.report.section import Figure, Section, Table, command
from nas.report.theme import percent

TITLE = "The network"


def network_section(
    arch: Architecture,
    name: str,
    table: LatencyTable | None = None,
    *,
    id: str = "network",  # noqa: A002
    reference: Sequence[str] = (),
) -> Section:
    """Return the section of a network.

    Args:
        arch: The network.
        name: Name of the network; any text.
        table: Latency table that predicts its layers; None where there is none.
        id: Name of the figure on the page.
        reference: Words that name the network on the command line, such as "study:demo:best"; none if there are none.
    """
    latency, said = _latency(arch, table)
    groups = layer_groups(arch, latency)
    costs = cost(arch)
    text = (
        f"{name}: {format_amount(costs.macs, 'MACs')} and {costs.params:,} parameters for images of {arch.resolution} "
        "pixels. Shapes are channels × height × width. A bar is the share of a layer, or of several equal layers, in "
        f"the costs of the network.{said}"
    )
    figure = Figure(id, description(groups, arch), svg=diagram_svg(arch, name, latency))
    commands = [command("nas", "show", *reference, "--svg", "network.svg")] if reference else []
    return Section(TITLE, text, [figure], [_table(groups, arch.stem.activation)], commands=commands)


def _latency(arch: Architecture, table: LatencyTable | None) -> tuple[Latency | None, str]:
    """Return the prediction of the latencies of layers, and what to say of it."""
    if table is None:
        return None, ""
    try:
        error = table.error
        table.estimate(arch)
    except TargetError as problem:
        return None, f" Latencies by layer are not shown: {problem.problem}."
    sure = "an unknown error" if error is None else f"an error of {error:.1%} for a whole network"
    return table.layer_latency, (
        f" Latencies by layer are predictions of table {table.name}, which has {sure}; the overhead of a run is left "
        "out."
    )


def _unbroken(shape: Shape) -> str:
    """Return a shape that a narrow column does not break into lines."""
    return shape_text(shape).replace(" ", "\N{NO-BREAK SPACE}")


def _table(groups: Sequence[Layers], usual: str) -> Table:
    timed = groups[0].ms is not None
    macs, times = sum(group.macs for group in groups), sum(group.ms or 0.0 for group in groups)
    headers = ["Place", "Layers", "Details", "Input", "Output", "MACs", "Share", "Parameters"]
    rows = [
        (
            group.place,
            heading(group),
            ", ".join(details(group, usual)),
            _unbroken(group.input),
            _unbroken(group.output),
            format_amount(group.macs, "MACs"),
            percent(group.macs / macs if macs else 0.0, 1),
            f"{group.params:,}",
            *((f"{group.ms:.3g}", percent(group.ms / times, 1)) if group.ms is not None and times else ()),
        )
        for group in groups
    ]
    more = ("Predicted latency (ms)", "Share of the latency") if timed and times else ()
    return Table("Layers of the network", (*headers, *more), rows, {5, 6, 7, 8, 9})
