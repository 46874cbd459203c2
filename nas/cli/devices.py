"""`nas devices`: the devices of this machine and of others."""

from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.options import json_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.device.machine import Machine
    from nas.device.spec import Device


@frozen
class DevicesOptions:
    """Hold the parsed options of `nas devices`."""

    devices: tuple[str, ...]
    as_json: bool


@click.command(cls=Verb)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@json_option
def command(**options: Any) -> None:
    """List the devices of this machine that can run networks, or describe the named devices.

    \b
    Example:
      nas devices
      nas devices ssh://me@board cpu:threads=4

    The first column of the list is what --device takes.
    """
    from nas.cli.shared.printing import print_json, print_table

    given = DevicesOptions(**options)
    rows = [_named_row(text) for text in given.devices] if given.devices else _own_rows()
    if given.as_json:
        print_json(rows)
        return
    headers = ("device", "provider", "machine", "cores", "ONNX Runtime", "tables")
    print_table(headers, [tuple(map(str, row.values())) for row in rows], left=3)


def _own_rows() -> list[dict[str, Any]]:
    """Return a row for each ONNX Runtime provider of this machine."""
    from nas.device.machine import providers, this_machine
    from nas.device.spec import Device

    devices = [Device(provider) for provider in providers()]
    return [_row(device.short, device, this_machine(device)) for device in devices]


def _named_row(text: str) -> dict[str, Any]:
    """Return the row of a device that the user named.

    Raises:
        DeviceError: The device cannot be read or reached.
    """
    from nas.api.devices import connected
    from nas.device.spec import parse_address

    with connected([text]) as meter:
        return _row(parse_address(text).short, meter.device, meter.machine)


def _row(word: str, device: "Device", machine: "Machine") -> dict[str, Any]:
    """Return what is known of a device, with the number of latency tables made on exactly this device."""
    from nas.api.devices import table_folders
    from nas.cost.table_lookup import matching_files

    return {
        "device": word,
        "provider": device.provider,
        "machine": f"{machine.cpu}{f', {machine.accelerator}' if machine.accelerator else ''} ({machine.system})",
        "cores": machine.cores,
        "runtime": machine.runtime,
        "tables": len(matching_files(table_folders(), device, machine)),
    }
