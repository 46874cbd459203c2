"""How well accuracies rank networks that others tell better.

A guess is one list or several, one for each seed: a search sees a single one, so what counts is their mean agreement.
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
FEWEST = 5  # networks; Fisher's transform has no spread below
ROUNDING = 1e-12


@frozen
class Interval:
    """A figure and where it lies with 95% confidence; all are NaN where a list tells no two networks apart."""

    value: float
    low: float
    high: float


def kendall(guesses: Sequence[Sequence[float]], truth: Sequence[float]) -> Interval:
    """Kendall's tau-b on at least five networks; (1 + tau) / 2 is the chance to order a random pair right.

    Its interval is Fisher's with the variance .437 / (n - 4): Bonett and Wright 2000, doi:10.1007/BF02294183.
    """
    tau = fmean(float(kendalltau(g, truth).statistic) if _differ(g, truth) else math.nan for g in guesses)
    return _interval(tau, len(truth), math.sqrt(0.437 / (len(truth) - 4)))


def spearman(guesses: Sequence[Sequence[float]], truth: Sequence[float]) -> Interval:
    """Spearman's correlation on at least five networks; variance (1 + rho² / 2) / (n - 3), from the same paper."""
    rho = fmean(float(spearmanr(g, truth).statistic) if _differ(g, truth) else math.nan for g in guesses)
    return _interval(rho, len(truth), math.sqrt((1 + rho**2 / 2) / (len(truth) - 3)))


def _differ(*lists: Sequence[float]) -> bool:
    return all(len(set(values)) > 1 for values in lists)


def _interval(value: float, count: int, spread: float) -> Interval:
    if math.isnan(value):
        return Interval(math.nan, math.nan, math.nan)
    # A list that agrees in every pair could still have failed in the next one: half a pair is taken off.
    most = 1 - 2 / (count * (count - 1))
    centre, half = math.atanh(max(-most, min(most, value))), norm.ppf((1 + CONFIDENCE) / 2) * spread
    return Interval(value, min(value, math.tanh(centre - half)), max(value, math.tanh(centre + half)))


def ceiling(readings: Sequence[Sequence[float]]) -> float:
    """What Kendall's tau an evaluator that knew every network's true accuracy would be read to have.

    A truth of a few trainings is noisy itself. The share of the variance of its means that is not noise is the square
    of the best correlation; as a tau it is 2/π·asin of that (Greiner's relation).

    Args:
        readings: of each network, one or more.

    Returns:
        NaN where no network has two readings, or all means are alike; 0 where the noise explains all differences.
    """
    means = np.array([fmean(group) for group in readings])
    noise, variance = pooled(readings) ** 2, means.var(ddof=1)
    if math.isnan(noise) or not variance:
        return math.nan
    of_means = noise * fmean(1 / len(group) for group in readings)
    return 2 / math.pi * math.asin(math.sqrt(max(0.0, 1 - of_means / variance)))


def chance_as_good(
    guesses: Sequence[Sequence[float]], best: Sequence[Sequence[float]], truth: Sequence[float], seed: int = 0
) -> float:
    """How often guesses have a Kendall's tau at least as high as others', networks drawn anew with replacement.

    Both see the same networks of the bootstrap, so that what is hard to tell for both cancels out.
    """
    rng, count = np.random.default_rng(seed), len(truth)
    weights = rng.multinomial(count, [1 / count] * count, size=RESAMPLES).astype(np.float64)
    own, others = (np.mean([resampled(weights, g, truth) for g in each], axis=0) for each in (guesses, best))
    return float((own >= others - ROUNDING).mean())


def resampled(weights: Floats, guess: Sequence[float], truth: Sequence[float]) -> Floats:
    """Kendall's tau-b of every resample, 0 where it tells nothing apart; `weights` `(resamples, networks)` count."""
    one, other = (np.sign(np.subtract.outer(values, values)) for values in (guess, truth))
    agreed, own, others = (((weights @ each) * weights).sum(axis=1) for each in (one * other, one**2, other**2))
    whole = np.sqrt(own * others)
    return np.asarray(np.divide(agreed, whole, out=np.zeros_like(agreed), where=whole > 0))
