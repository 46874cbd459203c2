"""Latency tables: the latency of each layer on one device, and with it the latency of each network of such layers."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import add
from pathlib import Path

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.code import format_part
from nas.arch.layers import Shape
from nas.arch.spec import Architecture, Part
from nas.cost.base import Chain, Cost
from nas.cost.chain import chain_figures, chain_range
from nas.cost.correction import KINDS, MAX_ERROR, NO_CORRECTION, CheckedError, Correction, layer_kind
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
    """Describe the measurements of a table.

    Attributes:
        machine: Machine of the measurements.
        device: Device specification, which says how networks ran.
        reference: Name of the reference network.
        reference_ms: Latency of the reference network in milliseconds: the median over all batches.
        space: Name of the search space whose layers were timed.
        classes: Number of classes of the heads.
        padding: Padding of all layers.
        nas: Version of this package.
        date: Date and time of the last measurement, in UTC.
        passes: Number of times that each layer was timed.
        adapted_from: Name of the table from which the layer latencies were taken, "" where they were measured.
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


def current_origin(
    meter: Meter, chain: Chain, padding: str, space: str, reference_ms: float, passes: int, adapted_from: str = ""
) -> Origin:
    """Return the origin of measurements that a meter has just finished; `Origin` explains the arguments."""
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
    """Estimate latencies in milliseconds from the latencies of layers; this is a `ChainCostModel`.

    Several threads may use one table.

    Attributes:
        name: Name of the table in messages.
        origin: Origin of the measurements.
        layers_ms: Latency of each layer in milliseconds.
        spread_ms: Standard error of each latency in milliseconds; NaN where it is unknown.
        correction: Correction that was fitted on whole networks.
        checked: Error on networks of a check; None if the table was never checked.
        max_error: Largest error with which the table is used.
        path: File that the table was read from; None if it was not read from a file.

    A made-up table that gives each layer of a network a tenth of a millisecond:

    >>> from nas.arch.presets import preset
    >>> arch = preset("mnasnet-small")
    >>> machine = Machine("any", "avx2", 4, "", "Linux x86_64", "1.20.0")
    >>> origin = Origin(machine, Device(), "any", 2.6, "any", 1000, "same", "0.1.0", "2026-01-01 00:00", 2)
    >>> layers = tuple(fragment_layers(whole(arch)))
    >>> table = LatencyTable("example", origin, dict.fromkeys(layers, 0.1), dict.fromkeys(layers, 0.0))
    >>> round(table.estimate(arch).value / 0.1) == len(layers)
    True
    """

    name: str
    origin: Origin
    layers_ms: Mapping[Layer, float]
    spread_ms: Mapping[Layer, float]
    correction: Correction = NO_CORRECTION
    checked: CheckedError | None = None
    max_error: float = MAX_ERROR
    path: Path | None = None
    _cache: dict[tuple[Part, Shape], tuple[tuple[float, ...], Shape]] = field(factory=dict, init=False, repr=False)

    def estimate(self, arch: Architecture) -> Cost:
        """Return the predicted latency of a network; see `CostModel`.

        The spread comes from `error`; it is NaN where that is unknown.

        Raises:
            TargetError: The table lacks a layer, or was made for another number of classes or another padding.
        """
        value, error = self.predict(whole(arch)), self.error
        return Cost(value, UNIT, f"table {self.name}", math.nan if error is None else value * error)

    @property
    def error(self) -> float | None:
        """Return one standard deviation of a prediction as a share of it; None where it is unknown.

        It is the root mean square of the relative error, which counts rare large errors, since those miss a target. It
        comes from the networks of a check, or else from those that were left out of the fit in turn.
        """
        return self.correction.error if self.checked is None else self.checked.error

    @property
    def is_usable(self) -> bool:
        """Return whether the error is not known to exceed its limit."""
        return self.error is None or self.error <= self.max_error

    def predict(self, fragment: Fragment) -> float:
        """Return the predicted latency of a network in milliseconds.

        Raises:
            TargetError: See `estimate`.
        """
        self.check_task(fragment.classes, fragment.padding)
        shape, total = fragment.shape, self.correction.intercept
        for part in fragment.parts:
            (value,), shape = self._part_ms(part, shape, fragment.classes)
            total += value
        return total

    def layer_latency(self, part: Part, shape: Shape) -> float:
        """Return the predicted latency of one layer inside a network in milliseconds, without the overhead of a run.

        Args:
            part: A stem, a head or one layer of a stage.
            shape: Shape of its input.

        Raises:
            TargetError: The table lacks the layer.
        """
        (layer,), _ = part_layers(part, shape, self.origin.classes)
        return self._corrected_ms(layer)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the predicted latencies `(N,)` of many architectures; see `ChainCostModel`."""
        if not len(index):
            return np.zeros(0)
        return np.asarray(chain_figures(chain, index, self._part_ms)[:, :, 0].sum(axis=0) + self.correction.intercept)

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the cost range of a chain; see `ChainCostModel`."""
        # The intercept is the same for all networks, so that it shifts both bounds.
        low, high = chain_range(chain, self._part_ms, add)
        return low + self.correction.intercept, high + self.correction.intercept

    def kind_sums(self, fragment: Fragment) -> tuple[float, ...]:
        """Return the summed milliseconds of the layers of each kind, in the order of `KINDS` and without correction."""
        totals = dict.fromkeys(KINDS, 0.0)
        for layer in fragment_layers(fragment):
            totals[layer_kind(layer.part)] += self._layer_ms(layer)
        return tuple(totals.values())

    def check_chain(self, chain: Chain, padding: str) -> None:
        """Check that the table has all layers of a space.

        Args:
            chain: All architectures of the space.
            padding: Padding of the space.

        Raises:
            TargetError: The table lacks a layer, which the message names, or is for other classes or another padding.
        """
        self.check_task(chain.classes, padding)
        for layer in distinct_layers(chain):
            self._layer_ms(layer)

    def check_task(self, classes: int, padding: str) -> None:
        """Check that the table is for a number of classes and a padding.

        Raises:
            TargetError: It is for others.
        """
        for what, own, asked in (
            ("classes", self.origin.classes, classes),
            ("padding", self.origin.padding, padding),
        ):
            if own != asked:
                option = f" --classes {classes}" if what == "classes" else ""
                raise TargetError(
                    f"latency table {self.name} is of {what} {own}, not {asked}, and latencies depend on it",
                    f"make one for this task with `nas latency table{option}`",
                )

    def _part_ms(self, part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
        # Two threads may compute the same value; writing it twice changes nothing.
        key = (part, shape)
        if key not in self._cache:
            layers, out = part_layers(part, shape, classes)
            self._cache[key] = ((math.fsum(map(self._corrected_ms, layers)),), out)
        return self._cache[key]

    def _corrected_ms(self, layer: Layer) -> float:
        return self.correction.factors[layer_kind(layer.part)] * self._layer_ms(layer)

    def _layer_ms(self, layer: Layer) -> float:
        time = self.layers_ms.get(layer)
        if time is None:
            shape = f"{layer.shape.channels}x{layer.shape.height}x{layer.shape.width}"
            raise TargetError(
                f"latency table {self.name} has no layer {format_part(layer.part, '')!r} on {shape}",
                "the table is of another space or resolution; make one with `nas latency table`",
            )
        return time
