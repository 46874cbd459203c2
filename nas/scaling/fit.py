"""The fit of alpha, beta and gamma for a network, step 1 of compound scaling, by training what they make of it.

Coefficients are taken from a grid with alpha * beta^2 * gamma^2 near 2 (arXiv 1905.11946, section 3.3). Each distinct
network is trained at the resolution that its gamma gives the images of the training run. Rounding makes some networks
costlier than others, so they are ranked as a search ranks: by accuracy times (MACs / wanted MACs)^w.
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
from nas.noise import Estimate, ValidationSplit, pooled
from nas.objective import make_reward
from nas.scaling.budget import Growth
from nas.scaling.evidence import Evidence, Runs
from nas.scaling.grow import Scaled, pixels
from nas.scaling.rules import DOUBLING, TOLERANCE, PowerRule, own
from nas.search.job import Job, JobResult
from nas.search.job_study import JobStudy
from nas.workers.base import Key

STEP = 0.05
MOST_CANDIDATES = 5000
DIGITS = 9

Costs = Callable[[Sequence[Architecture]], Sequence[Cost]]


@frozen
class FitSettings:
    """What a fit is asked for.

    Attributes:
        phi: Compound coefficient at which networks are compared; 1 in the paper.
        proxy_resolution: Pixels of a side at which the base itself would be trained.
        tolerance: Largest difference of alpha * beta^2 * gamma^2 from 2.
        step: Step of the grid.
        repeat: Number of the best networks that are trained with all seeds.
        seeds: Number of training runs of such a network, each with a seed of its own.
        seed: First of the seeds.
        w: Exponent of cost over wanted cost in the score; 0 ranks by accuracy alone.
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
            raise ScalingError(
                f"a fit at phi {self.phi:g} is not possible: phi must be above 0 and at most 10",
                "fit where networks grow, such as at phi 1 or 2",
            )
        if not 0.01 <= self.step <= 1 or not 0 <= self.tolerance < 1:
            raise ScalingError(
                f"the grid has step {self.step:g} and tolerance {self.tolerance:g}; a step is from 0.01 to 1, and a "
                "tolerance from 0 to below 1",
                "use values such as 0.05 and 0.1",
            )
        make_reward("soft", self.w)


@frozen
class Candidate:
    """Coefficients, and the network that they make.

    Attributes:
        rule: The coefficients.
        scaled: The network.
        resolution: Pixels of a side of the images that it is trained on.
    """

    rule: PowerRule
    scaled: Scaled
    resolution: int

    def job(self, seed: int) -> Job:
        """Return the training run of its network with a seed."""
        coefficients = {"alpha": self.rule.alpha, "beta": self.rule.beta, "gamma": self.rule.gamma}
        return Job(self.scaled.arch, self.resolution, seed, coefficients)

    @property
    def network(self) -> Architecture:
        """The network as it is trained: equal for coefficients that round to the same."""
        return canonical(self.scaled.arch.adapted(resolution=self.resolution, classes=self.scaled.arch.classes))


@frozen
class Fitted:
    """A candidate with the results of its training runs.

    Attributes:
        candidate: The candidate; of several that are the same network, the one whose coefficients double the MACs best.
        same: Coefficients of the others.
        accuracies: Accuracies by seed, without the training runs that failed.
        cost: Cost in MACs.
        factor: Factor of the accuracy in the score.
        correct: Which validation images each of these runs classified correctly, as `nas.noise.pack` writes it; ""
            where that is not known.
        interval: Mean accuracy with its 95% interval; None where the validation split is not known.
        tied: Whether noise could put it before the best, with which it has the same number of seeds.
        open: Whether noise could put it before the best, which has more seeds.
        reason: Why a training run failed; "" where none did.
    """

    candidate: Candidate
    same: tuple[PowerRule, ...]
    accuracies: tuple[float, ...]
    cost: float
    factor: float
    correct: tuple[str, ...] = ()
    interval: Estimate | None = None
    tied: bool = False
    open: bool = False
    reason: str = ""

    @property
    def runs(self) -> Runs:
        """Training runs, as they are compared with those of other networks."""
        return Runs(self.accuracies, self.correct, self.factor)

    @property
    def accuracy(self) -> float:
        """Mean of the accuracies."""
        return fmean(self.accuracies)

    @property
    def score(self) -> float:
        """Accuracy times the factor of the cost; networks are ranked by it."""
        return self.accuracy * self.factor

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracies between seeds; NaN for a single seed."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else math.nan


