"""Estimates of how long a planned search takes."""

import optuna

from nas.errors import EvaluationError
from nas.evaluate.base import Preparing, Reseedable, Timed
from nas.objective import PARETO
from nas.search.plan import Plan, first_proposal
from nas.search.retraining import SEEDS, SHARE, count_retrained
from nas.search.thread_choice import needs_probe
from nas.studies.records import BASELINE


def seconds_per_trial(plan: Plan) -> float | None:
    """Return an estimate for the first network that would be evaluated; None if the evaluator has no estimate.

    Raises:
        EvaluationError: The evaluator cannot train the network.
    """
    if not isinstance(plan.evaluator, Timed):
        return None
    return plan.settings.epochs * plan.evaluator.seconds_per_epoch(first_proposal(plan.cost_range, plan.settings).arch)


def seconds_before_trials(plan: Plan) -> float:
    """Return how long it takes to prepare evaluators and to screen the cost range, as far as that can be estimated."""
    preparing = sum(each.seconds_to_prepare() for each in plan.preparing)
    if plan.screen is None or not isinstance(plan.screen.evaluator, Timed):
        return preparing
    first = first_proposal(plan.cost_range, plan.settings)
    return preparing + plan.screen.networks * plan.screen.evaluator.seconds_per_epoch(first.arch)


def evaluations_after_trials(plan: Plan) -> int:
    """Return the number of evaluations after the trials, one at a time: the baseline, and the best with more seeds."""
    return (plan.baseline is not None) + evaluations_of_best(plan)


def evaluations_left(plan: Plan, study: optuna.Study) -> int:
    """Return the number of evaluations after the trials without those whose results the study holds already."""
    baseline = plan.baseline is not None
    done = count_retrained(study, baseline=baseline)
    return (baseline and BASELINE not in study.user_attrs) + max(0, evaluations_of_best(plan) - done)


def evaluations_of_best(plan: Plan) -> int:
    """Return the number of evaluations of the best trials, and of the baseline beside them, with more seeds."""
    if not isinstance(plan.evaluator, Reseedable) or plan.settings.objective == PARETO:
        return 0
    best = min(plan.settings.confirm, plan.settings.trials // SHARE)
    return SEEDS * (best + (plan.baseline is not None)) if best else 0


def seconds_in_all(plan: Plan, each: float) -> float:
    """Return how long a search takes whose evaluations take `each` seconds."""
    return each * (plan.settings.trials / plan.settings.workers + evaluations_after_trials(plan))


def first_estimate(plan: Plan) -> float | None:
    """Return how long the evaluations of a search take, from a few training steps; None where that is not known."""
    # An evaluator that has just prepared itself, such as a supernet, evaluates quickly: the first trial shows it.
    if isinstance(plan.evaluator, Preparing):
        return None
    try:
        each = seconds_per_trial(plan)
    except EvaluationError:  # the trial itself reports the error
        return None
    return None if each is None else seconds_in_all(plan, each)


def describe_work(plan: Plan, cores: int | None) -> str:
    """Return in words what a search will do.

    Args:
        plan: The search.
        cores: Number of CPU cores that each training run may use; see `find_threads`.
    """
    epochs = plan.settings.epochs
    parts = ["a probe chooses the number of threads first"] if needs_probe(plan, cores) else []
    parts += [f"each trial takes at most {epochs} epoch{'' if epochs == 1 else 's'}"]
    if plan.baseline is not None:
        parts.append(f"the baseline {plan.baseline[0]} follows after the trials")
    if again := evaluations_of_best(plan):
        parts.append(f"{again} evaluations with more seeds come last")
    return "; ".join(parts)
