"""A simulated device whose true latencies are known."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from nas.arch.code import format_part
from nas.arch.layers import Node, PlacedPart, Shape
from nas.cost.correction import layer_kind
from nas.device.logits import DeviceLogits
from nas.device.machine import Machine
from nas.device.model_file import ModelFile
from nas.device.reference import REFERENCE
from nas.device.run_model import run_model
from nas.device.spec import Device
from nas.device.timing import Aim, Timing, Turns
from nas.errors import DeviceError
from nas.graph.fragment import Fragment

MACHINE = Machine("Simulated 1/2/3", "avx2", 4, "", "Linux x86_64", "1.99.0")
OVERHEAD_MS = 0.05
MACS_PER_MS = 2e7
MOVED_PER_MS = 5e7
LAYOUT_PER_MS = 2e7
# Constant time of each operator; an activation has none, since it is computed with the convolution before it.
CONSTANT_MS: Mapping[str, float] = MappingProxyType(
    {"conv": 0.004, "linear": 0.006, "mean": 0.003, "scale": 0.002, "pool": 0.005, "resize": 0.003, "add": 0.002}
)


def _text(fragment: Fragment) -> tuple[object, ...]:
    """Return a fragment as text, which new fields with default values do not change."""
    return (*(format_part(part, "relu") for part in fragment.parts), fragment.shape, fragment.classes, fragment.padding)


@define(eq=False)
class FakeMeter:
    """Simulate a device with a true time for each layer, drift and noise; this is a `nas.device.client.Meter`.

    The noise of a batch depends on the batch and on how often it was measured, and not on other measurements.

    Attributes:
        machine: Machine that it reports.
        noise: Standard deviation of a ratio, as a share of it.
        drift: Slowdown of everything with each batch, as a share.
        fails_at: Number of the batch, counted from 0, at which each attempt fails; None for a device that never fails.
        failure: Error of such an attempt.
        factors: Factor of the time of each kind of layer.
        seed: Seed of the noise.
        device: Device specification.
        measured: Measured batches.
    """

    machine: Machine = MACHINE
    noise: float = 0.0
    drift: float = 0.0
    fails_at: int | None = None
    failure: DeviceError = field(factory=lambda: DeviceError("the simulated device failed", "create another one"))
    factors: Mapping[str, float] = field(factory=dict)
    seed: int = 0
    device: Device = field(factory=Device)
    measured: list[tuple[Fragment, ...]] = field(factory=list, init=False)
    _request_count: Counter[int] = field(factory=Counter, init=False)
    _hidden: dict[Fragment, float] = field(factory=dict, init=False)

    def hidden_ms(self, fragment: Fragment) -> float:
        """Return the time of a fragment without drift and noise."""
        if fragment not in self._hidden:
            placed = fragment.walk()
            ends = _layout_ms(fragment.shape) + _layout_ms(placed[-1].nodes[-1].shape)
            self._hidden[fragment] = OVERHEAD_MS + ends + sum(self.layer_ms(each) for each in placed)
        return self._hidden[fragment]

    def layer_ms(self, placed: PlacedPart) -> float:
        """Return the time of a layer inside a network."""
        shapes = {"input": placed.shape} | {node.name: node.shape for node in placed.nodes}
        total = sum(_node_ms(node, [shapes[name] for name in node.inputs]) for node in placed.nodes)
        return self.factors.get(layer_kind(placed.part), 1.0) * total

    @property
    def reference_ms(self) -> float:
        """Return the time of the reference without drift and noise."""
        return self.hidden_ms(REFERENCE)

    def measure(self, candidates: Sequence[Fragment | ModelFile], aim: Aim) -> Turns:
        """Return simulated times; see `Meter`. Files have no known times."""
        fragments = [each for each in candidates if isinstance(each, Fragment)]
        assert len(fragments) == len(candidates)
        if len(self.measured) == self.fails_at:
            raise self.failure
        batch = zlib.crc32(repr([_text(fragment) for fragment in fragments]).encode())
        rng = np.random.default_rng([self.seed, batch, self._request_count[batch]])
        slowdown = (1 + self.drift) ** len(self.measured)
        ratios = np.array([self.hidden_ms(each) for each in fragments]) / self.reference_ms
        noisy = ratios * (1 + self.noise * np.clip(rng.standard_normal(len(ratios)), -3, 3))
        self._request_count[batch] += 1
        self.measured.append(tuple(fragments))
        reference, *timings = (self._timing(float(ratio), slowdown, aim) for ratio in (1.0, *noisy))
        round_ms = tuple(timing.median_ms for timing in (reference, *timings))
        return Turns(tuple(timings), reference, self.noise, 6 * (1 + len(fragments)), (round_ms,) * aim.least)

    def measure_each(self, batches: Sequence[Sequence[Fragment | ModelFile]], aim: Aim) -> Iterator[Turns]:
        """Measure batches one after another; see `Meter`."""
        return (self.measure(batch, aim) for batch in batches)

    def logits(self, model: ModelFile, images: NDArray[np.generic]) -> DeviceLogits:
        """Return the logits that this process computes, with an unknown peak; see `Meter`."""
        return DeviceLogits(run_model(model.data, images, self.device), None, self.device.provider)

    def _timing(self, ratio: float, slowdown: float, aim: Aim) -> Timing:
        now_ms = ratio * self.reference_ms * slowdown
        return Timing(ratio, self.noise, now_ms, now_ms, now_ms, aim.least)


def _layout_ms(shape: Shape) -> float:
    """Return the time of a layout conversion at one end of a fragment."""
    return shape.elements / LAYOUT_PER_MS


def _node_ms(node: Node, inputs: Sequence[Shape]) -> float:
    if node.op not in CONSTANT_MS:
        return 0.0
    macs = node.weights * node.shape.height * node.shape.width
    moved = node.shape.elements + sum(shape.elements for shape in inputs)
    return CONSTANT_MS[node.op] + macs / MACS_PER_MS + moved / MOVED_PER_MS
