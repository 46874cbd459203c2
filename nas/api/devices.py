"""Connections to devices, and what a search needs to know about latencies on them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import DeviceError, TargetError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.correction import Correction
    from nas.cost.guided import GuidedCost
    from nas.cost.measured import Stopwatch
    from nas.cost.table import LatencyTable
    from nas.cost.target import OnDevice
    from nas.device.client import Meter
    from nas.space.decode import SearchSpace

Say = Callable[[str], None]
FOLDER = "latency_tables"
# The error of a guide is 3 to 6% on an idle machine. With a far larger one hardly any network that it proposes has a
# latency in the cost range, and a search ends after a few trials.
GUIDE_LIMIT, GUIDE_ATTEMPTS = 0.15, 3


@contextmanager
def connected(texts: Sequence[str]) -> "Iterator[Meter]":
    """Connect to devices, and close the connections in the end.

    Args:
        texts: Devices as users write them, for example "cpu:threads=4" or "ssh://me@board".

    Raises:
        DeviceError: A device cannot be read or reached, or two devices differ.
    """
    from nas.device.spec import parse_address

    addresses = [parse_address(text) for text in texts]
    from nas.device.client import connect

    with connect(addresses) as meter:
        yield meter


def table_folders() -> list[Path]:
    """Return the folders of latency tables: one in the working directory, and the one with the shipped tables."""
    from nas.files import shipped_folder

    # Both can be the same folder, whose tables would then be found twice.
    return list(dict.fromkeys(path.resolve() for path in (Path(FOLDER), shipped_folder(FOLDER))))


def find_table(space: "SearchSpace", meter: "Meter", given: Path | None) -> "LatencyTable | None":
    """Return a latency table of exactly this device that has all layers of a space, or None if there is none.

    Args:
        space: The search space.
        meter: The device.
        given: File of the table to use; None takes the newest one that fits.

    Raises:
        NasError: The given table is of another device or lacks layers of the space.
    """
    return _fitting(given, space, meter) if given is not None else next(_found_tables(space, meter), None)


def _found_tables(space: "SearchSpace", meter: "Meter") -> "Iterator[LatencyTable]":
    """Yield the tables of exactly this device that have all layers of a space, the one to prefer first."""
    from nas.cost.table_lookup import matching_tables
    from nas.samplers.cost_range import space_chain

    for table in matching_tables(table_folders(), meter.device, meter.machine):
        with suppress(TargetError):
            table.check_chain(space_chain(space), space.net["padding"])
            yield table


def _say_other_task(space: "SearchSpace", meter: "Meter", say: Say) -> None:
    """Say which tables of this device and space are of another task, such as another number of classes."""
    from nas.cost.table_lookup import matching_tables
    from nas.samplers.cost_range import space_chain

    for table in matching_tables(table_folders(), meter.device, meter.machine):
        if table.origin.space == space.name:
            try:
                table.check_task(space_chain(space).classes, space.net["padding"])
            except TargetError as error:
                say(f"{error.problem}; {error.remedy}")


def _usable_table(space: "SearchSpace", meter: "Meter", given: Path | None, say: Say) -> "LatencyTable | None":
    """Return the table by which a search predicts latencies, or None if none can be used.

    Raises:
        NasError: The given table cannot be used, or its error exceeds its limit.
    """
    if given is None:
        for table in _found_tables(space, meter):
            if table.is_usable:
                return table
            say(f"latency table {table.name} is not used: {above_limit(table)}")
        _say_other_task(space, meter, say)
        return None
    table = _fitting(given, space, meter)
    if not table.is_usable:
        raise DeviceError(
            f"latency table {given} is not used: {above_limit(table)}",
            "make it anew with `nas latency table`, search without --table to measure candidates, or accept its error "
            f"with `nas latency check --table {given} --max-error SHARE`",
        )
    return table


def _fitting(path: Path, space: "SearchSpace", meter: "Meter") -> "LatencyTable":
    from nas.cost.table_file import read_table
    from nas.cost.table_lookup import differences, is_outdated, outdated
    from nas.samplers.cost_range import space_chain

    table = read_table(path)
    if is_outdated(table.origin, meter.machine):
        raise outdated(str(path), table.origin, meter.machine)
    if found := differences(table.origin, meter.device, meter.machine):
        raise DeviceError(
            f"latency table {path} is not of this device: {found[0]}",
            f"make one with `nas latency table`, or adapt it with `nas latency table --from {path}`",
        )
    table.check_chain(space_chain(space), space.net["padding"])
    return table


def outdated_tables(space: "SearchSpace", meter: "Meter") -> list[DeviceError]:
    """Return an error for each table of a space and this device that is not used because of its form of graphs."""
    from nas.cost.table_file import read_origin
    from nas.cost.table_lookup import outdated, outdated_files

    files = outdated_files(table_folders(), meter.device, meter.machine, space.name)
    return [outdated(path.stem, read_origin(path), meter.machine) for path in files]


def on_device(
    space: "SearchSpace", meter: "Meter", names: Sequence[str], given: Path | None, seed: int, say: Say
) -> "OnDevice":
    """Return the latencies for a search: from a table of exactly this device if there is one, else measured ones.

    Args:
        space: The search space.
        meter: The device.
        names: The words that name the device.
        given: File of the table to use; None takes the newest one that fits.
        seed: Seed of the random networks that are measured first.
        say: Function that is called with a sentence about the choice.

    Raises:
        NasError: The device fails, or the given table is of another device.
    """
    from nas.cost.measured import Judge, Stopwatch, TableLatency
    from nas.cost.target import OnDevice
    from nas.device.spec import parse_address

    here = any(not parse_address(text).host for text in names)
    device, (*kind, form) = meter.device.short, meter.machine.kind
    basis = {"machine": "; ".join(filter(None, kind)), "graph": form}
    table = _usable_table(space, meter, given, say)
    if table is None:
        for each in outdated_tables(space, meter):
            say(f"{each.problem}; {each.remedy}")
        say(
            f"there is no usable latency table for {device} on this machine and space {space.name}, so each candidate "
            "is measured"
        )
        measured = _guided(space, meter, seed, say)
        say(f"a rough guide was fitted on a few networks: {fit_error(measured.guide.correction)}")
        judge = Judge(meter, measured.single.reference_ms)
        return OnDevice(measured, judge, device, {"by": "measuring"} | basis, here)
    unchecked = "" if table.checked else "; `nas latency check` has not checked it on new networks"
    say(f"latencies are predicted by table {table.name}: {error_text(table)}{unchecked}")
    reference_ms = table.origin.reference_ms
    basis |= {"by": f"table {table.name}", "made": table.origin.date}
    return OnDevice(TableLatency(table, Stopwatch(meter, reference_ms)), Judge(meter, reference_ms), device, basis)


def _guided(space: "SearchSpace", meter: "Meter", seed: int, say: Say) -> "GuidedCost[Stopwatch]":
    """Return a cost model that measures, with the best guide of several attempts.

    Raises:
        DeviceError: The device fails.
    """
    from nas.cost.measured import measured_latency
    from nas.samplers.cost_range import space_chain

    found = []
    for left in reversed(range(GUIDE_ATTEMPTS)):
        found.append(measured_latency(space_chain(space), space.net["padding"], meter, seed))
        error = found[-1].guide.error
        if error <= GUIDE_LIMIT:
            return found[-1]
        remedy = "the networks are measured again" if left else "stop other programs on the device, and start again"
        say(f"the error of the guide is ±{error:.1%}: something else disturbs the measurements; {remedy}")
    return min(found, key=lambda each: each.guide.error)


def stopwatch(meter: "Meter", arch: "Architecture") -> "Stopwatch":
    """Return a cost model that measures single networks, after a first measurement of one that is known to run.

    Raises:
        DeviceError: The device fails.
    """
    from nas.cost.measured import CANDIDATE, Stopwatch
    from nas.graph.fragment import whole

    turns = meter.measure([whole(arch)], CANDIDATE)
    return Stopwatch(meter, turns.reference.median_ms)


def error_text(table: "LatencyTable") -> str:
    """Return a phrase about the error of a table's predictions."""
    checked = table.checked
    if checked is not None:
        return f"error ±{checked.error:.1%} (itself ±{checked.spread:.1%}) on {checked.networks} networks of a check"
    return fit_error(table.correction)


def fit_error(fitted: "Correction") -> str:
    """Return a phrase about the error of predictions by a fit."""
    error = "unknown" if fitted.error is None else f"±{fitted.error:.1%}"
    return f"error {error} on {fitted.networks} networks left out of the fit in turn"


def above_limit(table: "LatencyTable") -> str:
    """Return a phrase about the error of a table that is not usable."""
    return f"its {error_text(table)} is above the limit of {100 * table.max_error:.3g}%"
