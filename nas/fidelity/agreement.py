"""The agreement of two rankings of networks, with its uncertainty: Kendall's tau and Spearman's rho.

Guesses are one list of accuracies or several, one for each seed. A search sees a single one, so the mean of their
agreements counts.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.stats import kendalltau, norm, spearmanr

from nas.noise import pooled

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2_000
FEWEST = 5  # networks; with fewer, Fisher's transform has no standard deviation
ROUNDING = 1e-12


@frozen
class Interval:
    """A figure with its 95% confidence interval; all are NaN where all accuracies of a list are equal.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def kendall(guesses: Sequence[Sequence[float]], truth: Sequence[float]) -> Interval:
    """Return Kendall's tau-b on at least five networks; (1 + tau) / 2 is the share of pairs in the right order.

    Its interval is Fisher's with the variance .437 / (n - 4): Bonett and Wright 2000, doi:10.1007/BF02294183.
    """
    tau = fmean(float(kendalltau(g, truth).statistic) if _differ(g, truth) else math.nan for g in guesses)
    return _interval(tau, len(truth), math.sqrt(0.437 / (len(truth) - 4)))


def spearman(guesses: Sequence[Sequence[float]], truth: Sequence[float]) -> Interval:
    """Return Spearman's rho on at least five networks; variance (1 + rho² / 2) / (n - 3), from the same paper."""
    rho = fmean(float(spearmanr(g, truth).statistic) if _differ(g, truth) else math.nan for g in guesses)
    return _interval(rho, len(truth), math.sqrt((1 + rho**2 / 2) / (len(truth) - 3)))


def _differ(*lists: Sequence[float]) -> bool:
    return all(len(set(values)) > 1 for values in lists)


def _interval(value: float, count: int, spread: float) -> Interval:
    if math.isnan(value):
        return Interval(math.nan, math.nan, math.nan)
    # Agreement in every pair that was seen does not mean that the next one agrees: half a pair is subtracted.
    most = 1 - 2 / (count * (count - 1))
    centre, half = math.atanh(max(-most, min(most, value))), norm.ppf((1 + CONFIDENCE) / 2) * spread
    return Interval(value, min(value, math.tanh(centre - half)), max(value, math.tanh(centre + half)))


def ceiling(accuracies: Sequence[Sequence[float]], sampling: float = 0.0) -> float:
    """Return the Kendall's tau that an evaluator with every network's exact accuracy would be found to have.

    A truth of a few training runs on a few images is noisy itself. The share of the variance of its means that is not
    noise is the square of the best correlation; as a tau it is 2/π·asin of that (Greiner's relation).

    Args:
        accuracies: True accuracies of each network, one or more.
        sampling: Variance of the sampling error that all seeds of a network share, and other networks do not.

    Returns:
        NaN where no network has two accuracies, or all means are equal; 0 where the noise explains all differences.
    """
    means = np.array([fmean(group) for group in accuracies])
    noise, variance = pooled(accuracies) ** 2, means.var(ddof=1)
    if math.isnan(noise) or not variance:
        return math.nan
    of_means = noise * fmean(1 / len(group) for group in accuracies) + sampling
    return 2 / math.pi * math.asin(math.sqrt(max(0.0, 1 - of_means / variance)))


def chance_as_good(
    guesses: Sequence[Sequence[float]], best: Sequence[Sequence[float]], truth: Sequence[float], seed: int = 0
) -> float:
    """Return the share of resamples in which the Kendall's tau of guesses is at least that of the best ones.

    Networks are drawn with replacement, the same ones for both, so that what is hard for both cancels out.

    Args:
        guesses: Accuracies by seed and network.
        best: Accuracies of the best evaluator, likewise.
        truth: True accuracies.
        seed: Seed of the resampling.
    """
    rng, count = np.random.default_rng(seed), len(truth)
    weights = rng.multinomial(count, [1 / count] * count, size=RESAMPLES).astype(np.float64)
    own, others = (np.mean([resampled(weights, g, truth) for g in each], axis=0) for each in (guesses, best))
    return float((own >= others - ROUNDING).mean())


def resampled(weights: Floats, guess: Sequence[float], truth: Sequence[float]) -> Floats:
    """Return Kendall's tau-b of every resample, 0 where all its accuracies are equal.

    Args:
        weights: How often each resample has each network, `(resamples, networks)`.
        guess: Accuracies.
        truth: True accuracies.
    """
    one, other = (np.sign(np.subtract.outer(values, values)) for values in (guess, truth))
    agreed, own, others = (((weights @ each) * weights).sum(axis=1) for each in (one * other, one**2, other**2))
    whole = np.sqrt(own * others)
    return np.asarray(np.divide(agreed, whole, out=np.zeros_like(agreed), where=whole > 0))
