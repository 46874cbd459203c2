"""`nas check`: how far evaluators can be trusted on the user's own images."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from attrs import define

from nas.cli.check.request import Asked, ask
from nas.cli.check.sources import LONGER, SPECS, is_training
from nas.cli.shared.options import (
    figure_options,
    json_option,
    metric_option,
    space_options,
    storage_option,
    supernet_options,
    target_task_options,
    training_options,
)

if TYPE_CHECKING:
    from nas.fidelity.collect import Opener, Source
    from nas.search.scoring import Scoring, Told

NETWORKS, SEEDS, MINUTES, PLANNED = 16, 2, 60.0, 100
SLOW_S, EVERY_S = 1.0, 15.0


@click.command()
@space_options
@click.option(
    "--target", "targets", multiple=True, metavar="NAME=AMOUNT", help="Check networks that a search for it would see."
)
@click.option(
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="|".join(SPECS),
    help="What to check; may be given several times.  [default: the training, and cheaper ones]",
)
@click.option(
    "--truth",
    metavar="EVALUATOR",
    help=f"What is held to be true: a longer training, or a table of such.  [default: {LONGER} times the --epochs]",
)
@click.option("--accuracy", default="", metavar="COLUMN", help="The tables' column of accuracies.")
@click.option("--ignore-columns", multiple=True, metavar="GLOB", help="Columns of the tables that say nothing here.")
@click.option("--networks", type=click.IntRange(5, 100_000), default=NETWORKS, show_default=True, help="How many.")
@training_options()
@metric_option
@supernet_options
@target_task_options
@click.option("--seed", type=click.IntRange(0, 2**31 - 100), default=0, show_default=True, help="The first one.")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=SEEDS, show_default=True, help="Trainings of one network."
)
@click.option(
    "--time-limit",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    default=MINUTES,
    show_default=True,
    help="Minutes, after which nothing new is begun; give the command again to go on.",
)
@click.option("--trials", type=click.IntRange(1), default=PLANNED, show_default=True, help="Of the search planned.")
@click.option("--price", type=click.FloatRange(0), help="Of an hour on this machine, to say what a search costs.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that train.")
@click.option("--study", default="", metavar="NAME", help="Of the trainings.  [default: made of the settings]")
@figure_options
@json_option
@storage_option
def command(**options: Any) -> None:
    """Check what a search's evaluator is worth: whether it ranks networks as longer trainings do.

    \b
    Example:
      nas check --data photos/ --target flops=400M
      nas check --data photos/ --evaluator train --evaluator train:epochs=1,resolution=16 --png check.png
      nas check --space nasbench_macro --truth table:accuracies.csv --evaluator zero-cost:naswot --networks 300

    Random networks are judged by every --evaluator and by the --truth, with several seeds; Kendall's tau says how alike
    they rank. What was trained is kept and not trained again.
    """
    from nas.cli.check.report import report
    from nas.fidelity.check import compare
    from nas.fidelity.collect import AT_ONCE, collect
    from nas.studies.opening import quiet_optuna

    quiet_optuna()
    asked = ask(options)
    click.echo(f"{len(asked.archs)} networks of space {asked.space.name}, study {asked.study}", err=True)
    progress = _Progress(len(asked.archs) * max(len(source.seeds) for source in asked.sources))
    begun = time.monotonic()
    try:
        verdicts = collect(
            asked.sources,
            asked.archs,
            _opener(asked, options),
            60 * options["minutes"],
            max(AT_ONCE, options["workers"]),
            progress.tell,
        )
    except KeyboardInterrupt:
        click.echo(f"stopped; the same command goes on with study {asked.study}", err=True)
        raise
    if time.monotonic() - begun >= 60 * options["minutes"]:
        click.echo("the time limit is over; the same command goes on", err=True)
    truth = asked.recorded or {
        number: list(by_seed.values()) for number, by_seed in verdicts[asked.truth].accuracies.items()
    }
    compared = {name: said for name, said in verdicts.items() if name != asked.truth}
    report(compare(compared, truth), asked, verdicts, truth, options)


def _opener(asked: Asked, options: Mapping[str, Any]) -> "Opener":
    """Opens the study of a source: its verdicts are comparable with each other alone."""
    from nas.search.scoring import open_scoring

    def opened(source: "Source") -> "AbstractContextManager[Scoring]":
        return open_scoring(
            f"{asked.study}: {source.key}",
            {"kind": "check", "evaluator": source.key},
            source.evaluators,
            source.epochs,
            storage=options["storage"],
            workers=options["workers"] if is_training(source.name) else 1,
            listen=partial(_tell, source.name),
        )

    return opened


def _tell(name: str, told: "Told") -> None:
    """A line for each verdict that took its time."""
    from nas.cli.shared.printing import percent

    if told.job is None or told.score is None or (told.score.seconds < SLOW_S and not told.score.reason):
        return
    well = f"{percent(told.score.accuracy)} in {told.score.seconds:.0f} s"
    result = f"failed: {told.score.reason.splitlines()[0]}" if told.score.reason else well
    network = int(told.job.params["network"])
    click.echo(f"{name}: network {network}, seed {told.job.seed}: {result}", err=True)


@define
class _Progress:
    """Says now and then how far a check is."""

    rounds: int
    _told_s: float = -EVERY_S

    def tell(self, done: int, seconds_left: float) -> None:
        """So many networks are judged, and about so many seconds are left."""
        now = time.monotonic()
        if now - self._told_s < EVERY_S or done >= self.rounds:
            return
        self._told_s = now
        click.echo(f"{done} of {self.rounds} rounds, about {seconds_left / 60:.0f} min for the rest", err=True)
