"""`nas check`: how well evaluators rank networks on the user's own images."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from attrs import define, evolve

from nas.api.engines import check_cluster, make_workers
from nas.api.evaluators import FORMS, TRAIN
from nas.api.quiet import quiet_optuna
from nas.cli.check.evaluators import LONGER, is_training
from nas.cli.check.options import CheckOptions, read_options
from nas.cli.shared.engine import check_engine, engine_options
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import (
    OF_DATA,
    accuracy_unit_option,
    figure_options,
    json_option,
    metric_option,
    pretrained_options,
    space_options_of,
    storage_option,
    supernet_options,
    task_options,
    training_options,
)
from nas.cli.shared.parameter_types import NumberRange
from nas.cli.shared.printing import percent, say
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.cli.check.plan import PlannedCheck
    from nas.fidelity.check import Validated
    from nas.fidelity.collect import CheckedEvaluator, Evaluations, Opener
    from nas.search.events import Event
    from nas.search.job_study import JobStudy
    from nas.search.session import Session

NETWORKS, SEEDS, MINUTES, PLANNED = 16, 2, 60.0, 100
SLOW_S, EVERY_S = 1.0, 15.0


@click.command(cls=Verb)
@space_options_of("the networks around SOURCE with --pretrained, else mnasnet")
@option(
    Group.TARGET,
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=AMOUNT",
    help="Target of the planned search, such as flops=400M: networks are drawn from its cost range. May be repeated.",
)
@task_options(Group.TARGET, OF_DATA.format("that of the space"))
@option(
    Group.EVALUATORS,
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="EVALUATOR",
    show_default="train, or finetune with --pretrained, and cheaper variants",
    help=f"Evaluator to check: {', '.join(FORMS.values())}. An evaluator that trains takes settings of its own, as in "
    f"{TRAIN}:epochs=1,resolution=16,images=500,networks=8. May be repeated.",
)
@option(
    Group.EVALUATORS,
    "--truth",
    metavar="EVALUATOR",
    show_default=f"the first of these with {LONGER} times the --epochs",
    help="Evaluator whose accuracies count as the truth: a longer training run, or a table of accuracies.",
)
@option(
    Group.EVALUATORS,
    "--accuracy",
    default="",
    show_default="accuracy or acc, else that of the lowest seed",
    metavar="COLUMN",
    help="Column of the tables that holds the accuracies.",
)
@accuracy_unit_option(Group.EVALUATORS)
@option(
    Group.EVALUATORS,
    "--ignore-columns",
    multiple=True,
    metavar="GLOB",
    help="Columns of the tables to ignore, such as 'op*'. May be repeated.",
)
@supernet_options(Group.EVALUATORS)
@pretrained_options(Group.EVALUATORS)
@training_options(Group.TRAINING, resolution=None)
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
    type=NumberRange(0, min_open=True),
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
    type=NumberRange(0),
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
@engine_options
@figure_options
@storage_option
@json_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Check how well the evaluator of a search ranks networks, compared with longer training runs.

    \b
    Example:
      nas check --data photos/ --target flops=400M
      nas check --evaluator train --evaluator train:epochs=1 --png check.png
      nas check --space nasbench_macro --truth table:accuracies.csv \\
        --evaluator zero-cost:naswot --networks 300

    Every --evaluator and the --truth evaluate the same random networks, with several seeds; Kendall's tau
    measures how similarly they rank them. Finished evaluations are kept and not repeated.
    """
    check_engine(context)
    with quiet_optuna():
        _check(read_options(options))


