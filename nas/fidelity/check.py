"""The check of evaluators: how well each ranks networks, compared with a truth, and which one to use."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from attrs import evolve, frozen

from nas.errors import EvaluationError
from nas.fidelity.agreement import FEWEST, Interval, ceiling, chance_as_good, kendall, spearman
from nas.fidelity.collect import Evaluations
from nas.noise import pooled

# An evaluator that does as well as the best in one of twenty resamples cannot be distinguished from it.
UNLIKELY = 0.05


@frozen
class Agreement:
    """How well the ranking of networks by an evaluator agrees with the truth.

    Attributes:
        name: Name of the evaluator.
        networks: Number of networks that have an accuracy of both.
        failed: Number of networks that it could not evaluate.
        tau: Kendall's tau of the accuracies with one seed and the truth; the mean over seeds.
        rho: Spearman's rho, likewise.
        noise: Standard deviation of accuracies between its seeds; None for a single seed.
        regret: Simple regret: the true accuracy of the best network minus that of the one that a seed ranks first; the
            mean over seeds.
        seconds: Median duration of one evaluation.
        seconds_before: Duration of what was done once, before all evaluations.
        as_good: Share of the resamples of the networks in which it is as good as the best evaluator; None where too
            few networks were evaluated by both.
    """

    name: str
    networks: int
    failed: int
    tau: Interval
    rho: Interval
    noise: float | None
    regret: float
    seconds: float | None
    seconds_before: float = 0.0
    as_good: float | None = None

    @property
    def pairs_right(self) -> float:
        """Probability that it orders two random networks as the truth does."""
        return (1 + self.tau.value) / 2

    @property
    def better_than_chance(self) -> bool:
        """Whether these networks are enough to tell it from guessing."""
        return self.tau.low > 0


@frozen
class Check:
    """Result of a check.

    Attributes:
        agreements: Agreements of the evaluators, in the order they were asked for, without those that have too few
            networks.
        networks: Number of networks with a true accuracy.
        repeats: Number of true accuracies of each network: the lowest and the highest.
        truth_noise: Standard deviation between the true accuracies of a network; None where each has one.
        ceiling: Highest tau that can be expected, see `agreement.ceiling`; None where each network has one accuracy.
        spread: Standard deviation of the true accuracies between networks.
    """

    agreements: tuple[Agreement, ...]
    networks: int
    repeats: tuple[int, int]
    truth_noise: float | None
    ceiling: float | None
    spread: float

    @property
    def best(self) -> Agreement | None:
        """The highest tau; where some can be distinguished from guessing, the highest of those."""
        known = [one for one in self.agreements if not math.isnan(one.tau.value)]
        sure = [one for one in known if one.better_than_chance]
        return max(sure or known, key=lambda one: one.tau.value, default=None)

    @property
    def not_told_from_best(self) -> tuple[Agreement, ...]:
        """Those that may be as good as the best and are better than guessing, the cheapest first."""
        alike = [one for one in self.agreements if one.better_than_chance and (one.as_good or 0.0) >= UNLIKELY]
        return tuple(sorted(alike, key=lambda one: math.inf if one.seconds is None else one.seconds))


def compare(evaluations: Mapping[str, Evaluations], truth: Mapping[int, Sequence[float]]) -> Check:
    """Compare evaluators with a truth.

    Args:
        evaluations: Evaluations by the name of the evaluator.
        truth: One or more true accuracies of each network, by number.

    Raises:
        EvaluationError: Fewer than five networks have a true accuracy.
    """
    if len(truth) < FEWEST:
        raise EvaluationError(
            f"{len(truth)} networks have a true accuracy, and a comparison needs {FEWEST}",
            "give a longer --time-limit, more --networks, or a shorter --truth; finished training runs are kept",
        )
    means = {number: fmean(accuracies) for number, accuracies in truth.items()}
    agreements = [
        _agreement(name, done, means) for name, done in evaluations.items() if len(done.complete(means)[0]) >= FEWEST
    ]
    counts, groups = [len(accuracies) for accuracies in truth.values()], list(truth.values())
    check = Check(
        tuple(agreements),
        len(truth),
        (min(counts), max(counts)),
        _known(pooled(groups)),
        _known(ceiling(groups)),
        pooled([list(means.values())]),
    )
    return _beside_the_best(check, evaluations, means)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _agreement(name: str, done: Evaluations, means: Mapping[int, float]) -> Agreement:
    numbers, guesses = done.complete(means)
    true = [means[number] for number in numbers]
    return Agreement(
        name,
        len(numbers),
        len(done.reasons),
        kendall(guesses, true),
        spearman(guesses, true),
        _known(pooled([list(done.accuracies[number].values()) for number in numbers])),
        fmean(_regret(guess, true) for guess in guesses),
        done.seconds_each,
        done.seconds_before,
    )


def _regret(guess: Sequence[float], true: Sequence[float]) -> float:
    """Return the simple regret; of several networks that are ranked first any may be chosen, so their mean counts."""
    first = [accuracy for guessed, accuracy in zip(guess, true, strict=True) if guessed == max(guess)]
    return max(true) - fmean(first)


def _beside_the_best(check: Check, evaluations: Mapping[str, Evaluations], means: Mapping[int, float]) -> Check:
    """Return the check with how likely each evaluator is as good as the best."""
    best = check.best
    if best is None:
        return check

    def as_good(one: Agreement) -> float | None:
        if one is best or math.isnan(one.tau.value):
            return float(one is best)
        both = [_by_network(evaluations[name], means) for name in (one.name, best.name)]
        numbers = [number for number in both[0] if number in both[1]]
        if len(numbers) < FEWEST:
            return None
        # The seeds are those of the comparison with all networks: other networks may have other seeds in common.
        own, others = ([*zip(*(each[number] for number in numbers), strict=True)] for each in both)
        return chance_as_good(own, others, [means[number] for number in numbers])

    return evolve(check, agreements=tuple(evolve(one, as_good=as_good(one)) for one in check.agreements))


def _by_network(done: Evaluations, means: Mapping[int, float]) -> dict[int, tuple[float, ...]]:
    """Return the accuracies of an evaluator with the same seeds for each network, by number."""
    numbers, guesses = done.complete(means)
    return dict(zip(numbers, zip(*guesses, strict=True), strict=True))
