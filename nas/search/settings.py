"""Settings of a search, and their form in its study."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from nas.arch.spec import Architecture
from nas.cost.base import Target
from nas.errors import StudyError
from nas.evaluate.base import Evaluator
from nas.objective import PARETO, Reward, limits, make_reward
from nas.samplers.defaults import SURROGATE
from nas.search.defaults import BAND, CONFIRM, EPOCHS, RETRIES, TRIALS
from nas.search.patience import Patience
from nas.space.decode import SearchSpace
from nas.studies.records import FURTHER_W

FORMAT = 1


def _targets(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple(targets)


@frozen
class Settings:
    """Hold the settings of a search.

    Attributes:
        targets: Upper limits of costs; the first one also sets the cost range.
        trials: Number of complete, pruned and failed trials of the finished study.
        epochs: Number of epochs of each evaluation.
        seed: Seed of the study.
        objective: "soft", "hard", "absolute" or "pareto".
        w: Exponent of the reward; None takes the default of the objective.
        band: Lower bound of the first cost, as a share of its target.
        sampler: Name of the sampler; "" takes the project's own.
        pruner: Name of the pruner.
        start_from: Known networks to evaluate first, moved into the space and the cost range.
        confirm: Number of the best trials that are re-trained with more seeds, where the evaluator has seeds.
        workers: Number of evaluations that this process runs at once.
        retries: Number of further attempts for a trial whose process died, before the trial fails.
        threads: Number of threads of each training run; None chooses it by a probe.
        timeout_s: Time limit in seconds, after which this process starts no more trials; None for no limit.
        patience: When the search ends because nothing better comes, or is expected; None for never.
        trial_timeout_s: Longest duration of one evaluation in seconds, after which it fails; None for no limit.
        rewards_slack: Whether costs below the targets after the first change the score, as they do in studies of
            earlier versions.
    """

    targets: tuple[Target, ...] = field(converter=_targets)
    trials: int = TRIALS
    epochs: int = EPOCHS
    seed: int = 0
    objective: str = "soft"
    w: float | None = None
    band: float = BAND
    sampler: str = ""
    pruner: str = "median"
    start_from: tuple[Architecture, ...] = ()
    confirm: int = CONFIRM
    workers: int = 1
    retries: int = RETRIES
    threads: int | None = None
    timeout_s: float | None = None
    patience: Patience | None = None
    trial_timeout_s: float | None = None
    rewards_slack: bool = False

    def __attrs_post_init__(self) -> None:
        if self.trials < 1 or self.epochs < 1:
            raise StudyError(f"the search has {self.trials} trials of {self.epochs} epochs", "give at least 1 of each")

    @property
    def sampler_name(self) -> str:
        """Return the name of the sampler, with the default filled in."""
        return self.sampler or SURROGATE

    @property
    def reward(self) -> Reward:
        """Return how costs change the score; a search for a front scores as "soft" does."""
        reward = make_reward("soft" if self.objective == PARETO else self.objective, self.w)
        return evolve(reward, further_below=reward.below) if self.rewards_slack else reward


def study_settings(space: SearchSpace, evaluator: Evaluator, settings: Settings) -> dict[str, Any]:
    """Return what makes trials of a study comparable, as JSON values; a resumed search must have the same."""
    reward = None if settings.objective == PARETO else settings.reward
    # Only where it makes a difference: settings of other searches stay those of earlier versions.
    has_limits = len(settings.targets) > 1 and reward is not None and reward.below != 0
    return {
        "format": FORMAT,
        "space": space.name,
        "space_sha256": hashlib.sha256(space.definition.encode()).hexdigest()[:12],
        "fixed": {c.name: c.values[0] for c in space.all_choices if len(c.values) == 1},
        "resolution": space.net["resolution"],
        "classes": space.net["classes"],
        "targets": [target.text for target in settings.targets],
        "limits": _described_limits(settings),
        "objective": settings.objective,
        "w": None if reward is None else [reward.below, reward.above],
        **({FURTHER_W: [reward.further_below, reward.above]} if reward is not None and has_limits else {}),
        "band": settings.band,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "sampler": settings.sampler_name,
        "pruner": settings.pruner,
        "proxy": {key: value for key, value in evaluator.describe().items() if key != "environment"},
    }


def _described_limits(settings: Settings) -> list[dict[str, Any]]:
    """Return for each target the name of its cost in stored trials, and the lower and upper bound."""
    span = limits(settings.targets, band=settings.band, objective=settings.objective)
    spans = zip(settings.targets, span.low, span.high, strict=True)
    return [
        {"cost": target.kept_as, "unit": target.unit, "low": low, "high": high}
        | ({"basis": dict(target.basis)} if target.basis else {})
        for target, low, high in spans
    ]


def default_study_name(described: Mapping[str, Any]) -> str:
    """Return a name that the same command gives again: space, targets, and a digest of all settings."""
    # Without the scoring rule, so that the same command continues the study that an earlier version made; and without
    # the form of graphs: a search that was made with another form is then found under its name and refused with a
    # reason, where a new name would silently start it again.
    named = {key: value for key, value in described.items() if key != FURTHER_W}
    named["limits"] = [_without_form(limit) for limit in described["limits"]]
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:6]
    targets = "-".join(re.sub(r"[^\w.@+]+", "-", text.replace("=", "")) for text in described["targets"])
    return f"{described['space']}-{targets}-{digest}"


def _without_form(limit: Mapping[str, Any]) -> dict[str, Any]:
    if "basis" not in limit:
        return dict(limit)
    return dict(limit) | {"basis": {key: value for key, value in limit["basis"].items() if key != "graph"}}
