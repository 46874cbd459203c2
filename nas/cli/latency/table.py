"""`nas latency table`: the latency of every layer of a search space on a device."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.api.devices import FOLDER, connected, error_text
from nas.cli.latency.limit import check_usable, max_error_option
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import device_option, file_option, json_option, space_option, task_options
from nas.cli.shared.progress import Steps
from nas.cli.shared.verbs import Verb
from nas.errors import NasError
from nas.files import irregular_form
from nas.output_kinds import LATENCIES

if TYPE_CHECKING:
    from nas.cost.table import LatencyTable
    from nas.cost.table_builder import Progress
    from nas.device.client import Meter
    from nas.space.decode import SearchSpace

ADAPTING_NETWORKS = 10  # default of --networks with --from
NOISY_BATCHES = 5  # noisy batches before a note is printed: a few happen on any machine


@frozen
class TableOptions:
    """Hold the parsed options of `nas latency table`."""

    space: str
    devices: tuple[str, ...]
    resolution: int | None
    classes: int | None
    source: Path | None
    networks: int | None
    max_error: float
    out: Path | None
    as_json: bool

    @property
    def words(self) -> tuple[str, ...]:
        """Return the options that determine the table, as words of a command line."""
        numbers = (("--resolution", self.resolution), ("--classes", self.classes))
        given = [("--space", self.space), *(("--device", device) for device in self.devices)]
        given += [(name, str(number)) for name, number in numbers if number is not None]
        return tuple(word for pair in given for word in pair)


@click.command(cls=Verb)
@device_option
@space_option
@task_options(Group.SPACE)
@option(
    Group.MEASUREMENT,
    "--from",
    "source",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="TABLE",
    show_default="all layers are measured",
    help="Latency table of another device to adapt: a few whole networks are measured instead of every layer.",
)
@option(
    Group.MEASUREMENT,
    "--networks",
    type=click.IntRange(4, 1000),
    metavar="N",
    show_default="32; with --from 10",
    help="Number of whole networks on which the correction is fitted.",
)
@max_error_option
@file_option("out", "File of the latency table.", LATENCIES, f"{FOLDER}/SPACE-RESOLUTION-DEVICE-CPU.csv")
@json_option
def command(**options: Any) -> None:
    """Measure every distinct layer of a search space on a device, and fit a correction on whole networks.

    \b
    Example:
      nas latency table --space mnasnet --device cpu
      nas latency table --device ssh://me@board --from latency_tables/table.csv

    If the command is interrupted, the same command continues it. A search on this device finds the table if it is in
    latency_tables/.
    """
    from nas.api.spaces import find_space
    from nas.cli.shared.printing import next_command, print_json
    from nas.cost.table_file import read_table
    from nas.cost.table_lookup import is_outdated, outdated

    given = TableOptions(**options)
    space = find_space(given.space).for_target(resolution=given.resolution, classes=given.classes)
    based_on = None if given.source is None else read_table(given.source)
    with connected(given.devices) as meter:
        if based_on is not None and is_outdated(based_on.origin, meter.machine):
            raise outdated(str(given.source), based_on.origin, meter.machine)
        path = given.out or Path(FOLDER) / f"{_name(space, meter)}.csv"
        table = _make(space, meter, path, based_on, given)
    if given.as_json:
        print_json(_summary(path, table))
    else:
        click.echo(f"wrote {path}: {len(table.layers_ms):,} layers, {error_text(table)}")
    check_usable(table, "stop other programs on the device and give the same command again, or give more --networks")
    if not given.as_json:
        click.echo(f"next: {next_command('latency', 'check', *given.words, '--table', str(path))}")


def _summary(path: Path, table: "LatencyTable") -> dict[str, Any]:
    fitted, origin = table.correction, table.origin
    return {
        "file": str(path),
        "space": origin.space,
        "device": str(origin.device),
        "cpu": origin.machine.cpu,
        "runtime": origin.machine.runtime,
        "graph": origin.machine.graph,
        "layers": len(table.layers_ms),
        "reference_ms": origin.reference_ms,
        "fit_networks": fitted.networks,
        "fit_error": fitted.error,
        "max_error": table.max_error,
        "usable": table.is_usable,
        "fit_intercept_ms": fitted.intercept,
        "fit_factors": dict(fitted.factors),
    }


def _make(
    space: "SearchSpace", meter: "Meter", path: Path, based_on: "LatencyTable | None", given: TableOptions
) -> "LatencyTable":
    import attrs

    from nas.cost.table_builder import make_table
    from nas.cost.table_file import write_table
    from nas.cost.table_plan import NETWORKS, TablePlan
    from nas.samplers.cost_range import space_chain

    chain, padding = space_chain(space), space.net["padding"]
    count = given.networks or (NETWORKS if based_on is None else ADAPTING_NETWORKS)
    plan = TablePlan(chain, padding, with_layers=based_on is None, networks=count)
    adapted = "none" if based_on is None else based_on.name
    _check_place(path, meter, {"space": space.name, "classes": chain.classes, "table adapted": adapted})
    # The standard output is written to only once. A file beside it would be in the folder /dev.
    place = path if not irregular_form(path) else Path(FOLDER) / f"{_name(space, meter)}.csv"
    partial = place.with_name(f"{place.name}.partial")
    click.echo(
        f"measuring {len(plan.layers):,} layers and {len(plan.samples)} networks, {plan.passes} times each", err=True
    )
    try:
        made = make_table(plan, meter, space.name, partial, based_on=based_on, listen=_TableProgress(path.stem))
    except KeyboardInterrupt:
        click.echo("interrupted; the same command continues the table", err=True)
        raise
    table = attrs.evolve(made, name=path.stem, max_error=given.max_error)
    write_table(path, table)
    partial.unlink(missing_ok=True)
    return table


def _check_place(path: Path, meter: "Meter", wanted: Mapping[str, object]) -> None:
    """Make the folder of the table, and refuse to overwrite a table of another space or device.

    Raises:
        NasError: The file is a table of something else, or cannot be written.
    """
    import attrs

    from nas.cost.table_file import read_origin
    from nas.cost.table_lookup import differences

    remedy = "choose another file with --out"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or irregular_form(path):
            return
    except OSError as error:
        raise NasError(f"{path} cannot be written: {error.strerror or error}", remedy) from None
    origin = read_origin(path)
    found = {"space": origin.space, "classes": origin.classes, "table adapted": origin.adapted_from or "none"}
    unlike = [f"its {what} is {found[what]}, not {asked}" for what, asked in wanted.items() if found[what] != asked]
    # A table that only has another form of graphs is replaced: no search uses it any more.
    same_form = attrs.evolve(meter.machine, graph=origin.machine.graph)
    unlike += differences(origin, meter.device, same_form)
    if unlike:
        raise NasError(f"{path} is a table of something else, which is not overwritten: {unlike[0]}", remedy)


class _TableProgress:
    """Print the progress of a table, and once a note if the machine is noisy."""

    def __init__(self, label: str) -> None:
        self._steps = Steps(label)
        self._noisy_batches = 0

    def __call__(self, progress: "Progress") -> None:
        from nas.device.timing import NOISY

        self._steps(progress.done, progress.total, progress.seconds_left)
        self._noisy_batches += progress.noise > NOISY
        if self._noisy_batches == NOISY_BATCHES:
            click.echo("the machine is noisy; stop other programs on it for a better table", err=True)


def _name(space: "SearchSpace", meter: "Meter") -> str:
    """Return the name of a table's file, made from its space, resolutions, device and machine."""
    machine = meter.machine
    # The smallest and the largest resolution, or the only one.
    resolutions = "-".join(map(str, dict.fromkeys((space.resolutions[0], space.resolutions[-1]))))
    words = (space.name, resolutions, meter.device.short, machine.accelerator or machine.cpu)
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-.")
