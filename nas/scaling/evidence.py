"""Intervals, differences and ties of networks, computed from training runs on one validation split.

Networks are compared by paired differences on the same images. The images of another resolution are the same images in
the same order, so that networks of different resolutions are compared in this way too.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from statistics import fmean

from attrs import define, frozen

from nas.noise import (
    Components,
    Correct,
    Estimate,
    ValidationSplit,
    difference,
    estimate,
    find_components,
    pooled,
    quantile,
    unpack_all,
)


@frozen
class Runs:
    """Hold the training runs of one network, without those that failed.

    Attributes:
        accuracies: Accuracies by seed; at least one.
        correct: Which validation images each run classified correctly, as `nas.noise.pack` writes it; "" where it is
            not known.
        factor: Factor of the accuracy in the score by which networks are ranked.
    """

    accuracies: tuple[float, ...]
    correct: tuple[str, ...] = ()
    factor: float = 1.0

    @property
    def accuracy(self) -> float:
        """Return the mean of the accuracies."""
        return fmean(self.accuracies)


@define(eq=False, slots=False)
class Evidence:
    """Compare networks that were trained on the images of one data set.

    Attributes:
        networks: Training runs of each network.
        split: Validation split; None where it is not known, and then the sampling errors are not known either.
    """

    networks: Sequence[Runs]
    split: ValidationSplit | None = None

    @property
    def learned(self) -> bool | None:
        """Return whether any network is better than the majority class by more than noise; None if it is not known."""
        if self.split is None or not self.networks:
            return None
        return self.split.exceeds_chance(max(one.accuracy for one in self.networks), len(self.networks))

    @property
    def is_complete(self) -> bool:
        """Return whether the noise between seeds is known; a conclusion without it would be too sure."""
        return self._degrees > 0

    @cached_property
    def _degrees(self) -> int:
        """Degrees of freedom of the noise between seeds."""
        return sum(len(one.accuracies) - 1 for one in self.networks)

    @cached_property
    def _seed(self) -> float:
        """Variance of an accuracy between seeds; 0 where no network has two, and it is not known."""
        if not self.is_complete:
            return 0.0
        found = self._components
        return pooled([one.accuracies for one in self.networks]) ** 2 if found is None else found.seed

    @cached_property
    def _components(self) -> Components | None:
        """Variances of the errors; None where it is not known which images were classified correctly."""
        rows = [known for known in map(self._correct, self.networks) if known is not None]
        return find_components(rows) if len(rows) == len(self.networks) else None

    @property
    def _weight(self) -> float:
        """Factor by which the sampling variance of the metric is larger than that of the share of correct images."""
        return 1.0 if self.split is None else self.split.images / self.split.effective

    def _correct(self, one: Runs) -> list[Correct] | None:
        return None if self.split is None else unpack_all(one.correct, len(one.accuracies), self.split.images)

    def interval(self, one: Runs) -> Estimate | None:
        """Return the mean accuracy of a network with its 95% interval, of the sampling error and of that between seeds.

        Without a second seed of any network the interval is that of the sampling error alone. None where the split is
        not known.
        """
        if self.split is None:
            return None
        sampling, found = self.split.standard_error(one.accuracy) ** 2, self._components
        if self.is_complete and found is not None:
            # The sampling error that other seeds do not share is part of the noise between seeds.
            sampling = (found.common + found.network) * self._weight
        return estimate(one.accuracy, math.sqrt(sampling + self._seed / len(one.accuracies)))

    def tied(self, best: Runs, others: Sequence[Runs], claims: int = 1) -> list[bool]:
        """Return whether each of the other networks cannot be told apart from the best of them.

        The best is ahead of all others if each single difference is clear; a network that is not the best is then named
        with a probability below 5%, however many others there are (Gutmann and Maymin 1987, Annals of Statistics 15,
        456-461). Otherwise a network is tied unless its difference is clear among those of all networks, so that the
        truly best is among the tied ones.

        Args:
            best: Network with the highest score.
            others: Other networks.
            claims: Number of such questions that the same training runs answer.
        """
        if all(self._is_clear(best, one, claims) for one in others):
            return [False] * len(others)
        return [self.may_lead(one, best, claims) for one in others]

    def may_lead(self, one: Runs, best: Runs, claims: int = 1) -> bool:
        """Return whether noise could put a network before the best of all networks."""
        return not self._is_clear(best, one, claims * max(1, len(self.networks) - 1))

    def _is_clear(self, best: Runs, other: Runs, comparisons: int) -> bool:
        """Return whether one of so many differences is not noise, at 95% together (Bonferroni's bound)."""
        value, images, training = self._difference(best, other)
        variance = images + training
        if not variance:
            return value > 0
        # Welch and Satterthwaite's degrees of freedom: only the noise between seeds is estimated from a few runs.
        degrees = self._degrees * (variance / training) ** 2 if training and self._degrees else math.inf
        return value > quantile(degrees, comparisons) * math.sqrt(variance)

    def _difference(self, first: Runs, second: Runs) -> tuple[float, float, float]:
        """Return the difference of two scores, and its variances that the images and the training runs cause.

        Where single images are not known, the sampling errors count as independent, which is rather too careful.
        """
        value = first.accuracy * first.factor - second.accuracy * second.factor
        training = max(first.factor, second.factor) ** 2 * sum(1 / len(one.accuracies) for one in (first, second))
        ours, theirs, found = self._correct(first), self._correct(second), self._components
        if found is not None and ours is not None and theirs is not None:
            # The differences by image have the part of the noise between seeds that comes from the images.
            training *= max(0.0, self._seed - (found.single - found.network)) if self.is_complete else 0.0
            weighted = [
                [one.factor * row.astype(float) for row in rows] for one, rows in ((first, ours), (second, theirs))
            ]
            paired = difference(weighted[0], weighted[1])
            # The value is that of the metric, which may weigh images: the mean over the images counts all alike.
            return value, paired.error**2 * self._weight, training
        split = self.split
        images = (
            sum((one.factor * split.standard_error(one.accuracy)) ** 2 for one in (first, second)) if split else 0.0
        )
        return value, images, training * self._seed

    def needs_images(self, runs: int) -> bool:
        """Return whether more validation images would make accuracies of so many runs more exact than more seeds."""
        found = self._components
        return found is not None and self.is_complete and found.network > found.seed / runs
