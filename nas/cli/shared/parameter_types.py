"""Types of options: finite numbers, durations and files to write."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.durations import parse_duration
from nas.errors import NasError
from nas.output_kinds import LATENCIES, OutputKind, check_output

if TYPE_CHECKING:
    from nas.search.patience import Patience


class Number(click.types.FloatParamType):
    """Represent the type of an option that is a finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; see `click.ParamType`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class NumberRange(click.FloatRange, Number):
    """Represent the type of an option that is a finite number within a range."""


class Duration(click.ParamType[float]):
    """Represent the type of an option that is a duration with its unit; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; see `click.ParamType`."""
        try:
            return parse_duration(value)
        except NasError as error:
            self.fail(f"{error.problem}; {error.remedy}", param, ctx)


class PatienceType(click.ParamType["Patience"]):
    """Represent the type of the option that says when a search ends early."""

    name = "patience"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Patience":
        """Return the patience; see `click.ParamType`."""
        from nas.search.patience import parse_patience

        try:
            return parse_patience(value)
        except NasError as error:
            self.fail(f"{error.problem}; {error.remedy}", param, ctx)


class OutputFile(click.Path):
    """Represent the type of an option that is a file to write, which is checked before any work is done.

    Args:
        kind: Kind of the file.
    """

    def __init__(self, kind: OutputKind) -> None:
        super().__init__(dir_okay=False, readable=False, path_type=Path)
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; see `click.Path`.

        Raises:
            NasError: No file of this kind may be written there.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        # The folders of latency tables, and of no other files, are made.
        check_output(path, self.kind, makes_folder=self.kind is LATENCIES)
        return path
