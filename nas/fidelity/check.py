"""The check of evaluators: how well each ranks networks, compared with a truth, and which one to use."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from attrs import evolve, field, frozen

from nas.errors import EvaluationError
from nas.fidelity.agreement import FEWEST, Interval, ceiling, chance_as_good, kendall, spearman
from nas.fidelity.collect import Evaluations
from nas.noise import ValidationSplit, find_components, pooled, unpack_all

# An evaluator that does as well as the best in one of twenty resamples cannot be distinguished from it.
UNLIKELY = 0.05


@frozen
class Validated:
    """Describe the validation images of a truth.

    Attributes:
        split: Validation split.
        correct: Which images were classified correctly, for each network and each of its true accuracies, as
            `nas.noise.pack` writes it; "" where it is not known.
        sharing: Names of the evaluators that validate on the same images.
    """

    split: ValidationSplit
    correct: Mapping[int, Sequence[str]] = field(factory=dict)
    sharing: Sequence[str] = ()

    def sampling(self) -> float | None:
        """Return the variance of the sampling error that all seeds of a network share; None if it is not known."""
        images = self.split.images
        rows = [unpack_all(texts, len(texts), images) for texts in self.correct.values()]
        found = find_components([row for row in rows if row is not None]) if None not in rows else None
        if found is None or math.isnan(found.network):
            return None
        return found.network * images / self.split.effective


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
        """Return whether these networks are enough to tell it from guessing."""
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
        highest: Highest mean of the true accuracies of a network.
        validated: What is known of the validation images of the truth; None where they are not known.
        learned: Whether any network is better than the majority class by more than noise in truth; None where it is not
            known.
        sampling: Standard deviation of the sampling error that all seeds of a network share, with which the ceiling is
            computed; None where it is not known.
    """

    agreements: tuple[Agreement, ...]
    networks: int
    repeats: tuple[int, int]
    truth_noise: float | None
    ceiling: float | None
    spread: float
    highest: float
    validated: Validated | None = None
    learned: bool | None = None
    sampling: float | None = None

    @property
    def best(self) -> Agreement | None:
        """The highest tau; where some can be distinguished from guessing, the highest of those.

        None where every tau is unknown, or where nothing has been learned.
        """
        if self.learned is False:
            return None
        known = [one for one in self.agreements if not math.isnan(one.tau.value)]
        sure = [one for one in known if one.better_than_chance]
        return max(sure or known, key=lambda one: one.tau.value, default=None)

    @property
    def not_told_from_best(self) -> tuple[Agreement, ...]:
        """Return those that may be as good as the best and are better than guessing, the cheapest first."""
        if self.best is None:
            return ()
        alike = [one for one in self.agreements if one.better_than_chance and (one.as_good or 0.0) >= UNLIKELY]
        return tuple(sorted(alike, key=lambda one: math.inf if one.seconds is None else one.seconds))


def compare(
    evaluations: Mapping[str, Evaluations],
    truth: Mapping[int, Sequence[float]],
    validated: Validated | None = None,
) -> Check:
    """Compare evaluators with a truth.

    Args:
        evaluations: Evaluations by the name of the evaluator.
        truth: One or more true accuracies of each network, by number.
        validated: What is known of the validation images of the truth; None where they are not known.

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
    sampling = None if validated is None else validated.sampling()
    check = Check(
        tuple(agreements),
        len(truth),
        (min(counts), max(counts)),
        _known(pooled(groups)),
        _known(ceiling(groups, sampling or 0.0)),
        pooled([list(means.values())]),
        max(means.values()),
        validated,
        None if validated is None else validated.split.exceeds_chance(max(means.values()), len(means)),
        None if sampling is None else math.sqrt(sampling),
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


def _only(wanted: Sequence[int], numbers: Sequence[int], guesses: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the accuracies of some of the networks by seed; the seeds stay those that were chosen for all of them."""
    return [
        [accuracies[number] for number in wanted]
        for accuracies in (dict(zip(numbers, g, strict=True)) for g in guesses)
    ]


def _beside_the_best(check: Check, evaluations: Mapping[str, Evaluations], means: Mapping[int, float]) -> Check:
    """Return the check with how likely each evaluator is as good as the best."""
    best = check.best
    if best is None:
        return check

    def as_good(one: Agreement) -> float | None:
        if one is best or math.isnan(one.tau.value):
            return float(one is best)
        own, others = evaluations[one.name].complete(means), evaluations[best.name].complete(means)
        numbers = [number for number in own[0] if number in others[0]]
        if len(numbers) < FEWEST:
            return None
        return chance_as_good(_only(numbers, *own), _only(numbers, *others), [means[number] for number in numbers])

    return evolve(check, agreements=tuple(evolve(one, as_good=as_good(one)) for one in check.agreements))
