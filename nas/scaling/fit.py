"""Step 1 of compound scaling: alpha, beta and gamma for a network, by training what they make of it.

A grid of coefficients with alpha * beta^2 * gamma^2 near 2 (arXiv 1905.11946, section 3.3), each distinct network
trained at the resolution that its gamma gives the proxy's images. Rounding makes some networks costlier than others,
so that they are ranked as a search ranks: by accuracy times (MACs / wanted MACs)^w.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import attrs
from attrs import field, frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.base import Cost, CostModel
from nas.errors import ScalingError
from nas.noise import is_near, pooled
from nas.objective import make_reward
from nas.scaling.budget import Growth
from nas.scaling.grow import Scaled, pixels
from nas.scaling.rules import DOUBLING, TOLERANCE, PowerRule, own
from nas.search.scoring import Job, Score, Scoring

STEP = 0.05
MOST_CANDIDATES = 5000
DIGITS = 9

Costs = Callable[[Sequence[Architecture]], Sequence[Cost]]


@frozen
class FitSettings:
    """What a fit is asked for.

    Attributes:
        phi: at which networks are compared; 1 in the paper.
        proxy_resolution: pixels of a side at which the base itself would be trained.
        tolerance: of alpha * beta^2 * gamma^2 from 2.
        step: of the grid.
        repeat: so many of the best get all seeds.
        seeds: trainings of one network.
        seed: the first one.
        w: exponent of cost over wanted cost in the score; 0 ranks by accuracy alone.
    """

    phi: float = 1.0
    proxy_resolution: int = 32
    tolerance: float = TOLERANCE
    step: float = STEP
    repeat: int = 5
    seeds: int = 3
    seed: int = 0
    w: float = -0.07

    def __attrs_post_init__(self) -> None:
        if not 0 < self.phi <= 10:
            raise ScalingError(f"a fit at phi {self.phi:g}", "fit where networks grow, at a phi above 0, like 1 or 2")
        if not 0.01 <= self.step <= 1 or not 0 <= self.tolerance < 1:
            raise ScalingError(f"step {self.step:g}, tolerance {self.tolerance:g}", "use 0.05 and 0.1, or so")
        make_reward("soft", self.w)


@frozen
class Candidate:
    """Coefficients and the network they make; `resolution` is that of the images it is trained on."""

    rule: PowerRule
    scaled: Scaled
    resolution: int

    def job(self, seed: int) -> Job:
        """Its training with a seed."""
        coefficients = {"alpha": self.rule.alpha, "beta": self.rule.beta, "gamma": self.rule.gamma}
        return Job(self.scaled.arch, self.resolution, seed, coefficients)

    @property
    def network(self) -> Architecture:
        """What is trained: equal for coefficients that round to the same."""
        return canonical(self.scaled.arch.adapted(resolution=self.resolution, classes=self.scaled.arch.classes))


@frozen
class Fitted:
    """A candidate with what its trainings gave.

    Attributes:
        candidate: of those that are the same network, the one whose coefficients double the MACs best.
        same: coefficients of the others.
        accuracies: by seed, those that failed left out.
        cost: in MACs.
        factor: of accuracy in the score.
        tied: whether noise between seeds could put it before the best.
        reason: why no accuracy is known.
    """

    candidate: Candidate
    same: tuple[PowerRule, ...]
    accuracies: tuple[float, ...]
    cost: float
    factor: float
    tied: bool = False
    reason: str = ""

    @property
    def accuracy(self) -> float:
        """The mean."""
        return fmean(self.accuracies)

    @property
    def score(self) -> float:
        """Accuracy times the cost's factor; networks are ranked by it."""
        return self.accuracy * self.factor

    @property
    def spread(self) -> float:
        """Standard deviation of accuracies between seeds; NaN for a single one."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else math.nan


@frozen
class Fit:
    """What a fit found.

    Attributes:
        settings: what was asked for.
        ranked: networks that have all seeds by falling score, then the others.
        noise: standard deviation of the score between seeds, pooled; NaN where each had one seed.
        tie_costs: what broke the tie, for the tied ones in their order; empty where nothing was tied.
        winner: the cheapest of those tied with the best.
        failed: networks without an accuracy.
    """

    settings: FitSettings
    ranked: tuple[Fitted, ...]
    noise: float
    tie_costs: tuple[Cost, ...]
    winner: Fitted
    failed: tuple[Fitted, ...] = field(default=())

    @property
    def open(self) -> tuple[Fitted, ...]:
        """Those with fewer seeds than the best that noise could put before it: nothing is known of them yet."""
        best = self.ranked[0]
        fewer = (one for one in self.ranked if len(one.accuracies) < len(best.accuracies))
        return tuple(one for one in fewer if _is_near(one, best, self.noise))

    @property
    def tied(self) -> tuple[Fitted, ...]:
        """The best, and those that noise could put before it."""
        return tuple(one for one in self.ranked if one.tied)


def grid(tolerance: float = TOLERANCE, step: float = STEP) -> tuple[PowerRule, ...]:
    """All coefficients of at least 1, in steps, whose alpha * beta^2 * gamma^2 is near 2.

    Raises:
        ScalingError: there is none, or more than anyone could train.
    """
    highest = DOUBLING + tolerance + 1e-9
    values = [round(1 + i * step, DIGITS) for i in range(int((highest - 1) / step) + 1)]
    found = []
    for beta in values:
        for gamma in values:
            others = beta**2 * gamma**2
            if others <= highest:
                found += [(a, beta, gamma) for a in values if abs(a * others - DOUBLING) <= tolerance + 1e-9]
    if not 0 < len(found) <= MOST_CANDIDATES:
        raise ScalingError(
            f"a grid in steps of {step:g} has {len(found):,} coefficients within {tolerance:g} of 2",
            f"use steps and a tolerance that give 1 to {MOST_CANDIDATES:,}, like 0.05 and 0.1",
        )
    return tuple(own(*coefficients) for coefficients in sorted(found))


def candidates(base: Architecture, settings: FitSettings, keep: Iterable[str] = ()) -> tuple[Candidate, ...]:
    """What each coefficient of the grid makes of a network.

    Raises:
        NasError: see `grid` and `grow`.
    """
    kept = frozenset(keep)
    rules = grid(settings.tolerance, settings.step)
    return tuple(_candidate(Growth(base, rule, kept), rule, settings) for rule in rules)


def _candidate(growth: Growth, rule: PowerRule, settings: FitSettings) -> Candidate:
    scaled = growth.at(settings.phi)
    return Candidate(rule, scaled, pixels(settings.proxy_resolution, scaled.asked.resolution))


def fit(found: Sequence[Candidate], settings: FitSettings, scoring: Scoring, macs: CostModel, tie_costs: Costs) -> Fit:
    """Train each distinct network once, the best of them with all seeds, and tell a winner from a tie.

    Args:
        found: see `candidates`.
        settings: of the fit.
        scoring: where trainings are kept.
        macs: what networks are told apart by, before and beside their accuracy.
        tie_costs: what those that are tied cost on the device they are for; the cheapest wins.

    Raises:
        NasError: nothing could be trained, or the device fails.
    """
    groups = distinct(found)
    wanted = macs.estimate(found[0].scaled.base).value * DOUBLING**settings.phi
    # Resolution by resolution, since images of few resolutions are held at once.
    by_size = sorted(groups, key=lambda group: group[0].resolution)
    scores = scoring.score(group[0].job(settings.seed) for group in by_size)
    first = [_fitted(group, settings, scores, macs, wanted) for group in groups]
    best = sorted((one for one in first if one.accuracies), key=lambda one: -one.score)[: settings.repeat]
    seeds = range(settings.seed, settings.seed + settings.seeds)
    jobs = [one.candidate.job(seed) for seed in seeds for one in best]
    scores |= scoring.score(sorted(jobs, key=lambda job: job.resolution))
    return judge([_fitted(group, settings, scores, macs, wanted) for group in groups], settings, tie_costs)


def distinct(found: Iterable[Candidate]) -> list[list[Candidate]]:
    """Candidates that are the same network, together, the one whose coefficients double the MACs best in front."""
    groups: dict[Architecture, list[Candidate]] = {}
    for candidate in found:
        groups.setdefault(candidate.network, []).append(candidate)
    return [sorted(group, key=lambda one: abs(one.rule.product - DOUBLING)) for group in groups.values()]


def _fitted(
    group: Sequence[Candidate],
    settings: FitSettings,
    scores: Mapping[Any, Score],
    macs: CostModel,
    wanted: float,
) -> Fitted:
    jobs = (group[0].job(seed) for seed in range(settings.seed, settings.seed + settings.seeds))
    known = [scores[job.key] for job in jobs if job.key in scores]
    accuracies = tuple(score.accuracy for score in known if score.accuracy is not None)
    cost = macs.estimate(group[0].scaled.arch).value
    factor = make_reward("soft", settings.w).term(cost / wanted)
    reason = next((score.reason for score in known if score.reason), "")
    return Fitted(group[0], tuple(one.rule for one in group[1:]), accuracies, cost, factor, reason=reason)


def judge(every: Sequence[Fitted], settings: FitSettings, tie_costs: Costs) -> Fit:
    """Rank, find who is tied with the best, and let the cheapest of them win.

    Raises:
        ScalingError: no network has an accuracy.
    """
    scored = [one for one in every if one.accuracies]
    if not scored:
        raise ScalingError("no network of the grid could be trained", every[0].reason or "see why its trainings failed")
    most = max(len(one.accuracies) for one in scored)
    ranked = sorted(scored, key=lambda one: (len(one.accuracies) < most, -one.score))
    noise = pooled_noise(ranked)
    ranked = [attrs.evolve(one, tied=_is_tied(one, ranked[0], noise)) for one in ranked]
    tied = [one for one in ranked if one.tied]
    costs = tuple(tie_costs([one.candidate.scaled.arch for one in tied])) if len(tied) > 1 else ()
    winner = min(zip(tied, costs, strict=True), key=lambda pair: pair[1].value)[0] if costs else ranked[0]
    failed = tuple(one for one in every if not one.accuracies)
    return Fit(settings, tuple(ranked), noise, costs, winner, failed)


def pooled_noise(fitted: Iterable[Fitted]) -> float:
    """Standard deviation of the score between seeds, over all that were repeated; NaN where none was."""
    return pooled([a * one.factor for a in one.accuracies] for one in fitted)


def _is_tied(one: Fitted, best: Fitted, noise: float) -> bool:
    """Whether the best is not ahead by more than the noise; only equal numbers of seeds are compared."""
    if one is best:
        return True
    return len(one.accuracies) == len(best.accuracies) and _is_near(one, best, noise)


def _is_near(one: Fitted, best: Fitted, noise: float) -> bool:
    """Not two standard errors of the difference behind; never where the noise is not known."""
    return is_near(best.score - one.score, noise, (len(one.accuracies), len(best.accuracies)))


def fit_settings(base: Architecture, settings: FitSettings, keep: Iterable[str]) -> dict[str, Any]:
    """What makes the trainings of a fit comparable, as JSON values: a finer grid or more seeds go on with them."""
    return {
        "kind": "fit",
        "base": format_text(canonical(base)),
        "phi": settings.phi,
        "proxy_resolution": settings.proxy_resolution,
        "keep": sorted(keep),
    }