def _check(options: CheckOptions) -> None:
    """Plan and run a check, and print its report."""
    from nas.cli.check.plan import plan_check
    from nas.cli.check.report import report
    from nas.fidelity.check import compare
    from nas.studies.early_check import check_storage

    check_storage(options.storage)
    check_cluster(options.engine.engine, options.engine.address)
    planned = plan_check(options)
    say(f"{len(planned.archs)} networks of space {planned.space.name}, study {planned.study}")
    begun = time.monotonic()
    evaluations = _evaluate(planned, options)
    if time.monotonic() - begun >= 60 * options.minutes:
        say("the time limit is over; the same command continues the check")
    truth = planned.recorded or {
        number: list(by_seed.values()) for number, by_seed in evaluations[planned.truth].accuracies.items()
    }
    compared = {name: done for name, done in evaluations.items() if name != planned.truth}
    report(compare(compared, truth, _validated(planned, evaluations)), planned, evaluations, truth, options)


def _validated(planned: "PlannedCheck", evaluations: "Mapping[str, Evaluations]") -> "Validated | None":
    """Return what is known of the validation images of the truth; None where the truth has none."""
    from nas.fidelity.check import Validated

    if planned.recorded:
        return None
    splits = {each.name: each.validation_split() for each in planned.evaluators}
    split = splits.pop(planned.truth)
    if split is None:
        return None
    correct = {number: list(by_seed.values()) for number, by_seed in evaluations[planned.truth].correct.items()}
    return Validated(split, correct, [name for name, other in splits.items() if other == split])


def _evaluate(planned: "PlannedCheck", options: CheckOptions) -> "Mapping[str, Evaluations]":
    from nas.fidelity.collect import AT_ONCE, collect
    from nas.search.session import open_session

    progress = _Progress(len(planned.archs) * max(len(each.seeds) for each in planned.evaluators))
    try:
        # One session for all evaluators: workers keep their images, and a Ray cluster is joined once.
        with open_session(make_workers(options.engine)) as session:
            return collect(
                planned.evaluators,
                planned.archs,
                _opener(planned, session, options),
                60 * options.minutes,
                max(AT_ONCE, options.engine.workers or 1),
                progress.show,
            )
    except KeyboardInterrupt:
        say(f"stopped; the same command continues study {planned.study}")
        raise


def _opener(planned: "PlannedCheck", session: "Session", options: CheckOptions) -> "Opener":
    """Return a function that opens the study of an evaluator; each has its own, whose evaluations are comparable."""
    from nas.search.job_study import open_job_study
    from nas.workers.base import Here

    here = evolve(session, workers=Here())

    def opened(evaluator: "CheckedEvaluator") -> "AbstractContextManager[JobStudy]":
        return open_job_study(
            f"{planned.study}: {evaluator.key}",
            {"kind": "check", "evaluator": evaluator.key},
            evaluator.evaluators,
            evaluator.epochs,
            # An evaluation without training takes less time than sending it to a worker, which can limit its time.
            session if is_training(evaluator.name) or options.engine.trial_timeout else here,
            storage=options.storage,
            retries=options.engine.retries,
            listen=partial(_print_event, evaluator.name),
        )

    return opened


def _print_event(name: str, event: "Event") -> None:
    """Print a line for each evaluation that failed or took long, and for what stops or delays the others."""
    record, job = event.record, event.job
    if event.kind in ("lost", "stopping", "waiting"):
        say(f"{name}: {event.message}")
    elif record is not None and job is not None and (record.reason or (record.seconds or 0.0) >= SLOW_S):
        accuracy = f"{percent(record.accuracy)} in {record.seconds or 0:.0f} s"
        result = f"failed: {record.reason.splitlines()[0]}" if record.reason else accuracy
        say(f"{name}: network {int(job.params['network'])}, seed {job.seed}: {result}")


@define
class _Progress:
    """Print every few seconds how much of a check is done.

    Attributes:
        rounds: Number of networks, counted once for each seed.
    """

    rounds: int
    _shown_s: float = -EVERY_S

    def show(self, done: int, seconds_left: float) -> None:
        """Print how many networks are evaluated and about how long the others take, every few seconds at most."""
        now = time.monotonic()
        if now - self._shown_s < EVERY_S or done >= self.rounds:
            return
        self._shown_s = now
        say(f"{done} of {self.rounds} rounds are done, about {seconds_left / 60:.0f} min left")
