"""What verdicts are worth beside a truth, and which evaluator to take."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from attrs import evolve, frozen

from nas.errors import EvaluationError
from nas.fidelity.agreement import FEWEST, Interval, ceiling, chance_as_good, kendall, spearman
from nas.fidelity.collect import Verdicts
from nas.noise import pooled

# An evaluator that does as well as the best in one resample of twenty is not told from it.
UNLIKELY = 0.05


@frozen
class Standing:
    """How an evaluator ranks networks.

    Attributes:
        name: of the evaluator.
        networks: that it and the truth judged.
        failed: that it could not judge.
        tau: Kendall's, of a single seed's verdicts with the truth; the mean over seeds.
        rho: Spearman's, likewise.
        noise: standard deviation between its seeds; None for a single seed.
        lost: true accuracy between the best network and the one that a seed puts first; the mean over seeds.
        seconds: of one verdict, the median.
        seconds_before: of what was done once, before all verdicts.
        as_good: how likely it is as good as the best evaluator, where networks are drawn anew; None where too few
            networks were judged by both.
    """

    name: str
    networks: int
    failed: int
    tau: Interval
    rho: Interval
    noise: float | None
    lost: float
    seconds: float | None
    seconds_before: float = 0.0
    as_good: float | None = None

    @property
    def pairs_right(self) -> float:
        """The chance that it orders two random networks as the truth does."""
        return (1 + self.tau.value) / 2

    @property
    def better_than_chance(self) -> bool:
        """Whether these networks suffice to tell it from guessing."""
        return self.tau.low > 0


@frozen
class Check:
    """Evaluators beside a truth.

    Attributes:
        standings: in the order they were asked for; those that could not be compared are left out.
        networks: whose truth is known.
        readings: of the truth of each network: the fewest and the most.
        truth_noise: standard deviation between them; None where nothing is repeated.
        ceiling: see `agreement.ceiling`; None where nothing is repeated.
        spread: standard deviation of the networks' true accuracies.
    """

    standings: tuple[Standing, ...]
    networks: int
    readings: tuple[int, int]
    truth_noise: float | None
    ceiling: float | None
    spread: float

    @property
    def best(self) -> Standing | None:
        """The highest tau, of those that are told from guessing where there are such."""
        known = [one for one in self.standings if not math.isnan(one.tau.value)]
        sure = [one for one in known if one.better_than_chance]
        return max(sure or known, key=lambda one: one.tau.value, default=None)

    @property
    def not_told_from_best(self) -> tuple[Standing, ...]:
        """Those that may be as good as the best and are better than guessing, the cheapest first."""
        alike = [one for one in self.standings if one.better_than_chance and (one.as_good or 0.0) >= UNLIKELY]
        return tuple(sorted(alike, key=lambda one: math.inf if one.seconds is None else one.seconds))


def compare(verdicts: Mapping[str, Verdicts], truth: Mapping[int, Sequence[float]]) -> Check:
    """Hold verdicts against a truth.

    Args:
        verdicts: by evaluator's name.
        truth: one or more accuracies of each network, by number.

    Raises:
        EvaluationError: fewer than five networks have a truth.
    """
    if len(truth) < FEWEST:
        raise EvaluationError(
            f"{len(truth)} networks have a true accuracy, and a comparison needs {FEWEST}",
            "give a longer --time-limit, more --networks, or a shorter --truth; finished trainings are kept",
        )
    means = {number: fmean(readings) for number, readings in truth.items()}
    standings = [
        _standing(name, said, means) for name, said in verdicts.items() if len(said.complete(means)[0]) >= FEWEST
    ]
    counts, groups = [len(readings) for readings in truth.values()], list(truth.values())
    check = Check(
        tuple(standings),
        len(truth),
        (min(counts), max(counts)),
        _known(pooled(groups)),
        _known(ceiling(groups)),
        pooled([list(means.values())]),
    )
    return _beside_the_best(check, verdicts, means)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _standing(name: str, said: Verdicts, means: Mapping[int, float]) -> Standing:
    numbers, guesses = said.complete(means)
    true = [means[number] for number in numbers]
    return Standing(
        name,
        len(numbers),
        len(said.reasons),
        kendall(guesses, true),
        spearman(guesses, true),
        _known(pooled([list(said.accuracies[number].values()) for number in numbers])),
        fmean(_lost(guess, true) for guess in guesses),
        said.seconds_each,
        said.seconds_before,
    )


def _lost(guess: Sequence[float], true: Sequence[float]) -> float:
    """Of several that are put first alike any may be taken, so their mean counts."""
    first = [accuracy for said, accuracy in zip(guess, true, strict=True) if said == max(guess)]
    return max(true) - fmean(first)


def _beside_the_best(check: Check, verdicts: Mapping[str, Verdicts], means: Mapping[int, float]) -> Check:
    best = check.best
    if best is None:
        return check

    def as_good(one: Standing) -> float | None:
        if one is best or math.isnan(one.tau.value):
            return float(one is best)
        own, others = verdicts[one.name], verdicts[best.name]
        numbers = [number for number in own.complete(means)[0] if number in others.complete(means)[0]]
        if len(numbers) < FEWEST:
            return None
        true = [means[number] for number in numbers]
        return chance_as_good(own.complete(numbers)[1], others.complete(numbers)[1], true)

    return evolve(check, standings=tuple(evolve(one, as_good=as_good(one)) for one in check.standings))
