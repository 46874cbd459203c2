"""`nas check`: how far evaluators can be trusted on the user's own images."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from attrs import define

from nas.cli.check.request import Asked, ask
from nas.cli.check.sources import LONGER, is_training
from nas.cli.shared.evaluators import FORMS, TRAIN
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    figure_options,
    json_option,
    metric_option,
    space_options,
    storage_option,
    supernet_options,
    task_options,
    training_options,
)
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.fidelity.collect import Opener, Source
    from nas.search.scoring import Scoring, Told

NETWORKS, SEEDS, MINUTES, PLANNED = 16, 2, 60.0, 100
SLOW_S, EVERY_S = 1.0, 15.0


@click.command(cls=Verb)
@space_options
@option(
    Group.TARGET,
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=AMOUNT",
    help="Target of the planned search, such as flops=400M: networks are drawn from its cost range. May be repeated.",
)
@task_options(Group.TARGET)
@option(
    Group.EVALUATORS,
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="EVALUATOR",
    show_default="train and cheaper variants of it",
    help=f"Evaluator to check: {', '.join(FORMS.values())}. What trains takes settings of its own, such as "
    f"{TRAIN}:epochs=1,resolution=16,images=500,networks=8. May be repeated.",
)
@option(
    Group.EVALUATORS,
    "--truth",
    metavar="EVALUATOR",
    show_default=f"train with {LONGER} times the --epochs",
    help="Evaluator whose accuracies count as the truth: a longer training run, or a table of such.",
)
@option(
    Group.EVALUATORS,
    "--accuracy",
    default="",
    show_default="accuracy or acc, else that of the lowest seed",
    metavar="COLUMN",
    help="Column of the tables that holds the accuracies.",
)
@option(
    Group.EVALUATORS,
    "--ignore-columns",
    multiple=True,
    metavar="GLOB",
    help="Columns of the tables to ignore, such as 'op*'. May be repeated.",
)
@supernet_options(Group.EVALUATORS)
@training_options(Group.TRAINING)
@metric_option(Group.TRAINING)
@option(
    Group.TRAINING,
    "--seed",
    type=click.IntRange(0, 2**31 - 100),
    default=0,
    show_default=True,
    metavar="N",
    help="First seed of the training runs.",
)
@option(
    Group.TRAINING,
    "--seeds",
    type=click.IntRange(1, 100),
    default=SEEDS,
    show_default=True,
    metavar="N",
    help="Number of training runs for each network, each with a seed of its own.",
)
@option(
    Group.CHECK,
    "--networks",
    type=click.IntRange(5, 100_000),
    default=NETWORKS,
    show_default=True,
    metavar="N",
    help="Number of random networks to evaluate.",
)
@option(
    Group.CHECK,
    "--time-limit",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    default=MINUTES,
    show_default=True,
    metavar="MINUTES",
    help="Minutes after which no new evaluation is started; the same command continues the check.",
)
@option(
    Group.CHECK,
    "--trials",
    type=click.IntRange(1),
    default=PLANNED,
    show_default=True,
    metavar="N",
    help="Number of trials of the planned search, whose duration is estimated.",
)
@option(
    Group.CHECK,
    "--price",
    type=click.FloatRange(0),
    metavar="AMOUNT",
    show_default="not estimated",
    help="Price of an hour on this machine, from which the price of the planned search is estimated.",
)
@option(
    Group.CHECK,
    "--study",
    default="",
    metavar="NAME",
    show_default="made from the settings",
    help="Beginning of the names of the studies that keep the evaluations. The same command continues them.",
)
@option(
    Group.WORKERS,
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of processes that train at once.",
)
@figure_options
@storage_option
@json_option
def command(**options: Any) -> None:
    """Check how well the evaluator of a search ranks networks, compared with longer training runs.

    \b
    Example:
      nas check --data photos/ --target flops=400M
      nas check --evaluator train --evaluator train:epochs=1 --png check.png
      nas check --space nasbench_macro --truth table:accuracies.csv \\
        --evaluator zero-cost:naswot --networks 300

    Every --evaluator and the --truth evaluate the same random networks, with several seeds; Kendall's tau tells how
    similarly they rank them. Finished evaluations are kept and not repeated.
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
