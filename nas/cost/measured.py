"""Latency on a device as a cost: by a table where one fits, else by measuring each network."""

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
from nas.cost.table import UNIT, LatencyTable, origin_now
from nas.cost.table_plan import sample_networks
from nas.device.client import Meter
from nas.device.timing import NOISY, Aim, Turns
from nas.errors import DeviceError, DeviceLostError, TargetError
from nas.graph.fragment import whole

CANDIDATE = Aim(spread=0.01, least=10, most=100, seconds=0.4)
TOGETHER = Aim(spread=0.003, least=15, most=60, seconds=2.0)
PASSES = 3
AT_ONCE = 8
GUIDE_NETWORKS = 16
QUIETER = 0.25
MOST_REFUSED = 3  # one after another
WIDER = 2.0  # standard deviations


@define(eq=False)
class Stopwatch:
    """A `CostModel` of milliseconds: measures single networks on a device, each once.

    Attributes:
        meter: the device.
        reference_ms: what the reference takes there; times are told as if it always did.
    """

    meter: Meter
    reference_ms: float
    _known: dict[Architecture, Cost] = field(factory=dict, init=False)
    _refused: int = field(default=0, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def estimate(self, arch: Architecture) -> Cost:
        """See `CostModel`; without end where the device refuses this one network, which is then in no band.

        Raises:
            DeviceError: the device is lost, or refuses one network after another.
        """
        form = canonical(arch)
        with self._lock:  # One at a time, or they would disturb each other.
            if form not in self._known:
                self._known[form] = self._measured(form)
            return self._known[form]

    def _measured(self, arch: Architecture) -> Cost:
        try:
            turns = self.meter.measure([whole(arch)], CANDIDATE)
        except DeviceLostError:
            raise
        except DeviceError as error:
            self._refused += 1
            if self._refused >= MOST_REFUSED:
                raise
            return Cost(math.inf, UNIT, f"refused by {self.meter.device.short}: {error.problem}", math.nan)
        self._refused = 0
        (timing,) = turns.timings
        value = timing.ratio * self.reference_ms
        return Cost(value, UNIT, f"measured on {self.meter.device.short}", value * timing.spread, turns.noisy)


@define(eq=False)
class TableLatency:
    """A `ChainCostModel` of milliseconds by a table; what the table has no layers for is measured.

    Attributes:
        table: of exactly this device.
        stopwatch: for networks outside its space, such as a baseline.
    """

    table: LatencyTable
    stopwatch: Stopwatch

    def estimate(self, arch: Architecture) -> Cost:
        """See `CostModel`.

        Raises:
            DeviceError: the device fails.
        """
        try:
            return self.table.estimate(arch)
        except TargetError:
            return self.stopwatch.estimate(arch)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `ChainCostModel`."""
        return self.table.many(chain, index)

    def span(self, chain: Chain) -> tuple[float, float]:
        """See `ChainCostModel`."""
        return self.table.span(chain)


@define(eq=False)
class MeasuredLatency:
    """A `ChainCostModel` of milliseconds that were measured; many networks at once are told by a guide.

    Attributes:
        guide: says roughly which networks are worth measuring.
        stopwatch: says what they take.
    """

    guide: LatencyTable
    stopwatch: Stopwatch

    def estimate(self, arch: Architecture) -> Cost:
        """See `CostModel`; measured once, then remembered.

        Raises:
            DeviceError: the device fails.
        """
        return self.stopwatch.estimate(arch)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `ChainCostModel`: by the guide."""
        return self.guide.many(chain, index)

    def span(self, chain: Chain) -> tuple[float, float]:
        """See `ChainCostModel`: by the guide, and as much wider as it may be wrong."""
        low, high = self.guide.span(chain)
        error = self.guide.correction.error or 0.0
        return low * max(0.0, 1 - WIDER * error), high * (1 + WIDER * error)


@define(eq=False)
class Judge:
    """Measures networks in turn with each other, in several passes.

    Attributes:
        meter: the device.
        reference_ms: the reference's time when predictions were made.
    """

    meter: Meter
    reference_ms: float

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        """Their times at the machine's slower pace, then or now: what is promised holds at both.

        Its pace now is that of its quieter moments, which other work on it disturbs least; how much that varies while
        it is measured is part of each spread.

        Raises:
            DeviceError: the device fails.
        """
        if not archs:
            return []
        batches = [archs[start : start + AT_ONCE] for start in range(0, len(archs), AT_ONCE)]
        fragments = [[whole(arch) for arch in batch] for batch in batches] * PASSES
        turns = list(self.meter.measure_each(fragments, TOGETHER))
        paces_ms = np.array([turn.reference.median_ms for turn in turns])
        slowest = max(self.reference_ms, float(np.quantile(paces_ms, QUIETER)))
        wavering = float(paces_ms.std(ddof=1) / paces_ms.mean())
        noisy = float(np.median([turn.noise for turn in turns])) > NOISY
        ratios = [np.array([ratio for turn in _of_pass(turns, i) for ratio in turn]) for i in range(PASSES)]
        source = f"measured on {self.meter.device.short}"
        means, errors = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1)
        values, spreads = means * slowest, np.hypot(errors, means * wavering) * slowest
        return [Cost(float(v), UNIT, source, float(s), noisy) for v, s in zip(values, spreads, strict=True)]


def _of_pass(turns: Sequence[Turns], number: int) -> list[list[float]]:
    size = len(turns) // PASSES
    return [[timing.ratio for timing in turn.timings] for turn in turns[number * size : (number + 1) * size]]


def measured_latency(chain: Chain, padding: str, meter: Meter, space: str, seed: int = 0) -> MeasuredLatency:
    """A cost that is measured, its guide fitted on a few networks of the space.

    Raises:
        DeviceError: the device fails.
    """
    networks = sample_networks(chain, padding, GUIDE_NETWORKS, seed)
    turns = list(meter.measure_each([[network] for network in networks], CANDIDATE))
    reference_ms = float(np.median([turn.reference.median_ms for turn in turns]))
    times = np.array([turn.timings[0].ratio for turn in turns]) * reference_ms
    origin = origin_now(meter, chain, padding, space, reference_ms, passes=1)
    guide = make_guide("guide", origin, distinct_layers(chain), networks, times)
    return MeasuredLatency(guide, Stopwatch(meter, reference_ms))
