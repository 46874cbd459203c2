"""Cost models of the latency on a device: by a table where one exists, and otherwise by measuring each network."""

import math
from collections.abc import Sequence

import numpy as np
from attrs import define
from numpy.typing import NDArray

from nas.arch.spec import Architecture
from nas.cost.base import Chain, Cost
from nas.cost.guide import GUIDE_NETWORKS, fit_guide, latency_terms
from nas.cost.guided import EachOnce, GuidedCost
from nas.cost.table import UNIT, LatencyTable
from nas.cost.table_plan import sample_networks
from nas.device.client import Meter
from nas.device.timing import NOISY, Aim, Turns
from nas.errors import DeviceError, DeviceLostError, NasError, TargetError
from nas.graph.fragment import whole

# A candidate only has to be placed inside or outside the cost range; final candidates differ by less than 1%.
CANDIDATE = Aim(spread=0.01, least=10, most=100, seconds=0.4)
FINAL = Aim(spread=0.003, least=15, most=60, seconds=2.0)
PASSES = 3
BATCH_SIZE = 8
PACE_QUANTILE = 0.25


@define(eq=False)
class Stopwatch(EachOnce):
    """Estimate latencies in milliseconds by measuring single networks, each once; this is a `CostModel`.

    The cost is infinite where the device rejects a network. A device that is lost, or that rejects several networks in
    a row, is a `DeviceError`.

    Attributes:
        meter: The device.
        reference_ms: Latency of the reference network there, in milliseconds. A measurement is a ratio to the
            reference, and multiplying all ratios by one value removes the drift of the machine.
    """

    meter: Meter
    reference_ms: float

    def _measure(self, arch: Architecture) -> Cost:
        (timing,) = (turns := self.meter.measure([whole(arch)], CANDIDATE)).timings
        value = timing.ratio * self.reference_ms
        return Cost(value, UNIT, f"measured on {self.meter.device.short}", value * timing.spread, turns.noisy)

    def _refused(self, error: NasError) -> Cost | None:
        if isinstance(error, DeviceLostError) or not isinstance(error, DeviceError):
            return None
        return Cost(math.inf, UNIT, f"refused by {self.meter.device.short}: {error.problem}", math.nan)


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


def measured_latency(chain: Chain, padding: str, meter: Meter, seed: int = 0) -> GuidedCost[Stopwatch]:
    """Return a cost model that measures, with a guide that is fitted on a few networks of a space.

    Args:
        chain: All architectures of the space.
        padding: Padding of all layers.
        meter: The device.
        seed: Seed of the choice of the networks.

    Raises:
        DeviceError: The device fails.
    """
    networks = sample_networks(chain, padding, GUIDE_NETWORKS, seed)
    turns = list(meter.measure_each([[network] for network in networks], CANDIDATE))
    # One value for all networks: with that of each batch the drift of the machine would enter the latencies.
    reference_ms = float(np.median([turn.reference.median_ms for turn in turns]))
    times = np.array([turn.timings[0].ratio for turn in turns]) * reference_ms
    return GuidedCost(fit_guide(latency_terms, networks, times), Stopwatch(meter, reference_ms))
