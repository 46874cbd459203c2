"""Statistics of the noise in accuracies: of training runs with different seeds, and of the choice of validation images.

An accuracy of one training run differs from the mean accuracy of its network, over all images of the kind and all
seeds, by three independent errors:

- the sampling error that all networks share, because some validation images are harder than others;
- the sampling error of this network, which all its seeds share;
- the error of this training run, which another seed does not repeat.

More seeds reduce the third one only. The first one cancels out when networks are compared on the same images.
"""

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, stdev
from typing import TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

# Whether each image of a validation split is classified correctly, `(N,)`.
Correct = NDArray[np.bool_]
# One number, or an array of them.
Real = TypeVar("Real", float, NDArray[np.float64])

CONFIDENCE = 0.95
# Correct and wrong images that are added before a standard error is computed, so that it is not 0 where all images, or
# none, are classified correctly: two of each (Agresti and Coull 1998, doi:10.1080/00031305.1998.10480550).
_ADDED = 2


@frozen
class ValidationSplit:
    """Describe the images on which networks are compared.

    Attributes:
        images: Number of images.
        chance: Metric of a network that gives every image the most frequent class, from 0 to 1.
        effective: Number of images that give a plain accuracy the same standard error as the metric has; smaller than
            `images` where the metric weighs images differently.
    """

    images: int
    chance: float
    effective: float

    def standard_error(self, accuracy: float) -> float:
        """Return the standard deviation of an accuracy that the choice of the images causes; never 0.

        >>> round(ValidationSplit(images=62, chance=0.19, effective=62.0).standard_error(0.19), 3)
        0.05
        """
        return math.sqrt(self.variance(accuracy))

    def variance(self, accuracy: Real) -> Real:
        """Return the variance of an accuracy, or of each of several, that the choice of the images causes; never 0."""
        count = self.effective + 2 * _ADDED
        share = (accuracy * self.effective + _ADDED) / count
        return share * (1 - share) / count

    def exceeds_chance(self, accuracy: float, networks: int = 1) -> bool:
        """Return whether the best accuracy of so many networks is higher than networks that learn nothing would reach.

        Without having learned anything, at least one of them reaches such an accuracy with a probability below 5%
        (exact binomial distribution, Bonferroni's bound).

        >>> split = ValidationSplit(images=62, chance=12 / 62, effective=62.0)
        >>> split.exceeds_chance(12 / 62, networks=5), split.exceeds_chance(0.5, networks=5)
        (False, True)
        """
        from scipy.special import betainc

        correct = accuracy * self.effective
        if correct <= 0 or self.chance >= 1:
            return False
        # The regularized incomplete beta function is the binomial probability of at least so many correct images.
        tail = float(betainc(correct, self.effective - correct + 1, self.chance))
        return tail * networks < 1 - CONFIDENCE


@frozen
class Estimate:
    """An estimated mean with its 95% confidence interval.

    Attributes:
        value: Estimate.
        error: Standard error; NaN where it is not known.
        low: Lower end of the interval; NaN where it is not known.
        high: Upper end of the interval; NaN where it is not known.
    """

    value: float
    error: float
    low: float
    high: float


def estimate(value: float, error: float) -> Estimate:
    """Return an estimate of an accuracy with its normal 95% interval, cut off at 0 and 1.

    >>> estimate(0.5, math.nan)
    Estimate(value=0.5, error=nan, low=nan, high=nan)
    """
    if math.isnan(error):
        return Estimate(value, error, math.nan, math.nan)
    half = quantile() * error
    return Estimate(value, error, max(0.0, value - half), min(1.0, value + half))


def wilson(part: float, whole: float) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Args:
        part: Number of the images that count.
        whole: Number of all images, at least 1; not a whole number where images have weights, see `ValidationSplit`.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    square, share = quantile() ** 2, part / whole
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = quantile() / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole**2))
    # Rounding puts an end past a share of 0 or 1, and past 1 itself.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def quantile(degrees: float = math.inf, comparisons: int = 1) -> float:
    """Return the number of standard errors from the middle to the end of a 95% interval (Student's t distribution).

    Args:
        degrees: Degrees of freedom of the standard error.
        comparisons: Number of intervals that hold together (Bonferroni's bound).

    >>> round(quantile(), 2), round(quantile(6), 2), round(quantile(comparisons=5), 2)
    (1.96, 2.45, 2.58)
    """
    from scipy.special import stdtrit

    share = 1 - (1 - CONFIDENCE) / (2 * max(1, comparisons))
    return NormalDist().inv_cdf(share) if math.isinf(degrees) else float(stdtrit(degrees, share))


@frozen
class Components:
    """Variances of the three errors of one accuracy; see the module.

    Attributes:
        common: Variance of the sampling error that all networks share.
        network: Variance of the sampling error that all seeds of a network share; NaN where no network has two seeds.
        seed: Variance of the error of a training run; NaN where no network has two seeds.
        single: Variance of the sampling errors of one training run that other networks do not share. It is known
            without a second seed, and a lower bound of `network` + `seed`.
    """

    common: float
    network: float
    seed: float
    single: float


