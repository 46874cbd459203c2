"""Comparison of a latency table with measurements of networks on which it was not fitted."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas.cost.analytic import layer_cost
from nas.cost.correction import CheckedError
from nas.cost.layers import fragment_layers
from nas.cost.table import LatencyTable
from nas.device.client import Meter
from nas.device.timing import Aim
from nas.graph.fragment import Fragment

Floats = NDArray[np.float64]
AIM = Aim(spread=0.003, least=15, most=60, seconds=1.5)
BATCH_SIZE = 10


@frozen
class Agreement:
    """Describe how well one set of times agrees with another.

    Attributes:
        mape: Mean absolute percentage error, as a share (0.05 is 5%).
        within_5pct: Share of networks with an error of at most 5%.
        within_10pct: Share of networks with an error of at most 10%.
        spearman: Spearman's rank correlation; NaN for a single network or equal times.
    """

    mape: float
    within_5pct: float
    within_10pct: float
    spearman: float


@frozen(eq=False)
class Check:
    """Hold the predictions of a table and two measurements of the same networks.

    All times are those of a machine on which the reference takes as long as it did for the table.

    Attributes:
        predicted_ms: Predictions of the table in milliseconds, `(networks,)`.
        measured_ms: Measurements in milliseconds, `(networks,)`.
        again_ms: Second measurements in milliseconds, later in the same run, `(networks,)`.
        macs: Numbers of multiply-adds, `(networks,)`.
        noise: Median over all batches of the noise of the reference.
        reference_ms: Time of the reference in this run, in milliseconds.
    """

    predicted_ms: Floats
    measured_ms: Floats
    again_ms: Floats
    macs: Floats
    noise: float
    reference_ms: float

    @property
    def table(self) -> Agreement:
        """Return the agreement of the predictions with the first measurement."""
        return agreement(self.predicted_ms, self.measured_ms)

    @property
    def retest(self) -> Agreement:
        """Return the agreement of the second measurement with the first, as a limit for predictions."""
        return agreement(self.again_ms, self.measured_ms)

    @property
    def error(self) -> CheckedError:
        """Return the error of the table on these networks, with its standard error."""
        squares = (self.predicted_ms / self.measured_ms - 1) ** 2
        error = float(np.sqrt(squares.mean()))
        # The standard error of the mean square, and from it by the delta method that of its root.
        of_square = float(squares.std(ddof=1)) / math.sqrt(len(squares))
        return CheckedError(error, of_square / (2 * error) if error else 0.0, len(squares))

    def is_conclusive(self, limit: float) -> bool:
        """Return whether an error above a limit is one of the table, and not one of noisy measurements alone.

        Two measurements of a network differ by the noise of both, so half of their mean squared difference is the part
        of the squared error that is noise.
        """
        noise = float(((self.again_ms / self.measured_ms - 1) ** 2).mean()) / 2
        return self.error.error <= limit or self.error.error**2 - noise > limit**2

    @property
    def by_macs(self) -> Agreement:
        """Return the agreement with the first measurement of a linear function of MACs, fitted on these networks.

        This is the baseline of the table, and an optimistic one, since it is evaluated on the networks of its fit.
        """
        # Dividing each row by the measured time makes the least squares those of relative errors.
        columns = np.column_stack([np.ones(len(self.macs)), self.macs]) / self.measured_ms[:, None]
        line, *_ = np.linalg.lstsq(columns, np.ones(len(self.macs)), rcond=None)
        return agreement(line[0] + line[1] * self.macs, self.measured_ms)


def agreement(guess: Floats, truth: Floats) -> Agreement:
    """Compare two sets of positive times `(networks,)`.

    >>> agreement(np.array([1.04, 2.0, 4.0]), np.array([1.0, 2.0, 5.0]))
    Agreement(mape=0.08, within_5pct=0.6666666666666666, within_10pct=0.6666666666666666, spearman=1.0)
    """
    errors = np.abs(guess / truth - 1)
    return Agreement(
        mape=float(errors.mean()),
        within_5pct=float((errors <= 0.05).mean()),
        within_10pct=float((errors <= 0.10).mean()),
        spearman=float(spearmanr(guess, truth).statistic),
    )


def check_table(
    table: LatencyTable,
    networks: Sequence[Fragment],
    meter: Meter,
    listen: Callable[[int, int], None] = lambda _done, _total: None,
) -> Check:
    """Measure networks twice and compare the measurements with a table.

    Args:
        table: Table of this device.
        networks: At least two networks on which the table was not fitted.
        meter: The device.
        listen: Called after each batch with the number of finished batches and their total.

    Raises:
        NasError: The device fails, or the table lacks a layer.
    """
    predicted = np.array([table.predict(network) for network in networks])
    # All networks are measured once before the second measurement starts, so that the two are minutes apart and
    # differ by what differs between separate runs.
    batches = [networks[start : start + BATCH_SIZE] for start in range(0, len(networks), BATCH_SIZE)]
    turns = []
    for turn in meter.measure_each(batches * 2, AIM):
        turns.append(turn)
        listen(len(turns), 2 * len(batches))
    ratios = np.array([timing.ratio for turn in turns for timing in turn.timings]).reshape(2, len(networks))
    first, second = ratios * table.origin.reference_ms
    return Check(
        predicted,
        first,
        second,
        np.array([_macs(network) for network in networks], dtype=np.float64),
        float(np.median([turn.noise for turn in turns])),
        float(np.median([turn.reference.median_ms for turn in turns])),
    )


def _macs(network: Fragment) -> int:
    return sum(layer_cost(layer.part, layer.shape, network.classes).macs for layer in fragment_layers(network))
