"""How good a latency table is, on networks it was not fitted on."""

from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas.cost.analytic import layer_cost
from nas.cost.layers import fragment_layers
from nas.cost.table import LatencyTable
from nas.device.client import Meter
from nas.device.timing import Aim
from nas.graph.fragment import Fragment

Floats = NDArray[np.float64]
AIM = Aim(spread=0.003, least=15, most=60, seconds=1.5)
AT_ONCE = 10


@frozen
class Agreement:
    """How one set of times agrees with another.

    Attributes:
        mape: mean absolute percentage error, as a share.
        within_5pct: share of networks within 5%.
        within_10pct: share within 10%.
        spearman: rank correlation; NaN where all are alike, or there is only one.
    """

    mape: float
    within_5pct: float
    within_10pct: float
    spearman: float


@frozen(eq=False)
class Check:
    """A table beside what it is measured against.

    Attributes:
        predicted_ms: by the table, `(networks,)`.
        measured_ms: on the device.
        again_ms: measured a second time, later in the same run.
        macs: multiply-adds.
        noise: of the reference, the median over all batches.
        reference_ms: the reference's time in this run; all times are told as if it were the table's.
    """

    predicted_ms: Floats
    measured_ms: Floats
    again_ms: Floats
    macs: Floats
    noise: float
    reference_ms: float

    @property
    def table(self) -> Agreement:
        """Of the table's times with the first measurement."""
        return agreement(self.predicted_ms, self.measured_ms)

    @property
    def retest(self) -> Agreement:
        """Of the second measurement with the first: nothing can be told better than this."""
        return agreement(self.again_ms, self.measured_ms)

    @property
    def by_macs(self) -> Agreement:
        """Of a straight line through MACs, fitted on these very networks, with the first measurement."""
        columns = np.column_stack([np.ones(len(self.macs)), self.macs]) / self.measured_ms[:, None]
        line, *_ = np.linalg.lstsq(columns, np.ones(len(self.macs)), rcond=None)
        return agreement(line[0] + line[1] * self.macs, self.measured_ms)


def agreement(guess: Floats, truth: Floats) -> Agreement:
    """Compare two sets of positive times `(networks,)`."""
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
    """Measure networks twice, one whole round of them after the other, and compare.

    Args:
        table: of this device.
        networks: that it was not fitted on, at least two.
        meter: the device.
        listen: called with batches done and in all.

    Raises:
        NasError: the device fails, or the table lacks a layer.
    """
    predicted = np.array([table.predict(network) for network in networks])
    batches = [networks[start : start + AT_ONCE] for start in range(0, len(networks), AT_ONCE)]
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