@frozen
class Fit:
    """Result of a fit.

    Attributes:
        settings: What was asked for.
        ranked: Networks that were trained with all seeds by falling score, then the others.
        noise: Standard deviation of the score between seeds, pooled; NaN where each network had one seed.
        tie_costs: Costs that broke the tie, for the tied networks in their order; empty where nothing was tied.
        winner: The cheapest of the networks that are tied with the best; None where nothing can be concluded.
        failed: Networks without an accuracy.
        split: Validation split; None where it is not known.
        learned: Whether any network is better than the majority class by more than noise; None if it is not known.
        needs_images: Whether more validation images would tell more than more seeds.
    """

    settings: FitSettings
    ranked: tuple[Fitted, ...]
    noise: float
    tie_costs: tuple[Cost, ...]
    winner: Fitted | None
    failed: tuple[Fitted, ...] = field(default=())
    split: ValidationSplit | None = None
    learned: bool | None = None
    needs_images: bool = False

    @property
    def open(self) -> tuple[Fitted, ...]:
        """Networks with fewer seeds than the best that noise could put before it."""
        return tuple(one for one in self.ranked if one.open)

    @property
    def tied(self) -> tuple[Fitted, ...]:
        """The best network, and those that noise could put before it."""
        return tuple(one for one in self.ranked if one.tied)


def grid(tolerance: float = TOLERANCE, step: float = STEP) -> tuple[PowerRule, ...]:
    """Return all coefficients of at least 1 on a grid whose alpha * beta^2 * gamma^2 is near 2.

    Args:
        tolerance: Largest difference from 2.
        step: Step of the grid.

    Raises:
        ScalingError: There are none, or more than anyone could train.
    """
    # The small constant accepts products that only floating-point rounding puts outside the tolerance.
    highest = DOUBLING + tolerance + 1e-9
    # Rounded, so that a coefficient has the same text and value whatever the step is.
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
    """Return what each point of the grid makes of a network.

    Args:
        base: The network.
        settings: Settings of the fit.
        keep: What is not scaled: "stem", "head", "features" or "first-last-depth"; see `nas.arch.multiply.KEEPABLE`.

    Raises:
        NasError: See `grid` and `grow`.
    """
    kept = frozenset(keep)
    rules = grid(settings.tolerance, settings.step)
    return tuple(_candidate(Growth(base, rule, kept), rule, settings) for rule in rules)


def _candidate(growth: Growth, rule: PowerRule, settings: FitSettings) -> Candidate:
    scaled = growth.at(settings.phi)
    return Candidate(rule, scaled, pixels(settings.proxy_resolution, scaled.asked.resolution))


def fit(
    found: Sequence[Candidate],
    settings: FitSettings,
    study: JobStudy,
    macs: CostModel,
    tie_costs: Costs,
    split: ValidationSplit | None = None,
) -> Fit:
    """Train each distinct network once, the best of them with all seeds, and tell a winner from a tie.

    Processes that fit the same at the same time compute the same second list of jobs, since they have the same results
    of the first.

    Args:
        found: Candidates; see `candidates`.
        settings: Settings of the fit.
        study: Study that keeps the training runs.
        macs: Cost that enters the score.
        tie_costs: Costs of networks on their device; of tied networks the cheapest wins.
        split: Validation split of the training runs; None where it is not known.

    Raises:
        NasError: No network could be trained, or the device fails.
    """
    groups = distinct(found)
    wanted = macs.estimate(found[0].scaled.base).value * DOUBLING**settings.phi
    # One resolution after another, since evaluators hold images of few resolutions in memory.
    by_size = sorted(groups, key=lambda group: group[0].resolution)
    results = study.evaluate(group[0].job(settings.seed) for group in by_size)
    first = [_fitted(group, settings, results, macs, wanted) for group in groups]
    best = sorted((one for one in first if one.accuracies), key=lambda one: -one.score)[: settings.repeat]
    seeds = range(settings.seed, settings.seed + settings.seeds)
    jobs = [one.candidate.job(seed) for seed in seeds for one in best]
    results |= study.evaluate(sorted(jobs, key=lambda job: job.resolution))
    return judge([_fitted(group, settings, results, macs, wanted) for group in groups], settings, tie_costs, split)