def find_components(correct: Sequence[Sequence[Correct]]) -> Components | None:
    """Return the variances of the errors of an accuracy, estimated from which images were classified correctly.

    The covariance of two training runs over the images, divided by the number of images, is the variance of the
    sampling error that they share.

    Args:
        correct: For each network and each of its seeds, which images of the same split are correct, `(N,)`.

    Returns:
        The variances; None for fewer than two networks, from which no covariance follows.
    """
    groups = [np.asarray(rows, dtype=np.float64) for rows in correct if len(rows)]
    if len(groups) < 2:
        return None
    images = groups[0].shape[1]
    own = float(np.mean([_own_variance(row) for rows in groups for row in rows]))
    # Few images show too little of what they share, just as they show too small a variance of each; see `_ADDED`.
    observed = float(np.mean([row.var(ddof=1) for rows in groups for row in rows]))
    growth = own / observed if observed > 0 else 1.0
    between = growth * max(0.0, _mean_covariance(np.array([rows.mean(axis=0) for rows in groups])))
    common, single = between / images, max(own - between, own / images) / images
    repeated = [rows for rows in groups if len(rows) > 1]
    if not repeated:
        return Components(common, math.nan, math.nan, single)
    counts = [len(rows) - 1 for rows in repeated]
    within = growth * float(np.average([_mean_covariance(rows) for rows in repeated], weights=counts))
    within = min(max(within, between), own)
    # Of few images, a few seeds may be correct equally often by chance; the sampling error of a run is a lower bound.
    seed = max(pooled([rows.mean(axis=1).tolist() for rows in repeated]) ** 2, (own - within) / images)
    return Components(common, (within - between) / images, seed, single)


def _own_variance(row: NDArray[np.float64]) -> float:
    """Return the variance of one image; never 0, see `ValidationSplit.standard_error`."""
    share = (float(row.sum()) + _ADDED) / (len(row) + 2 * _ADDED)
    return share * (1 - share)


def _mean_covariance(rows: NDArray[np.float64]) -> float:
    """Return the mean covariance over images of all pairs of rows `(M, N)`, without a matrix of all pairs."""
    count = len(rows)
    # The variance of a sum is the sum of all variances and covariances.
    pairs = float(rows.sum(axis=0).var(ddof=1)) - float(rows.var(axis=1, ddof=1).sum())
    return pairs / (count * (count - 1))


@frozen
class Errors:
    """Describe the errors of the accuracies of a study; `find_errors` estimates them.

    Attributes:
        split: Validation split; None where it is not known. Then the sampling errors are not known either.
        common: Share of the sampling variance that all networks share.
        network: Share of the sampling variance that all seeds of a network share, and other networks do not.
        training: Variance of the accuracy between training runs with different seeds, over all images of the kind (of
            the only images, where the split is not known); NaN where no network has two seeds.
        degrees: Number of degrees of freedom of `training`.
    """

    split: ValidationSplit | None
    common: float
    network: float
    training: float
    degrees: int = 0

    @property
    def is_complete(self) -> bool:
        """Return whether the errors between seeds are known, and not the sampling errors alone."""
        return not math.isnan(self.training)

    def own(self, accuracy: Real, runs: Real) -> Real:
        """Return the variance of the mean of some training runs of one network that other networks do not share.

        It is a lower bound where the errors between seeds are not known.
        """
        by_run = 1 - self.common - self.network
        training = self.training if self.is_complete else 0.0
        return self.sampling(accuracy) * (self.network + by_run / runs) + training / runs

    def effective_degrees(self, error: float, runs: int) -> float:
        """Return the degrees of freedom of a standard error that contains the noise of some training runs.

        Only that part of it was estimated from few numbers (Satterthwaite 1946, doi:10.2307/3002019).
        """
        part = self.training / runs / error**2 if self.is_complete and error else 0.0
        return self.degrees / min(part, 1.0) ** 2 if part else math.inf

    def shared(self, accuracy: float) -> float:
        """Return the variance of an accuracy that all networks share."""
        return self.sampling(accuracy) * self.common

    def sampling(self, accuracy: Real) -> Real:
        """Return the variance of the accuracy of one training run that the choice of images causes; 0 if unknown."""
        return 0.0 * accuracy if self.split is None else self.split.variance(accuracy)


# Where single images are not known to be classified correctly, half of the sampling variance is regarded as shared by
# all networks. The larger the share, the more the differences between networks are believed.
_ASSUMED_COMMON = 0.5
# The networks with the highest accuracies from which the components are estimated, so that many trials need no memory.
_MOST_NETWORKS = 200


