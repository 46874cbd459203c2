"""From times of layers to the time of a network: a few factors, fitted on whole networks.

A network takes about as long as its layers in a row, and a little more or less according to their kind: what lies in
a cache between two layers is lost while one of them is timed alone. So each kind of layer has a factor, all of them
held near a common one (ridge regression), and there is an intercept for what a run costs by itself.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.spec import Part, Stage

Floats = NDArray[np.float64]
RIDGE = 0.3


def kind(part: Part) -> str:
    """The kind of a layer, as far as factors differ."""
    if not isinstance(part, Stage):
        return "ends"
    return "gated" if part.gate else "pooled" if part.skip == "pool" else PLAIN[part.operator]


PLAIN: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("conv", "fused", "basic", "bottleneck"), "dense"),
        **dict.fromkeys(("dsconv", "mbconv"), "depthwise"),
    }
)
KINDS = ("ends", "dense", "depthwise", "gated", "pooled")


@frozen
class Correction:
    """What turns summed layers into a network's time.

    Attributes:
        factors: by kind of layer.
        intercept_ms: of a run by itself.
        error: standard deviation of the relative error on networks that were left out of the fit in turn; None where
            nothing was fitted.
        networks: how many it was fitted on.
    """

    factors: Mapping[str, float]
    intercept_ms: float = 0.0
    error: float | None = None
    networks: int = 0


NONE = Correction(MappingProxyType(dict.fromkeys(KINDS, 1.0)))


def fit(sums: Floats, measured: Floats) -> Correction:
    """Fit factors and intercept to the relative errors.

    Args:
        sums: for each network the milliseconds of its layers of each kind, `(networks, kinds)`.
        measured: its time in milliseconds, `(networks,)`.
    """
    solved = _solve(sums, measured)
    left_out = [_solve(np.delete(sums, i, 0), np.delete(measured, i)) for i in range(len(measured))]
    guesses = np.array([_apply(way, row) for way, row in zip(left_out, sums, strict=True)])
    errors = guesses / measured - 1
    factors = dict(zip(KINDS, map(float, solved[1:]), strict=True))
    return Correction(MappingProxyType(factors), float(solved[0]), float(np.sqrt(np.mean(errors**2))), len(measured))


def _apply(solved: Floats, row: Floats) -> float:
    return float(solved[0] + row @ solved[1:])


def _solve(sums: Floats, measured: Floats) -> Floats:
    """Intercept and factors `(1 + kinds,)`: a common factor and each kind's distance from it, which is held small."""
    columns = np.column_stack([np.ones(len(sums)), sums.sum(axis=1), sums]) / measured[:, None]
    penalty = np.diag([0.0, 0.0, *[RIDGE] * len(KINDS)]) + 1e-9 * np.eye(2 + len(KINDS))
    found = np.linalg.solve(columns.T @ columns + penalty, columns.T @ np.ones(len(sums)))
    return np.asarray(np.concatenate([found[:1], found[1] + found[2:]]))
