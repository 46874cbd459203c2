"""A made-up device whose times are known."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from attrs import define, field

from nas.arch.code import format_part
from nas.arch.layers import Node, PlacedPart, Shape
from nas.cost.correction import layer_kind
from nas.device.machine import Machine
from nas.device.reference import REFERENCE
from nas.device.spec import Device
from nas.device.timing import Aim, Timing, Turns
from nas.errors import DeviceError
from nas.graph.fragment import Fragment

MACHINE = Machine("Made-up 1/2/3", "avx2 made-up", 4, "", "Linux x86_64", "1.99.0")
OVERHEAD_MS = 0.05
MACS_A_MS = 2e7
MOVED_A_MS = 5e7
LAYOUT_A_MS = 2e7
# Of being there at all; an activation is computed along with the convolution before it.
CONSTANT_MS: Mapping[str, float] = MappingProxyType(
    {"conv": 0.004, "linear": 0.006, "mean": 0.003, "scale": 0.002, "pool": 0.005, "resize": 0.003, "add": 0.002}
)


def _text(fragment: Fragment) -> tuple[object, ...]:
    """A fragment as it is written, which new fields of a part do not change."""
    return (*(format_part(part, "relu") for part in fragment.parts), fragment.shape, fragment.classes, fragment.padding)


@define(eq=False)
class FakeMeter:
    """A `nas.device.client.Meter` of a device that has a hidden time for each layer, drifts, and is noisy.

    What it says of a batch depends on the batch and on how often it was asked for, and not on what else was measured.

    Attributes:
        machine: that it gives itself out for.
        noise: standard deviation of a ratio, as a share of it.
        drift: how much slower everything becomes with each batch, as a share.
        failure: what it raises then.
        fails_at: number of the batch, counted from 0, at which it fails, each time it comes there; None never does.
        factors: how much longer layers of a kind take than usual.
        seed: of the noise.
        device: how networks run.
        measured: batches that were measured.
    """

    machine: Machine = MACHINE
    noise: float = 0.0
    drift: float = 0.0
    fails_at: int | None = None
    failure: DeviceError = field(factory=lambda: DeviceError("the made-up device failed", "make it up again"))
    factors: Mapping[str, float] = field(factory=dict)
    seed: int = 0
    device: Device = field(factory=Device)
    measured: list[tuple[Fragment, ...]] = field(factory=list, init=False)
    _asked: Counter[int] = field(factory=Counter, init=False)
    _hidden: dict[Fragment, float] = field(factory=dict, init=False)

    def hidden_ms(self, fragment: Fragment) -> float:
        """What a fragment takes when nothing drifts or disturbs."""
        if fragment not in self._hidden:
            placed = fragment.walk()
            ends = _layout_ms(fragment.shape) + _layout_ms(placed[-1].nodes[-1].shape)
            self._hidden[fragment] = OVERHEAD_MS + ends + sum(self.layer_ms(each) for each in placed)
        return self._hidden[fragment]

    def layer_ms(self, placed: PlacedPart) -> float:
        """What a layer takes inside a network."""
        shapes = {"input": placed.shape} | {node.name: node.shape for node in placed.nodes}
        total = sum(_node_ms(node, [shapes[name] for name in node.inputs]) for node in placed.nodes)
        return self.factors.get(layer_kind(placed.part), 1.0) * total

    @property
    def reference_ms(self) -> float:
        """What the reference takes when nothing drifts or disturbs."""
        return self.hidden_ms(REFERENCE)

    def measure(self, fragments: Sequence[Fragment], aim: Aim) -> Turns:
        """See `Meter`."""
        if len(self.measured) == self.fails_at:
            raise self.failure
        batch = zlib.crc32(repr([_text(fragment) for fragment in fragments]).encode())
        rng = np.random.default_rng([self.seed, batch, self._asked[batch]])
        slower = (1 + self.drift) ** len(self.measured)
        ratios = np.array([self.hidden_ms(each) for each in fragments]) / self.reference_ms
        noisy = ratios * (1 + self.noise * np.clip(rng.standard_normal(len(ratios)), -3, 3))
        self._asked[batch] += 1
        self.measured.append(tuple(fragments))
        reference, *timings = (self._timing(float(ratio), slower, aim) for ratio in (1.0, *noisy))
        return Turns(tuple(timings), reference, self.noise, 6 * (1 + len(fragments)))

    def measure_each(self, batches: Sequence[Sequence[Fragment]], aim: Aim) -> Iterator[Turns]:
        """See `Meter`."""
        return (self.measure(batch, aim) for batch in batches)

    def _timing(self, ratio: float, slower: float, aim: Aim) -> Timing:
        now_ms = ratio * self.reference_ms * slower
        return Timing(ratio, self.noise, now_ms, now_ms, now_ms, aim.least)


def _layout_ms(shape: Shape) -> float:
    """Of changing the layout at an end of a run; layers inside do not pay it."""
    return shape.elements / LAYOUT_A_MS


def _node_ms(node: Node, inputs: Sequence[Shape]) -> float:
    if node.op not in CONSTANT_MS:
        return 0.0
    macs = node.weights * node.shape.height * node.shape.width
    moved = node.shape.elements + sum(shape.elements for shape in inputs)
    return CONSTANT_MS[node.op] + macs / MACS_A_MS + moved / MOVED_A_MS
