"""Latency tables: the time of every layer on one device, and so the time of every network made of them."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import add

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.code import format_part
from nas.arch.layers import Shape
from nas.arch.spec import Architecture, Part
from nas.cost.base import Chain, Cost
from nas.cost.chain import chain_shares, chain_span
from nas.cost.correction import KINDS, NONE, Correction, kind
from nas.cost.layers import Layer, distinct_layers, fragment_layers, part_layers
from nas.device.client import Meter
from nas.device.machine import Machine
from nas.device.reference import REFERENCE_NAME
from nas.device.spec import Device
from nas.errors import TargetError
from nas.graph.fragment import Fragment, whole
from nas.version import __version__

UNIT = "ms"


@frozen
class Origin:
    """Where a table's times come from.

    Attributes:
        machine: that ran them.
        device: how.
        reference: name of the network everything was compared with.
        reference_ms: its time, the median of all its runs.
        space: name of the search space whose layers were timed.
        classes: of the heads.
        padding: of all layers.
        nas: version of this package.
        date: when it was finished, in UTC.
        passes: how often each layer was timed.
        adapted_from: name of the table whose layers these are, "" where they were timed themselves.
    """

    machine: Machine
    device: Device
    reference: str
    reference_ms: float
    space: str
    classes: int
    padding: str
    nas: str
    date: str
    passes: int
    adapted_from: str = ""


def origin_now(
    meter: Meter, chain: Chain, padding: str, space: str, reference_ms: float, passes: int, adapted_from: str = ""
) -> Origin:
    """The origin of what a meter has just measured."""
    return Origin(
        machine=meter.machine,
        device=meter.device,
        reference=REFERENCE_NAME,
        reference_ms=reference_ms,
        space=space,
        classes=chain.classes,
        padding=padding,
        nas=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        passes=passes,
        adapted_from=adapted_from,
    )


@frozen(eq=False)
class LatencyTable:
    """A `ChainCostModel` of milliseconds; calls are safe from several threads.

    Attributes:
        name: as messages call it.
        origin: of its times.
        layers_ms: milliseconds of each layer.
        spread_ms: their standard errors.
        correction: fitted on whole networks.
    """

    name: str
    origin: Origin
    layers_ms: Mapping[Layer, float]
    spread_ms: Mapping[Layer, float]
    correction: Correction = NONE
    _parts: dict[tuple[Part, Shape], tuple[tuple[float, ...], Shape]] = field(factory=dict, init=False, repr=False)

    def estimate(self, arch: Architecture) -> Cost:
        """See `CostModel`; its spread is the fit's error, NaN where nothing was fitted.

        Raises:
            TargetError: a layer is not in the table, or it is of other classes or padding.
        """
        value, error = self.predict(whole(arch)), self.correction.error
        return Cost(value, UNIT, f"table {self.name}", math.nan if error is None else value * error)

    def predict(self, fragment: Fragment) -> float:
        """Milliseconds of a network.

        Raises:
            TargetError: see `estimate`.
        """
        self._check_task(fragment.classes, fragment.padding)
        shape, total = fragment.shape, self.correction.intercept_ms
        for part in fragment.parts:
            (value,), shape = self._share(part, shape, fragment.classes)
            total += value
        return total

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `ChainCostModel`."""
        if not len(index):
            return np.zeros(0)
        return np.asarray(chain_shares(chain, index, self._share)[:, :, 0].sum(axis=0) + self.correction.intercept_ms)

    def span(self, chain: Chain) -> tuple[float, float]:
        """See `ChainCostModel`."""
        low, high = chain_span(chain, self._share, add)
        return low + self.correction.intercept_ms, high + self.correction.intercept_ms

    def sums(self, fragment: Fragment) -> tuple[float, ...]:
        """Milliseconds of its layers of each kind, in the order of `KINDS`, before any correction."""
        totals = dict.fromkeys(KINDS, 0.0)
        for layer in fragment_layers(fragment):
            totals[kind(layer.part)] += self._time(layer)
        return tuple(totals.values())

    def check_chain(self, chain: Chain, padding: str) -> None:
        """Refuse a space that has layers of which nothing is known.

        Raises:
            TargetError: naming one.
        """
        self._check_task(chain.classes, padding)
        for layer in distinct_layers(chain):
            self._time(layer)

    def _check_task(self, classes: int, padding: str) -> None:
        for what, own, asked in (
            ("classes", self.origin.classes, classes),
            ("padding", self.origin.padding, padding),
        ):
            if own != asked:
                raise TargetError(
                    f"latency table {self.name} is of {what} {own}, not {asked}", "make one with `nas latency table`"
                )

    def _share(self, part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
        key = (part, shape)
        if key not in self._parts:
            layers, out = part_layers(part, shape, classes)
            self._parts[key] = ((math.fsum(map(self._corrected, layers)),), out)
        return self._parts[key]

    def _corrected(self, layer: Layer) -> float:
        return self.correction.factors[kind(layer.part)] * self._time(layer)

    def _time(self, layer: Layer) -> float:
        time = self.layers_ms.get(layer)
        if time is None:
            shape = f"{layer.shape.channels}x{layer.shape.height}x{layer.shape.width}"
            raise TargetError(
                f"latency table {self.name} has no layer {format_part(layer.part, '')!r} on {shape}",
                "it is of another space or resolution; make one with `nas latency table`",
            )
        return time
