"""Which latency table is of a device: exactly, or none."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from nas.cost.table import LatencyTable, Origin
from nas.cost.table_file import read_origin, read_table
from nas.device.machine import Machine
from nas.device.reference import REFERENCE_NAME
from nas.device.spec import Device
from nas.errors import NasError

SUFFIX = ".csv"


def differences(origin: Origin, device: Device, machine: Machine) -> list[str]:
    """What keeps a table from being of a device, as sentences; nothing where it is."""
    own, other = origin.machine, machine
    compared = (
        ("device", str(origin.device), str(device)),
        ("cpu", own.cpu, other.cpu),
        ("instruction sets", own.isa, other.isa),
        ("accelerator", own.accelerator, other.accelerator),
        ("system", own.system, other.system),
        ("ONNX Runtime", own.runtime, other.runtime),
        ("reference", origin.reference, REFERENCE_NAME),
    )
    return [
        f"its {what} is {had or 'none'}, and here it is {has or 'none'}" for what, had, has in compared if had != has
    ]


def matching_tables(folders: Iterable[Path], device: Device, machine: Machine) -> Iterator[LatencyTable]:
    """Tables of exactly this device: timed ones before adapted ones, the newest first; broken files are passed over."""
    for path in matching_files(folders, device, machine):
        with suppress(NasError):
            yield read_table(path)


def matching_files(folders: Iterable[Path], device: Device, machine: Machine) -> list[Path]:
    """Files whose headers are those of tables of exactly this device, in the order of `matching_tables`."""
    found: list[tuple[bool, str, Path]] = []
    for path in (path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))):
        with suppress(NasError):
            origin = read_origin(path)
            if not differences(origin, device, machine):
                found.append((not origin.adapted_from, origin.date, path))
    return [path for *_, path in sorted(found, reverse=True)]
