"""Cost models of the latency on a device: by a table where one exists, and otherwise by measuring each network."""

import math
import threading
from collections.abc import Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.base import Chain, Cost
from nas.cost.guide import make_guide
from nas.cost.layers import distinct_layers
from nas.cost.table import UNIT, LatencyTable, current_origin
from nas.cost.table_plan import sample_networks
from nas.device.client import Meter
from nas.device.timing import NOISY, Aim, Turns
from nas.errors import DeviceError, DeviceLostError, TargetError
from nas.graph.fragment import whole

# A candidate only has to be placed inside or outside the cost range; final candidates differ by less than 1%.
CANDIDATE = Aim(spread=0.01, least=10, most=100, seconds=0.4)
FINAL = Aim(spread=0.003, least=15, most=60, seconds=2.0)
PASSES = 3
BATCH_SIZE = 8
GUIDE_NETWORKS = 16
PACE_QUANTILE = 0.25
MAX_REFUSED = 3  # in a row
GUIDE_MARGIN = 2.0  # in standard deviations of the guide's relative error


@define(eq=False)
class Stopwatch:
    """Estimate latencies in milliseconds by measuring single networks, each once; this is a `CostModel`.

    Attributes:
        meter: The device.
        reference_ms: Latency of the reference network there, in milliseconds. A measurement is a ratio to the
            reference, and multiplying all ratios by one value removes the drift of the machine.
    """

    meter: Meter
    reference_ms: float
    _costs: dict[Architecture, Cost] = field(factory=dict, init=False)
    _refused_in_a_row: int = field(default=0, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def estimate(self, arch: Architecture) -> Cost:
        """Return the measured latency of a network; see `CostModel`.

        The cost is infinite where the device rejects this network, which is then outside every cost range.

        Raises:
            DeviceError: The device is lost, or rejects several networks in a row.
        """
        form = canonical(arch)
        with self._lock:  # Measurements at the same time would disturb each other.
            if form not in self._costs:
                self._costs[form] = self._measure(form)
            return self._costs[form]

    def _measure(self, arch: Architecture) -> Cost:
        try:
            turns = self.meter.measure([whole(arch)], CANDIDATE)
        except DeviceLostError:
            raise
        except DeviceError as error:
            # If a device rejects everything, its networks are not the cause, and a search should not continue.
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= MAX_REFUSED:
                raise
            return Cost(math.inf, UNIT, f"refused by {self.meter.device.short}: {error.problem}", math.nan)
        self._refused_in_a_row = 0
        (timing,) = turns.timings
        value = timing.ratio * self.reference_ms
        return Cost(value, UNIT, f"measured on {self.meter.device.short}", value * timing.spread, turns.noisy)


@define(eq=False)
class TableLatency:
    """Estimate latencies in milliseconds by a table; this is a `ChainCostModel`.

    Attributes:
        table: Table of exactly this device.
        stopwatch: Measures networks with a layer that the table lacks, such as a baseline from another space.
    """

    table: LatencyTable
    stopwatch: Stopwatch

    def estimate(self, arch: Architecture) -> Cost:
        """Return the prediction of the table, or a measurement where the table lacks a layer; see `CostModel`.

        Raises:
            DeviceError: The device fails.
        """
        try:
            return self.table.estimate(arch)
        except TargetError:
            return self.stopwatch.estimate(arch)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the predictions `(N,)` of the table; see `ChainCostModel`."""
        return self.table.many(chain, index)

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the cost range by the table; see `ChainCostModel`."""
        return self.table.span(chain)


@define(eq=False)
class MeasuredLatency:
    """Measure single networks and estimate many at once by a guide, in milliseconds; this is a `ChainCostModel`.

    Attributes:
        guide: Rough table, which selects the networks that are worth measuring.
        stopwatch: Measures single networks.
    """

    guide: LatencyTable
    stopwatch: Stopwatch

    def estimate(self, arch: Architecture) -> Cost:
        """Return the latency of a network, which is measured once and then cached; see `CostModel`.

        Raises:
            DeviceError: The device fails.
        """
        return self.stopwatch.estimate(arch)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return rough estimates `(N,)` by the guide; see `ChainCostModel`."""
        return self.guide.many(chain, index)

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the cost range by the guide, extended by its error at both ends; see `ChainCostModel`.

        A range that is too narrow would reject a target that some network meets.
        """
        low, high = self.guide.span(chain)
        error = self.guide.correction.error or 0.0
        return low * max(0.0, 1 - GUIDE_MARGIN * error), high * (1 + GUIDE_MARGIN * error)


@define(eq=False)
class Judge:
    """Measure the final candidates in turn with each other, in several passes.

    Attributes:
        meter: The device.
        reference_ms: Latency of the reference in milliseconds when the predictions were made.
    """

    meter: Meter
    reference_ms: float

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        """Return the latencies in milliseconds, in the order of `archs`.

        A latency is a ratio to the reference multiplied by the reference's latency, which is the larger one of two:
        the value when the predictions were made, and the present value. A network that meets its target therefore
        meets it at both speeds of the machine. The present value is the first quartile over all batches, which other
        work disturbs least; its variation over the batches is part of each spread.

        Raises:
            DeviceError: The device fails.
        """
        if not archs:
            return []
        batches = [archs[start : start + BATCH_SIZE] for start in range(0, len(archs), BATCH_SIZE)]
        fragments = [[whole(arch) for arch in batch] for batch in batches] * PASSES
        turns = list(self.meter.measure_each(fragments, FINAL))
        paces_ms = np.array([turn.reference.median_ms for turn in turns])
        pace_ms = max(self.reference_ms, float(np.quantile(paces_ms, PACE_QUANTILE)))
        # The pace is the same factor for all networks; its relative error is combined with that of each ratio below.
        pace_spread = float(paces_ms.std(ddof=1) / paces_ms.mean())
        noisy = float(np.median([turn.noise for turn in turns])) > NOISY
        ratios = [np.array([ratio for turn in _pass_ratios(turns, i) for ratio in turn]) for i in range(PASSES)]
        source = f"measured on {self.meter.device.short}"
        # The deviation between passes, minutes apart, is a better error than the standard error within one batch.
        means, errors = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1)
        values, spreads = means * pace_ms, np.hypot(errors, means * pace_spread) * pace_ms
        return [Cost(float(v), UNIT, source, float(s), noisy) for v, s in zip(values, spreads, strict=True)]