def find_errors(split: ValidationSplit | None, runs: Sequence[tuple[Sequence[float], Sequence[Correct]]]) -> Errors:
    """Return the errors of the accuracies of some networks.

    Args:
        split: Validation split; None where it is not known.
        runs: For each network the accuracies of its training runs, and which images they classify correctly, which may
            be known of fewer runs.
    """
    repeated = [accuracies for accuracies, _ in runs if len(accuracies) > 1]
    degrees, between = sum(len(accuracies) - 1 for accuracies in repeated), pooled(repeated) ** 2
    if split is None:
        return Errors(None, 0.0, 0.0, between, degrees)
    best = sorted((run for run in runs if len(run[1])), key=lambda run: -float(np.mean(run[0])))[:_MOST_NETWORKS]
    found = find_components([correct for _, correct in best])
    common, network = (_ASSUMED_COMMON, 1 - _ASSUMED_COMMON) if found is None else _shares(found)
    errors = Errors(split, common, network, math.nan)
    if not repeated:
        return errors
    # What the images explain of the variance between seeds is no training noise.
    accuracy = float(np.mean([np.mean(accuracies) for accuracies in repeated]))
    explained = errors.sampling(accuracy) * (1 - common - network)
    return Errors(split, common, network, max(0.0, between - explained), degrees)


def _shares(found: Components) -> tuple[float, float]:
    """Return the shares of the sampling variance that all networks and that all seeds of a network share."""
    total = found.common + found.single
    network = found.single if math.isnan(found.network) else min(found.network, found.single)
    return found.common / total, network / total


@frozen
class Difference:
    """The difference of two accuracies on the same images.

    Attributes:
        value: First accuracy minus the second.
        error: Its standard error.
    """

    value: float
    error: float

    def is_clear(self, comparisons: int = 1) -> bool:
        """Return whether it is not 0 beyond doubt, as one of so many comparisons (95% together, Bonferroni's bound)."""
        return abs(self.value) > self.half_width(comparisons)

    def half_width(self, comparisons: int = 1) -> float:
        """Return half the width of its interval; all of so many intervals hold together (95%, Bonferroni's bound)."""
        return quantile(comparisons=comparisons) * self.error


def difference(
    first: Sequence[Correct | NDArray[np.float64]],
    second: Sequence[Correct | NDArray[np.float64]],
    seed: float = 0.0,
) -> Difference:
    """Return the difference of two networks' accuracies on the same images.

    The images on which both agree tell nothing, so their sampling error cancels out (McNemar's test is the case of one
    seed each).

    Args:
        first: Which images are correct, `(N,)`, by seed of the first network, or a factor times that for the difference
            of two scores.
        second: The same of the second network.
        seed: Variance of the error of a training run, of which `Components.seed` is an estimate; the part of it that
            comes from the choice of images counts twice then, so that the error is rather too large than too small.
    """
    by_image = np.mean(first, axis=0) - np.mean(second, axis=0)
    images = len(by_image)
    # One image more for each, and one less: no two networks are equal for certain because they agree on a few images.
    squares = float(((by_image - by_image.mean()) ** 2).sum()) + 1.0
    variance = squares / images**2 + seed * (1 / len(first) + 1 / len(second))
    return Difference(float(by_image.mean()), math.sqrt(variance))


def pack(correct: Correct) -> str:
    """Return which images are correct as text: their number, a colon, and one bit for each in base 64.

    >>> import numpy as np
    >>> pack(np.array([True, False, True]))
    '3:oA=='
    """
    return f"{len(correct)}:{base64.b64encode(np.packbits(correct).tobytes()).decode('ascii')}"


def packed_count(text: str) -> int:
    """Return the number of images of a text that `pack` has written.

    >>> packed_count(pack(np.ones(12, dtype=bool)))
    12
    """
    return int(text.partition(":")[0])


def unpack(text: str) -> Correct:
    """Return which images are correct, `(N,)`; the inverse of `pack`.

    Raises:
        ValueError: The text is not one that `pack` returns.
    """
    number, _, bits = text.partition(":")
    if not (number.isascii() and number.isdecimal()):
        raise ValueError(f"correct images are stored as {text[:40]!r}")
    try:
        packed = np.frombuffer(base64.b64decode(bits, validate=True), dtype=np.uint8)
    except binascii.Error as error:
        raise ValueError(f"correct images are stored as {text[:40]!r}") from error
    if len(packed) != -(-int(number) // 8):
        raise ValueError(f"{number} correct images are stored in {len(packed)} bytes")
    return np.unpackbits(packed, count=int(number)).astype(bool)


def pooled(groups: Iterable[Sequence[float]]) -> float:
    """Return the pooled standard deviation within groups, or NaN if no group has two members.

    Groups with one member have no influence.

    >>> pooled([[1.0, 3.0], [5.0, 7.0], [9.0]])
    1.4142135623730951
    """
    repeated = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    squares = sum(stdev(group) ** 2 * (len(group) - 1) for group in repeated)
    return math.sqrt(squares / degrees) if degrees else math.nan


def unpack_all(texts: Iterable[str], count: int, images: int) -> list[Correct] | None:
    """Return which images each of some training runs classified correctly, `(N,)`.

    Args:
        texts: One text for each run, as `pack` writes it.
        count: Number of runs.
        images: Number of images.

    Returns:
        None where it is not known for all of them, or where the images are others.
    """
    try:
        rows = [unpack(text) for text in texts]
    except ValueError:  # a trial of an earlier version has no text, one of another tool may have any
        return None
    return rows if len(rows) == count and all(len(row) == images for row in rows) else None
