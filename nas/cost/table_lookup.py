"""Search for the latency tables of a device; only tables of exactly this device are found."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from nas.cost.table import LatencyTable, Origin
from nas.cost.table_file import read_origin, read_table
from nas.device.machine import Machine
from nas.device.reference import REFERENCE_NAME
from nas.device.spec import Device
from nas.errors import DeviceError, NasError

SUFFIX = ".csv"


def differences(origin: Origin, device: Device, machine: Machine) -> list[str]:
    """Return the differences between the device of a table and another one, as clauses for messages.

    Args:
        origin: Origin of the table.
        device: Device specification.
        machine: Machine that has the device.

    Returns:
        An empty list where the table is of exactly this device.
    """
    own, other = origin.machine, machine
    compared = (
        ("device", str(origin.device), str(device)),
        ("cpu", own.cpu, other.cpu),
        ("instruction sets", own.isa, other.isa),
        ("accelerator", own.accelerator, other.accelerator),
        ("system", own.system, other.system),
        ("ONNX Runtime", own.runtime, other.runtime),
        ("form of graphs", own.graph, other.graph),
        ("reference", origin.reference, REFERENCE_NAME),
    )
    return [
        f"its {what} is {had or 'none'}, and here it is {has or 'none'}" for what, had, has in compared if had != has
    ]


def matching_tables(folders: Iterable[Path], device: Device, machine: Machine) -> Iterator[LatencyTable]:
    """Yield the tables of exactly this device: measured ones before adapted ones, and newer ones before older ones.

    Files that cannot be read are skipped: one damaged file in a folder must not hide the others.
    """
    for path in matching_files(folders, device, machine):
        with suppress(NasError):
            yield read_table(path)


def matching_files(folders: Iterable[Path], device: Device, machine: Machine) -> list[Path]:
    """Return the files of tables of exactly this device by their headers, in the order of `matching_tables`."""
    found = [
        (not origin.adapted_from, origin.date, path)
        for path, origin in _origins(folders)
        if not differences(origin, device, machine)
    ]
    return [path for *_, path in sorted(found, reverse=True)]


def outdated_files(folders: Iterable[Path], device: Device, machine: Machine, space: str) -> list[Path]:
    """Return the files of tables of this device and a space that differ from it only in the form of the graphs."""
    return [
        path
        for path, origin in _origins(folders)
        if origin.space == space and is_outdated(origin, machine) and len(differences(origin, device, machine)) == 1
    ]


def is_outdated(origin: Origin, machine: Machine) -> bool:
    """Return whether a table was made with graphs of another form than those that a machine runs."""
    return origin.machine.graph != machine.graph


def outdated(name: str, origin: Origin, machine: Machine) -> DeviceError:
    """Return the error for a table that was made with graphs of another form."""
    return DeviceError(
        f"latency table {name} was made with ONNX graphs of the form {origin.machine.graph!r}; latencies depend on the "
        f"form, and the networks of this version have the form {machine.graph!r}, so that the table is not used",
        f"measure it again with `nas latency table --space {origin.space} --device {origin.device.short}`",
    )


def _origins(folders: Iterable[Path]) -> Iterator[tuple[Path, Origin]]:
    for path in (path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))):
        with suppress(NasError):
            yield path, read_origin(path)
