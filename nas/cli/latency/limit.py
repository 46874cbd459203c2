"""The largest error with which a latency table is used, as an option of the commands that find the error."""

import math
from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.groups import Group, option
from nas.errors import DeviceError

if TYPE_CHECKING:
    from nas.cost.table import LatencyTable

HIGHEST = 10.0  # so that 15 is not mistaken for 15%


class Share(click.ParamType[float]):
    """Represent the type of an option that is a share above zero, written like 15% or 0.15."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share; see `click.ParamType`."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = math.nan
        if not 0 < share <= HIGHEST:
            self.fail(
                f"{value!r} is not a share above 0 and up to {HIGHEST:.0%}; write one like 15% or 0.15", param, ctx
            )
        return share


max_error_option = option(
    Group.MEASUREMENT,
    "--max-error",
    type=Share(),
    default="15%",
    show_default=True,
    metavar="SHARE",
    help="Largest error of the table, as one standard deviation of a prediction. With a larger error the command "
    "fails, and searches do not use the table. The limit is stored in the table.",
)


def check_usable(table: "LatencyTable", remedy: str) -> None:
    """Raise an error if a table that was just made or checked cannot be used.

    Args:
        table: The table.
        remedy: What makes its error smaller.

    Raises:
        DeviceError: The error of the table exceeds its limit.
    """
    from nas.api.devices import above_limit

    if not table.is_usable:
        raise DeviceError(
            f"latency table {table.name} is not usable: {above_limit(table)}; searches do not use it",
            f"{remedy}, or accept a larger error with --max-error",
        )
