"""`nas latency check`: the errors of a latency table."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from attrs import frozen

from nas.api.devices import above_limit, connected, error_text, find_table, outdated_tables
from nas.cli.latency.limit import check_usable, max_error_option
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import device_option, figure_options, json_option, space_option, task_options
from nas.cli.shared.progress import Steps
from nas.cli.shared.verbs import Verb
from nas.errors import DeviceError, NasError, SpaceError

if TYPE_CHECKING:
    from nas.cost.table import LatencyTable
    from nas.cost.table_check import Agreement, Check
    from nas.graph.fragment import Fragment
    from nas.space.decode import SearchSpace

FEWEST = 2  # networks; one cannot be correlated
FIRST_SEED = 2**31  # tables are fitted on networks of smaller seeds, so that these are new to every table


@frozen
class CheckOptions:
    """Hold the parsed options of `nas latency check`."""

    space: str
    devices: tuple[str, ...]
    resolution: int | None
    classes: int | None
    table: Path | None
    networks: int
    seed: int
    max_error: float
    html: Path | None
    png: Path | None
    as_json: bool


@click.command(cls=Verb)
@device_option
@space_option
@task_options(Group.SPACE)
@option(
    Group.DEVICE,
    "--table",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    show_default="the newest one made on exactly this device",
    help="Latency table to check.",
)
@option(
    Group.MEASUREMENT,
    "--networks",
    type=click.IntRange(5, 10_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Number of random networks to measure.",
)
@option(
    Group.MEASUREMENT,
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of the random networks.",
)
@max_error_option
@figure_options
@json_option
def command(**options: Any) -> None:
    """Compare the predictions of a latency table with measurements of new random networks.

    \b
    Example:
      nas latency check --space mnasnet --device cpu --png check.png

    Every network is measured twice, because no table can predict a measurement better than a second measurement does.
    The error is stored in the table: it is the root mean square of the relative error, one standard deviation of a
    prediction. The command fails if it exceeds --max-error.
    """
    from nas.api.spaces import find_space
    from nas.cli.shared.printing import print_json

    given = CheckOptions(**options)
    space = find_space(given.space).for_target(resolution=given.resolution, classes=given.classes)
    with connected(given.devices) as meter:
        from nas.cost.table_check import check_table

        table = find_table(space, meter, given.table)
        if table is None:
            for outdated in outdated_tables(space, meter):
                raise outdated
            raise DeviceError(
                f"there is no latency table of {meter.device.short} on {meter.machine.cpu} for space {space.name}; "
                "only a table of exactly this device can be checked",
                f"make one with `nas latency table --space {given.space} --device {given.devices[0]}`",
            )
        check = check_table(table, _draw_networks(space, table, given), meter, Steps("measuring"))
    checked = attrs.evolve(table, checked=check.error, max_error=given.max_error)
    if check.is_conclusive(given.max_error):
        _store(checked)
    if given.as_json:
        print_json(_figures(checked, check))
    else:
        _print(checked, check)
    # The figure comes last: it can fail, and then the results of long measurements are printed already.
    _write_figure(checked, check, given)
    if not check.is_conclusive(given.max_error):
        raise DeviceError(
            f"the check of table {table.name} is not conclusive and its error was not stored: "
            f"{above_limit(checked)}, but two measurements of a network differ by {check.retest.mape:.1%}",
            "stop other programs on the device, and run the same command again",
        )
    check_usable(checked, "make the table anew with `nas latency table`")


def _store(table: "LatencyTable") -> None:
    """Write the error into the file of the table; a file that cannot be written does not lose the result."""
    from nas.cost.table_file import write_table

    assert table.path is not None  # noqa: S101 -- every table of a search for tables has a file
    try:
        write_table(table.path, table)
    except NasError as error:
        click.echo(f"the error is not stored, and searches do not see it: {error.problem}", err=True)


def _draw_networks(space: "SearchSpace", table: "LatencyTable", given: CheckOptions) -> "list[Fragment]":
    """Return random networks that the table was not fitted on; fewer than asked for if the space has no more.

    Raises:
        SpaceError: There are too few of them to correlate anything.
    """
    from nas.cost.table_plan import sample_networks
    from nas.samplers.cost_range import space_chain

    chain, padding, fitted = space_chain(space), space.net["padding"], table.correction.networks
    known = set(sample_networks(chain, padding, fitted, 0))
    drawn = sample_networks(chain, padding, given.networks + fitted, FIRST_SEED + given.seed)
    new = [network for network in drawn if network not in known][: given.networks]
    if len(new) < FEWEST:
        raise SpaceError(
            f"space {space.name} has {len(new)} networks that the table was not fitted on; a check needs {FEWEST}",
            "make a table that is fitted on fewer networks, with `nas latency table --networks`",
        )
    if len(new) < given.networks:
        click.echo(f"the space has {len(new)} networks that the table was not fitted on", err=True)
    return new


def _write_figure(table: "LatencyTable", check: "Check", given: CheckOptions) -> None:
    if not given.html and not given.png:
        return
    from nas.report.files import write_html, write_png
    from nas.report.latency import latency_figure

    figure = latency_figure(
        f"{table.name}: error ±{check.error.error:.1%}, MAPE {check.table.mape:.1%}, "
        f"measured twice {check.retest.mape:.1%}",
        check.measured_ms.tolist(),
        check.predicted_ms.tolist(),
        check.again_ms.tolist(),
    )
    if given.png:
        write_png(given.png, figure)
    if given.html:
        write_html(given.html, figure, f"{table.name}: predicted and measured latency")


def _figures(table: "LatencyTable", check: "Check") -> dict[str, Any]:
    """Return the results as JSON, null where a figure is not defined."""
    own, retest, macs = check.table, check.retest, check.by_macs
    figures = {
        "table": table.name,
        "device": str(table.origin.device),
        "cpu": table.origin.machine.cpu,
        "runtime": table.origin.machine.runtime,
        "graph": table.origin.machine.graph,
        "networks": len(check.measured_ms),
        "error": check.error.error,
        "error_spread": check.error.spread,
        "max_error": table.max_error,
        "usable": table.is_usable if check.is_conclusive(table.max_error) else None,
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
    click.echo(f"{error_text(table)}: root mean square; the limit is {100 * table.max_error:.3g}%")
    slowdown = check.reference_ms / table.origin.reference_ms
    click.echo(
        f"{table.name}, {len(check.measured_ms)} networks of {check.measured_ms.min():.3g} to "
        f"{check.measured_ms.max():.3g} ms; the reference takes {slowdown:.2f} times as long as in the table, "
        f"spread {check.noise:.1%}{', a noisy machine' if check.noise > NOISY else ''}"
    )


def _cells(agreement: "Agreement") -> tuple[str, ...]:
    shares = (agreement.mape, agreement.within_5pct, agreement.within_10pct)
    rank = "-" if math.isnan(agreement.spearman) else f"{agreement.spearman:.3f}"
    return (*(f"{share:.1%}" for share in shares), rank)
