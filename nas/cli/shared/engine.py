"""`--engine`: the workers that evaluate the networks of a search, a fit, a comparison or a check."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas.cli.shared.options import Command, all_of
from nas.errors import StudyError
from nas.search.defaults import RETRIES

if TYPE_CHECKING:
    from nas.workers.base import Workers

PROCESSES, RAY = ENGINES = ("processes", "ray")
# Options that have a meaning for one engine alone.
ONLY: Mapping[str, str] = MappingProxyType({"address": RAY, "trial_cpus": RAY, "trial_gpus": RAY})

engine_options: Callable[[Command], Command] = all_of(
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="Who evaluates: processes of this machine, or a Ray cluster.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Processes that evaluate at once, each with its share of processors, graphics cards and memory; for ray "
        "the most at once. The same command on other machines, with the same --study and a --storage that all reach, "
        "takes part in the same search.  [default: 1; for ray what the cluster holds]",
    ),
    click.option("--address", default="auto", show_default=True, help="Of the Ray cluster: HOST:PORT, or auto."),
    click.option(
        "--trial-cpus",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        help="Processors of a trial on Ray.",
    ),
    click.option(
        "--trial-gpus",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Graphics cards of a trial on Ray.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        default=RETRIES,
        show_default=True,
        metavar="N",
        help="Times that a trial whose process was ended is begun again, before it fails.",
    ),
)


def check_engine(context: click.Context) -> None:
    """Refuse options that have no meaning for the chosen engine.

    Raises:
        StudyError: One was given.
    """
    engine = context.params["engine"]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and ONLY.get(name, engine) != engine:
            raise StudyError(
                f"{parameter.opts[0]} says nothing to --engine {engine}",
                f"leave it out, or choose --engine {ONLY[name]}",
            )


def make_engine(options: Mapping[str, Any]) -> "Workers":
    """Return the workers that the options describe, not yet started.

    Raises:
        StudyError: The number of workers is not possible.
    """
    if options["engine"] == RAY:
        from nas.workers.ray_workers import RayWorkers

        return RayWorkers(options["address"], options["trial_cpus"], options["trial_gpus"], options["workers"])
    from nas.workers.processes import make_workers

    return make_workers(options["workers"] or 1)
