"""Correction of summed layer latencies to network latencies by a few factors, fitted on whole networks.

The latency of a network is close to the sum of its layers' latencies, and differs by a few percent according to the
kinds of its layers: inside a network the output of one layer is still in a cache when the next one reads it. Each
kind of layer therefore has a factor. A ridge penalty holds all factors near a common one, since about 30 networks
cannot determine them separately. An intercept stands for the overhead of one run.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.spec import Part, Stage

Floats = NDArray[np.float64]
RIDGE = 0.3
MAX_ERROR = 0.15  # largest error with which a table is used, unless the user states another one


def layer_kind(part: Part) -> str:
    """Return the kind of a layer, which determines its factor."""
    if not isinstance(part, Stage):
        return "ends"
    return "gated" if part.gate else "pooled" if part.skip == "pool" else PLAIN_KINDS[part.operator]


# Kinds of the operators of stages without a gate and without a pooled skip.
PLAIN_KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("conv", "fused", "basic", "bottleneck"), "dense"),
        **dict.fromkeys(("dsconv", "mbconv", "inverted"), "depthwise"),
    }
)
KINDS = ("ends", "dense", "depthwise", "gated", "pooled")


@frozen
class Correction:
    """Hold the factors that turn layer latencies into a network latency.

    Attributes:
        factors: Factor of each kind of layer.
        intercept: Overhead of one run, in the unit of the costs.
        error: Root mean square of the relative error in leave-one-out cross-validation; None without a fit.
        networks: Number of networks of the fit.
    """

    factors: Mapping[str, float]
    intercept: float = 0.0
    error: float | None = None
    networks: int = 0


@frozen
class CheckedError:
    """Hold the error of a table on networks on which it was not fitted.

    Attributes:
        error: Root mean square of the relative error: one standard deviation of a prediction, as a share of it.
        spread: Standard error of `error`.
        networks: Number of networks.
    """

    error: float
    spread: float
    networks: int


NO_CORRECTION = Correction(MappingProxyType(dict.fromkeys(KINDS, 1.0)))


def fit_correction(kind_sums: Floats, measured: Floats) -> Correction:
    """Fit factors and intercept by least squares of the relative error.

    Args:
        kind_sums: Summed costs of the layers of each kind, `(networks, kinds)`.
        measured: Measured costs of the networks in the same unit, `(networks,)`.

    >>> sums = np.random.default_rng(0).uniform(1, 10, (24, len(KINDS)))
    >>> found = fit_correction(sums, 0.5 + 1.25 * sums.sum(axis=1))
    >>> round(found.intercept, 3), round(found.factors["dense"], 3)
    (0.5, 1.25)
    """
    solved = _solve(kind_sums, measured)
    # Leave-one-out, since the errors on the fitted networks themselves would be too small.
    left_out = [_solve(np.delete(kind_sums, i, 0), np.delete(measured, i)) for i in range(len(measured))]
    guesses = np.array([_predict(solution, row) for solution, row in zip(left_out, kind_sums, strict=True)])
    errors = guesses / measured - 1
    factors = dict(zip(KINDS, map(float, solved[1:]), strict=True))
    return Correction(MappingProxyType(factors), float(solved[0]), float(np.sqrt(np.mean(errors**2))), len(measured))


def _predict(solved: Floats, row: Floats) -> float:
    return float(solved[0] + row @ solved[1:])


def _solve(kind_sums: Floats, measured: Floats) -> Floats:
    """Return the intercept and the factors, `(1 + kinds,)`.

    The unknowns are the intercept, a common factor, and the deviation of each kind from it. Only deviations are
    penalized.
    """
    # Dividing by the measured times makes the errors relative, so that small networks count as much as large ones.
    columns = np.column_stack([np.ones(len(kind_sums)), kind_sums.sum(axis=1), kind_sums]) / measured[:, None]
    # The common factor and the deviations overlap in one direction, and a space may lack a kind of layer altogether.
    # The tiny second term keeps the matrix invertible and changes no factor noticeably.
    penalty = np.diag([0.0, 0.0, *[RIDGE] * len(KINDS)]) + 1e-9 * np.eye(2 + len(KINDS))
    found = np.linalg.solve(columns.T @ columns + penalty, columns.T @ np.ones(len(kind_sums)))
    return np.asarray(np.concatenate([found[:1], found[1] + found[2:]]))