def _pass_ratios(turns: Sequence[Turns], number: int) -> list[list[float]]:
    size = len(turns) // PASSES
    return [[timing.ratio for timing in turn.timings] for turn in turns[number * size : (number + 1) * size]]


def measured_latency(chain: Chain, padding: str, meter: Meter, space: str, seed: int = 0) -> MeasuredLatency:
    """Return a cost model that measures, with a guide that is fitted on a few networks of a space.

    Args:
        chain: All architectures of the space.
        padding: Padding of all layers.
        meter: The device.
        space: Name of the space.
        seed: Seed of the choice of the networks.

    Raises:
        DeviceError: The device fails.
    """
    networks = sample_networks(chain, padding, GUIDE_NETWORKS, seed)
    turns = list(meter.measure_each([[network] for network in networks], CANDIDATE))
    # One value for all networks: with that of each batch the drift of the machine would enter the latencies.
    reference_ms = float(np.median([turn.reference.median_ms for turn in turns]))
    times = np.array([turn.timings[0].ratio for turn in turns]) * reference_ms
    origin = current_origin(meter, chain, padding, space, reference_ms, passes=1)
    guide = make_guide("guide", origin, distinct_layers(chain), networks, times)
    return MeasuredLatency(guide, Stopwatch(meter, reference_ms))
