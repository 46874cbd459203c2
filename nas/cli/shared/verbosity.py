"""`--quiet` and `--verbose`: how much a command writes to standard error beside its errors."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.shared.groups import Group, GroupedOption

if TYPE_CHECKING:
    from logging import Handler

QUIET, VERBOSE = "quiet", "verbose"
# Keys of `click.Context.meta`, which a command shares with the groups around it.
_ASKED = f"{__name__}.asked"
_IN_FORCE = f"{__name__}.in_force"
_LOGGER = "nas"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def verbosity_options() -> list[click.Parameter]:
    """Return `--quiet` and `--verbose`, for a command or for a group."""
    return [
        GroupedOption(
            [f"-{name[0]}", f"--{name}"],
            group=Group.GENERAL,
            is_flag=True,
            expose_value=False,
            callback=_ask,
            help=text,
        )
        for name, text in (
            (QUIET, "Print no progress and no notes; results, warnings and errors remain."),
            (VERBOSE, "Print a log of the command's steps on standard error."),
        )
    ]


def _ask(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Note what is asked for; the two options may stand before and after the name of the command."""
    if not value or context.resilient_parsing:
        return
    asked = context.meta.setdefault(_ASKED, parameter.name)
    if asked != parameter.name:
        raise click.UsageError("--quiet and --verbose exclude each other; give one of them", context)


@contextmanager
def verbosity(context: click.Context) -> Iterator[None]:
    """Write as much to standard error as was asked for, until the command has ended.

    A group and its command both enter here: only the one that first knows what was asked for changes anything.
    """
    asked = context.meta.get(_ASKED)
    if asked is None or context.meta.get(_IN_FORCE):
        yield
        return
    context.meta[_IN_FORCE] = True
    with ExitStack() as stack:
        # Warnings are logged: with `--quiet` they still go to the real standard error, which is replaced only then.
        stack.enter_context(_logged(asked))
        if asked == QUIET:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stderr(nowhere))
        yield


@contextmanager
def _logged(asked: str) -> Iterator[None]:
    """Send what nas logs to standard error: warnings, and with `--verbose` everything."""
    import logging

    handler, logger = _handler(asked), logging.getLogger(_LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if asked == VERBOSE else logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _handler(asked: str) -> "Handler":
    import logging

    class Printing(logging.Handler):
        """Print above a live line of progress, which replaces `sys.stderr` while it is shown."""

        def emit(self, record: logging.LogRecord) -> None:
            click.echo(self.format(record), err=True)

    if asked == QUIET:
        return logging.StreamHandler(sys.stderr)
    handler = Printing()
    handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
    return handler
