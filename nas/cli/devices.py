"""`nas devices`: what this machine, or another, can be asked to run."""

from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.options import json_option

if TYPE_CHECKING:
    from nas.device.machine import Machine
    from nas.device.words import Device


@click.command()
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@json_option
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """List what this machine can run networks on, or what the named devices are.

    \b
    Example:
      nas devices
      nas devices ssh://me@board cpu:threads=4

    Each is a word for --device.
    """
    from nas.cli.shared.printing import print_json, print_table

    rows = [row for text in devices for row in _named(text)] if devices else _here()
    if as_json:
        print_json(rows)
        return
    headers = ("device", "provider", "machine", "cores", "ONNX Runtime", "tables")
    print_table(headers, [tuple(map(str, row.values())) for row in rows], left=3)


def _here() -> list[dict[str, Any]]:
    """A row for every provider of this machine."""
    from nas.device.machine import providers, this_machine
    from nas.device.words import Device

    devices = [Device(provider) for provider in providers()]
    return [_row(device.short, device, this_machine(device)) for device in devices]


def _named(text: str) -> list[dict[str, Any]]:
    from nas.api.devices import connected
    from nas.device.words import parse_address

    with connected([text]) as meter:
        return [_row(parse_address(text).short, meter.device, meter.machine)]


def _row(word: str, device: "Device", machine: "Machine") -> dict[str, Any]:
    """A device's word and what it is; tables are those that are exactly of it."""
    from nas.api.devices import table_folders
    from nas.cost.table_find import matching_files

    return {
        "device": word,
        "provider": device.provider,
        "machine": f"{machine.cpu}{f', {machine.accelerator}' if machine.accelerator else ''} ({machine.system})",
        "cores": machine.cores,
        "runtime": machine.runtime,
        "tables": len(matching_files(table_folders(), device, machine)),
    }
