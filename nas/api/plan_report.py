"""A report of a planned search, with an estimate of its duration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.api.evaluators import SUPERNET, ZERO_COST

if TYPE_CHECKING:
    import numpy as np

    from nas.search.plan import Plan
    from nas.search.screening import Screen

HOUR_S = 3600


def report_plan(plan: "Plan", storage: str, cores: int | None = None, price: float | None = None) -> dict[str, Any]:
    """Return what a planned search would do, as JSON values in the order in which they are shown.

    Args:
        plan: The plan.
        storage: Optuna URL of the database; its passwords are left out.
        cores: Number of CPU cores that each training run may use; a probe chooses its threads, as the search does. None
            chooses none.
        price: Price of an hour on this machine; None if it is unknown.

    Returns:
        The study, the targets, the proxy task and so on. Durations are in seconds, and None if the evaluator has no
        estimate; so is the price, which is there if the price of an hour is. The number of threads is None if libraries
        or a cluster choose it.
    """
    import numpy as np

    from nas.search.duration import seconds_before_trials, seconds_in_all, seconds_per_trial
    from nas.search.thread_choice import choose
    from nas.studies.urls import mask
    from nas.workers.threads import limited_threads

    settings, cost_range = plan.settings, plan.cost_range
    choice = choose(plan, cores)
    threads = None if choice is None else choice.threads
    with limited_threads(threads):
        seconds = seconds_per_trial(plan)
    whole = None if seconds is None else seconds_before_trials(plan) + seconds_in_all(plan, seconds)
    limits = zip(cost_range.targets, cost_range.limits.low, cost_range.limits.high, strict=True)
    return {
        "study": plan.study_name,
        "storage": mask(storage),
        "space": cost_range.space.name,
        "targets": [target.text for target in settings.targets],
        "target_task": _target_task(plan),
        "objective": settings.objective,
        "cost_range": {t.name: f"{t.amount(low)} to {t.amount(high)}" for t, low, high in limits},
        "share_in_range": _share_inside(plan, np.random.default_rng(settings.seed)),
        "sampler": settings.sampler_name,
        "proxy_task": _proxy_task(plan.described["proxy"], settings.epochs),
        **({} if plan.screen is None else {"screen": _screen(plan.screen)}),
        "baseline": plan.baseline[0] if plan.baseline else "none",
        "trials": settings.trials,
        "threads": threads,
        "seconds_a_trial": None if seconds is None else round(seconds, 1),
        "seconds_in_all": None if whole is None else round(whole),
        **({} if price is None else {"price": None if whole is None else float(f"{price * whole / HOUR_S:.3g}")}),
    }


def _target_task(plan: "Plan") -> dict[str, Any]:
    """Return the resolution and the number of classes, and all resolutions where they are a choice."""
    several = plan.cost_range.space.resolutions
    task = {key: plan.described[key] for key in ("resolution", "classes")}
    return task | ({"resolutions": list(several)} if len(several) > 1 else {})


def _share_inside(plan: "Plan", rng: "np.random.Generator") -> str:
    if plan.pool is None:
        return f"{plan.cost_range.share(rng):.1%} of random architectures"
    inside = int((plan.cost_range.excess(plan.pool) == 0).sum())
    return f"{inside:,} of the {len(plan.pool):,} that the evaluator can score"


def _proxy_task(described: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return the images and the training run, or the whole description of an evaluator that does not train."""
    if "data" not in described or described["evaluator"] == ZERO_COST:
        return dict(described)
    kept = ("evaluator", "data", "resolution", "full_resolution", "metric", "precision")
    shown = {name: described[name] for name in kept if name in described}
    return shown | {"epochs": described["recipe"]["epochs"] if described["evaluator"] == SUPERNET else epochs}


def _screen(screen: "Screen") -> dict[str, Any]:
    """Return the evaluator that screens the cost range, and the number of networks that it screens."""
    return {"networks": screen.networks, **_proxy_task(screen.describe(), 1)}
