"""`nas latency check`: how good a table is."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.devices import connected, find_table
from nas.cli.shared.on_device import DEVICE_HELP
from nas.cli.shared.options import figure_options, json_option
from nas.cli.shared.progress import Steps
from nas.errors import DeviceError, SpaceError

if TYPE_CHECKING:
    from nas.cost.check import Agreement, Check
    from nas.cost.table import LatencyTable
    from nas.graph.fragment import Fragment
    from nas.space.decode import SearchSpace

FEWEST = 2  # or there is nothing to correlate
SEED = 2**31  # of networks that no table was fitted on


@click.command()
@click.option("--space", default="mnasnet", show_default=True, help="A search space's name or a .yaml file.")
@click.option("--device", "devices", multiple=True, default=["cpu"], show_default=True, help=DEVICE_HELP)
@click.option("--resolution", type=click.IntRange(1, 10_000), help="Pixels of a side.  [default: the space's]")
@click.option("--classes", type=click.IntRange(2, 10_000_000), help="Classes.  [default: the space's]")
@click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The table to check.  [default: the newest that is exactly of the device]",
)
@click.option("--networks", type=click.IntRange(5, 10_000), default=100, show_default=True, help="How many to measure.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the networks.")
@figure_options
@json_option
def command(
    space: str,
    devices: tuple[str, ...],
    resolution: int | None,
    classes: int | None,
    table: Path | None,
    networks: int,
    seed: int,
    html: Path | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Compare a latency table with measurements of networks drawn afresh, and those with themselves.

    \b
    Example:
      nas latency check --space mnasnet --device cpu --png check.png

    Every network is measured twice: nothing can be told better than a second measurement tells the first.
    """
    from nas.space.files import find_space

    found = find_space(space).for_target(resolution=resolution, classes=classes)
    with connected(devices) as meter:
        from nas.cost.check import check_table

        chosen = find_table(found, meter, table)
        if chosen is None:
            raise DeviceError(
                f"no latency table is of {meter.device.short} on this {meter.machine.cpu} and space {found.name}",
                f"make one with `nas latency table --space {space} --device {devices[0]}`",
            )
        check = check_table(chosen, _drawn(found, chosen, networks, seed), meter, Steps("measuring"))
    _tell(chosen, check, html, png, as_json=as_json)


def _drawn(space: "SearchSpace", table: "LatencyTable", count: int, seed: int) -> "list[Fragment]":
    """Networks that the table was not fitted on, as many as the space has."""
    from nas.cost.table_plan import sample_networks
    from nas.samplers.cost_range import space_chain

    chain, padding, fitted = space_chain(space), space.net["padding"], table.correction.networks
    known = set(sample_networks(chain, padding, fitted, 0))
    drawn = sample_networks(chain, padding, count + fitted, SEED + seed)
    fresh = [network for network in drawn if network not in known][:count]
    if len(fresh) < FEWEST:
        raise SpaceError(
            f"space {space.name} has {len(fresh)} networks that the table was not fitted on",
            "make a table fitted on fewer networks with `nas latency table --networks`",
        )
    if len(fresh) < count:
        click.echo(f"the space has {len(fresh)} networks that the table was not fitted on", err=True)
    return fresh


def _tell(table: "LatencyTable", check: "Check", html: Path | None, png: Path | None, *, as_json: bool) -> None:
    from nas.cli.shared.printing import print_json

    if as_json:
        print_json(_figures(table, check))
    else:
        _print(table, check)
    _draw(table, check, html, png)  # last, since it can fail, and the measurements took long


def _draw(table: "LatencyTable", check: "Check", html: Path | None, png: Path | None) -> None:
    if not html and not png:
        return
    from nas.report.files import write_html, write_png
    from nas.report.latency import latency_figure

    figure = latency_figure(
        f"{table.name}: MAPE {check.table.mape:.1%}, measured twice {check.retest.mape:.1%}",
        check.measured_ms.tolist(),
        check.predicted_ms.tolist(),
        check.again_ms.tolist(),
    )
    if png:
        write_png(png, figure)
    if html:
        write_html(html, figure, f"{table.name}: predicted and measured latency")


def _figures(table: "LatencyTable", check: "Check") -> dict[str, Any]:
    own, retest, macs = check.table, check.retest, check.by_macs
    figures = {
        "table": table.name,
        "device": str(table.origin.device),
        "cpu": table.origin.machine.cpu,
        "runtime": table.origin.machine.runtime,
        "networks": len(check.measured_ms),
        "mape": own.mape,
        "retest_mape": retest.mape,
        "within_5pct": own.within_5pct,
        "within_10pct": own.within_10pct,
        "retest_within_5pct": retest.within_5pct,
        "retest_within_10pct": retest.within_10pct,
        "spearman": own.spearman,
        "retest_spearman": retest.spearman,
        "spearman_macs": macs.spearman,
        "mape_macs": macs.mape,
        "noise": check.noise,
        "reference_ms": check.reference_ms,
        "reference_ms_of_table": table.origin.reference_ms,
    }
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in figures.items()}


def _print(table: "LatencyTable", check: "Check") -> None:
    from nas.cli.shared.printing import print_table
    from nas.device.timing import NOISY

    rows = (("table", check.table), ("measured again", check.retest), ("MACs alone", check.by_macs))
    headers = ("against a measurement", "MAPE", "within 5%", "within 10%", "Spearman")
    print_table(headers, [(name, *_cells(agreement)) for name, agreement in rows])
    slower = check.reference_ms / table.origin.reference_ms
    click.echo(
        f"{table.name}, {len(check.measured_ms)} networks of {check.measured_ms.min():.3g} to "
        f"{check.measured_ms.max():.3g} ms; the reference takes {slower:.2f} times as long as in the table, "
        f"spread {check.noise:.1%}{', a noisy machine' if check.noise > NOISY else ''}"
    )


def _cells(agreement: "Agreement") -> tuple[str, ...]:
    shares = (agreement.mape, agreement.within_5pct, agreement.within_10pct)
    rank = "-" if math.isnan(agreement.spearman) else f"{agreement.spearman:.3f}"
    return (*(f"{share:.1%}" for share in shares), rank)
