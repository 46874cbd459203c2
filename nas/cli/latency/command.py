"""`nas latency`: the commands about latency on a device."""

import click

from nas.cli.shared.verbs import Verbs

ACTIONS = ("measure", "table", "check")


@click.group(cls=Verbs, verbs={action: f"nas.cli.latency.{action}" for action in ACTIONS})
def command() -> None:
    """Measure latency on a device, make a latency table, or check a table.

    \b
    Example:
      nas latency measure mnasnet-a1 --device cpu
      nas latency table --space mnasnet --device cpu
      nas latency check --space mnasnet --device cpu
    """
