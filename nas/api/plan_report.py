"""A report of a planned search, with an estimate of its duration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.api.evaluators import SUPERNET, ZERO_COST
from nas.evaluate.base import Timed

if TYPE_CHECKING:
    import numpy as np

    from nas.search.plan import Plan
    from nas.search.screening import Screen


def report_plan(plan: "Plan", storage: str) -> dict[str, Any]:
    """Return what a planned search would do, as JSON values in the order in which they are shown.

    Args:
        plan: The plan.
        storage: Optuna URL of the database; its passwords are left out.

    Returns:
        The study, the targets, the proxy task and so on. Durations are in seconds, and None if the evaluator has no
        estimate.
    """
    import numpy as np

    from nas.studies.urls import mask

    settings, cost_range = plan.settings, plan.cost_range
    seconds = _seconds_per_trial(plan)
    evaluations = settings.trials + (plan.baseline is not None) + _evaluations_of_best(plan)
    before = sum(each.seconds_to_prepare() for each in plan.preparing) + _seconds_to_screen(plan)
    limits = zip(cost_range.targets, cost_range.limits.low, cost_range.limits.high, strict=True)
    return {
        "study": plan.study_name,
        "storage": mask(storage),
        "space": cost_range.space.name,
        "targets": [target.text for target in settings.targets],
        "target_task": {key: plan.described[key] for key in ("resolution", "classes")},
        "objective": settings.objective,
        "let_in": {t.name: f"{t.amount(low)} to {t.amount(high)}" for t, low, high in limits},
        "share_let_in": _share_inside(plan, np.random.default_rng(settings.seed)),
        "sampler": settings.sampler_name,
        "proxy_task": _proxy_task(plan.described["proxy"], settings.epochs),
        **({} if plan.screen is None else {"screen": _screen(plan.screen)}),
        "baseline": plan.baseline[0] if plan.baseline else "none",
        "trials": settings.trials,
        "seconds_a_trial": None if seconds is None else round(seconds, 1),
        "seconds_in_all": None if seconds is None else round(before + seconds * evaluations),
    }


def _share_inside(plan: "Plan", rng: "np.random.Generator") -> str:
    if plan.pool is None:
        return f"{plan.cost_range.share(rng):.1%} of random architectures"
    inside = int((plan.cost_range.excess(plan.pool) == 0).sum())
    return f"{inside:,} of the {len(plan.pool):,} that the evaluator can score"


def _proxy_task(described: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return the images and the training run, or the whole description of an evaluator that does not train."""
    if "data" not in described or described["evaluator"] == ZERO_COST:
        return dict(described)
    kept = ("evaluator", "data", "resolution", "metric", "precision")
    shown = {name: described[name] for name in kept if name in described}
    return shown | {"epochs": described["recipe"]["epochs"] if described["evaluator"] == SUPERNET else epochs}


def _screen(screen: "Screen") -> dict[str, Any]:
    """Return the evaluator that screens the cost range, and the number of networks that it screens."""
    return {"networks": screen.networks, **_proxy_task(screen.describe(), 1)}


def _seconds_per_trial(plan: "Plan") -> float | None:
    """Return an estimate for the first network that would be evaluated; None if the evaluator has no estimate."""
    from nas.search.plan import first_proposal

    if not isinstance(plan.evaluator, Timed):
        return None
    arch = first_proposal(plan.cost_range, plan.settings).arch
    return plan.settings.epochs * plan.evaluator.seconds_per_epoch(arch)


def _evaluations_of_best(plan: "Plan") -> int:
    """Return the number of evaluations of the best networks, and of the baseline, with more seeds."""
    from nas.evaluate.base import Reseedable
    from nas.objective import PARETO
    from nas.search.retraining import SEEDS, SHARE

    if not isinstance(plan.evaluator, Reseedable) or plan.settings.objective == PARETO:
        return 0
    best = min(plan.settings.confirm, plan.settings.trials // SHARE)
    return SEEDS * (best + (plan.baseline is not None)) if best else 0


def _seconds_to_screen(plan: "Plan") -> float:
    """Return the duration of the screening; 0 if there is none, or no estimate for it."""
    from nas.search.plan import first_proposal

    if plan.screen is None or not isinstance(plan.screen.evaluator, Timed):
        return 0.0
    first = first_proposal(plan.cost_range, plan.settings)
    return plan.screen.networks * plan.screen.evaluator.seconds_per_epoch(first.arch)