def distinct(found: Iterable[Candidate]) -> list[list[Candidate]]:
    """Return groups of candidates that are the same network, each with the one that doubles the MACs best in front."""
    groups: dict[Architecture, list[Candidate]] = {}
    for candidate in found:
        groups.setdefault(candidate.network, []).append(candidate)
    return [sorted(group, key=lambda one: abs(one.rule.product - DOUBLING)) for group in groups.values()]


def _fitted(
    group: Sequence[Candidate],
    settings: FitSettings,
    results: Mapping[Key, JobResult],
    macs: CostModel,
    wanted: float,
) -> Fitted:
    jobs = (group[0].job(seed) for seed in range(settings.seed, settings.seed + settings.seeds))
    known = [results[job.key] for job in jobs if job.key in results]
    accuracies = tuple(result.accuracy for result in known if result.accuracy is not None)
    correct = tuple(result.correct for result in known if result.accuracy is not None)
    cost = macs.estimate(group[0].scaled.arch).value
    factor = make_reward("soft", settings.w).term(cost / wanted)
    reason = next((result.reason for result in known if result.reason), "")
    return Fitted(group[0], tuple(one.rule for one in group[1:]), accuracies, cost, factor, correct, reason=reason)


def judge(
    every: Sequence[Fitted], settings: FitSettings, tie_costs: Costs, split: ValidationSplit | None = None
) -> Fit:
    """Rank networks, find those that are tied with the best, and let the cheapest of them win.

    There is no winner where no network has learned anything, or where each of several networks has a single seed.

    Args:
        every: Networks with their results.
        settings: Settings of the fit.
        tie_costs: Costs of networks on their device.
        split: Validation split of the training runs; None where it is not known.

    Raises:
        ScalingError: No network has an accuracy.
    """
    scored = [one for one in every if one.accuracies]
    if not scored:
        raise ScalingError(
            "no network of the grid could be trained", every[0].reason or "see why its training runs failed"
        )
    most = max(len(one.accuracies) for one in scored)
    evidence = Evidence([one.runs for one in scored], split)
    ranked = _judged(sorted(scored, key=lambda one: (len(one.accuracies) < most, -one.score)), evidence)
    concludes = evidence.learned is not False and (evidence.is_complete or len(ranked) == 1)
    tied = [one for one in ranked if one.tied]
    costs = tuple(tie_costs([one.candidate.scaled.arch for one in tied])) if concludes and len(tied) > 1 else ()
    best = min(zip(tied, costs, strict=True), key=lambda pair: pair[1].value)[0] if costs else ranked[0]
    return Fit(
        settings,
        tuple(ranked),
        pooled_noise(ranked),
        costs,
        best if concludes else None,
        tuple(one for one in every if not one.accuracies),
        split,
        evidence.learned,
        evidence.needs_images(most),
    )


def _judged(ranked: Sequence[Fitted], evidence: Evidence) -> list[Fitted]:
    """Return networks with their intervals, and with whether they are tied or open; the best comes first."""
    best = ranked[0]
    rivals = [one for one in ranked[1:] if len(one.accuracies) == len(best.accuracies)]
    tied = evidence.tied(best.runs, [one.runs for one in rivals])
    marks = [(True, False), *((is_tied, False) for is_tied in tied)]
    # More seeds could still put a network first that has fewer of them.
    fewer = ranked[len(marks) :]
    marks += [(False, evidence.is_complete and evidence.may_lead(one.runs, best.runs)) for one in fewer]
    return [
        attrs.evolve(one, interval=evidence.interval(one.runs), tied=is_tied, open=is_open)
        for one, (is_tied, is_open) in zip(ranked, marks, strict=True)
    ]


def pooled_noise(fitted: Iterable[Fitted]) -> float:
    """Return the standard deviation of the score between seeds, pooled over networks; NaN where each had one seed."""
    return pooled([a * one.factor for a in one.accuracies] for one in fitted)


def fit_settings(base: Architecture, settings: FitSettings, keep: Iterable[str]) -> dict[str, Any]:
    """Return what makes training runs of a fit comparable, as JSON values; a finer grid or more seeds may be added."""
    return {
        "kind": "fit",
        "base": format_text(canonical(base)),
        "phi": settings.phi,
        "proxy_resolution": settings.proxy_resolution,
        "keep": sorted(keep),
    }
