"""`nas latency table`: the time of every layer of a space on a device."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.devices import FOLDER, connected, error_text
from nas.cli.shared.on_device import DEVICE_HELP
from nas.cli.shared.options import json_option
from nas.cli.shared.progress import Steps
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.cost.table import LatencyTable
    from nas.cost.table_make import Progress
    from nas.device.client import Meter
    from nas.space.decode import SearchSpace

ADAPTING_NETWORKS = 10
MOST_NOISY = 5  # batches, before it is said


@click.command()
@click.option("--space", default="mnasnet", show_default=True, help="A search space's name or a .yaml file.")
@click.option("--device", "devices", multiple=True, default=["cpu"], show_default=True, help=DEVICE_HELP)
@click.option("--resolution", type=click.IntRange(1, 10_000), help="Pixels of a side.  [default: the space's]")
@click.option("--classes", type=click.IntRange(2, 10_000_000), help="Classes.  [default: the space's]")
@click.option(
    "--from",
    "source",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="TABLE",
    help="Adapt another device's table: a few whole networks are measured instead of every layer.",
)
@click.option(
    "--networks",
    type=click.IntRange(4, 1000),
    help="Whole networks to fit the correction on.  [default: 32; 10 with --from]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Where it goes.  [default: {FOLDER}/SPACE-RESOLUTION-DEVICE-CPU.csv]",
)
@json_option
def command(
    space: str,
    devices: tuple[str, ...],
    resolution: int | None,
    classes: int | None,
    source: Path | None,
    networks: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time every distinct layer that a space can make, and fit the correction on whole networks.

    \b
    Example:
      nas latency table --space mnasnet --device cpu
      nas latency table --device ssh://me@board --from latency_tables/mnasnet-224-cpu.csv

    The same command goes on where it stopped. Where the table is in latency_tables/, a search on this device finds it.
    """
    from nas.cli.shared.printing import print_json
    from nas.cost.table_file import read_table
    from nas.space.files import find_space

    found = find_space(space).for_target(resolution=resolution, classes=classes)
    based_on = None if source is None else read_table(source)
    with connected(devices) as meter:
        path = out or Path(FOLDER) / f"{_name(found, meter)}.csv"
        table = _make(found, meter, path, based_on, networks)
    if as_json:
        print_json(_summary(path, table))
        return
    click.echo(f"wrote {path}: {len(table.layers_ms):,} layers, {error_text(table)}")
    given = {"--resolution": resolution, "--classes": classes}
    words = ["--space", space, *(word for device in devices for word in ("--device", device))]
    words += [word for name, value in given.items() if value is not None for word in (name, str(value))]
    click.echo(f"next: {shlex.join(['nas', 'latency', 'check', *words, '--table', str(path)])}")


def _summary(path: Path, table: "LatencyTable") -> dict[str, Any]:
    fitted, origin = table.correction, table.origin
    return {
        "file": str(path),
        "space": origin.space,
        "device": str(origin.device),
        "cpu": origin.machine.cpu,
        "runtime": origin.machine.runtime,
        "layers": len(table.layers_ms),
        "reference_ms": origin.reference_ms,
        "fit_networks": fitted.networks,
        "fit_error": fitted.error,
        "fit_intercept_ms": fitted.intercept_ms,
        "fit_factors": dict(fitted.factors),
    }


def _make(
    space: "SearchSpace", meter: "Meter", path: Path, based_on: "LatencyTable | None", networks: int | None
) -> "LatencyTable":
    import attrs

    from nas.cost.table_file import write_table
    from nas.cost.table_make import make_table
    from nas.cost.table_plan import NETWORKS, TablePlan
    from nas.samplers.cost_range import space_chain

    chain, padding = space_chain(space), space.net["padding"]
    count = networks or (NETWORKS if based_on is None else ADAPTING_NETWORKS)
    plan = TablePlan(chain, padding, with_layers=based_on is None, networks=count)
    adapted = "none" if based_on is None else based_on.name
    _check_place(path, meter, {"space": space.name, "classes": chain.classes, "table adapted": adapted})
    partial = path.parent / f"{path.name}.partial"
    click.echo(
        f"timing {len(plan.layers):,} layers and {len(plan.samples)} networks, {plan.passes} times each", err=True
    )
    try:
        made = make_table(plan, meter, space.name, partial, based_on=based_on, listen=_Shown(path.stem))
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on from here", err=True)
        raise
    table = attrs.evolve(made, name=path.stem)
    write_table(path, table)
    partial.unlink(missing_ok=True)
    return table


def _check_place(path: Path, meter: "Meter", wanted: Mapping[str, object]) -> None:
    """Make the folder; a table of something else that lies there is not written over."""
    from nas.cost.table_file import read_origin
    from nas.cost.table_find import differences

    remedy = "give another place by --out"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
    except OSError as error:
        raise NasError(f"{path} cannot be written: {error.strerror or error}", remedy) from None
    there = read_origin(path)
    found = {"space": there.space, "classes": there.classes, "table adapted": there.adapted_from or "none"}
    unlike = [f"its {what} is {found[what]}, not {asked}" for what, asked in wanted.items() if found[what] != asked]
    unlike += differences(there, meter.device, meter.machine)
    if unlike:
        raise NasError(f"{path} is a table of something else: {unlike[0]}", remedy)


class _Shown:
    """Progress, and a word on a noisy machine once."""

    def __init__(self, label: str) -> None:
        self._steps = Steps(label)
        self._noisy = 0

    def __call__(self, progress: "Progress") -> None:
        from nas.device.timing import NOISY

        self._steps(progress.done, progress.total, progress.seconds_left)
        self._noisy += progress.noise > NOISY
        if self._noisy == MOST_NOISY:
            click.echo("the machine is noisy; stop other work on it for a better table", err=True)


def _name(space: "SearchSpace", meter: "Meter") -> str:
    """A file's name that says what the table is of."""
    machine = meter.machine
    words = (space.name, str(space.net["resolution"]), meter.device.short, machine.accelerator or machine.cpu)
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-.")
