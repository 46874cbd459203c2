"""`--engine`: the workers that evaluate the networks of a search, a fit, a comparison or a check."""

from collections.abc import Callable

import click
from click.core import ParameterSource

from nas.api import engines
from nas.api.engines import ENGINES
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import Command, all_of
from nas.cli.shared.parameter_types import Duration, NumberRange
from nas.search.defaults import RETRIES

engine_options: Callable[[Command], Command] = all_of(
    option(
        Group.WORKERS,
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="Place where trials run: processes of this machine, or a Ray cluster.",
    ),
    option(
        Group.WORKERS,
        "--workers",
        type=click.IntRange(1, 1024),
        metavar="N",
        show_default="1; on Ray as many as the cluster can hold",
        help="Number of trials that run at once. Each worker process gets an equal share of the CPU cores, GPUs and "
        "memory. The same command on other machines, with the same --study and a --storage that all of them can "
        "reach, takes part in the same search.",
    ),
    option(
        Group.WORKERS,
        "--threads",
        type=click.IntRange(1, 1024),
        metavar="N",
        show_default="the fastest number, which a short probe finds",
        help="Number of threads of each training run on the CPU, in processes of this machine.",
    ),
    option(
        Group.WORKERS,
        "--address",
        default="auto",
        show_default=True,
        metavar="ADDRESS",
        help="Address of the Ray cluster: HOST:PORT, or auto.",
    ),
    option(
        Group.WORKERS,
        "--trial-cpus",
        type=NumberRange(0, min_open=True),
        default=1.0,
        show_default=True,
        metavar="N",
        help="Number of CPU cores for each trial on Ray.",
    ),
    option(
        Group.WORKERS,
        "--trial-gpus",
        type=NumberRange(0),
        default=0.0,
        show_default=True,
        metavar="N",
        help="Number of GPUs for each trial on Ray.",
    ),
    option(
        Group.WORKERS,
        "--retries",
        type=click.IntRange(0, 100),
        default=RETRIES,
        show_default=True,
        metavar="N",
        help="Number of times that a trial is started again after its process was ended, before the trial fails.",
    ),
    option(
        Group.WORKERS,
        "--trial-timeout",
        type=Duration(),
        metavar="DURATION",
        show_default="no limit",
        help="Longest duration of one evaluation: 90s, 45m or 2h. A longer one is stopped, and its trial fails.",
    ),
)


def check_engine(context: click.Context) -> None:
    """Check that the chosen engine uses all options that were given.

    Raises:
        StudyError: The engine does not use one of them.
    """
    names = (parameter.name or "" for parameter in context.command.params)
    given = frozenset(name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE)
    engines.check_engine(context.params["engine"], given)
