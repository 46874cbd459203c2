"""`--engine`: who evaluates a search's networks."""

from collections.abc import Callable

import click

from nas.api.request import ENGINES
from nas.cli.shared.options import Command, all_of
from nas.search.defaults import RETRIES

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
