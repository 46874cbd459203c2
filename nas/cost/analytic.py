"""Costs that are counted from the shape walk alone, without torch: MACs, parameters, peak activation memory.

MACs are multiply-adds of convolutions, squeeze-and-excitation and the classifier, one multiply-add being one, as the papers'
"FLOPS" are; normalisation, biases, activations and pooling are not counted. Parts are costed once each and shared, so that
the cost of an architecture is a sum of a few look-ups.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.layers import INPUT, Node, Shape, input_shape, walk_part
from nas.arch.spec import Architecture, Part, Stage
from nas.cost.base import Cost
from nas.errors import NasError

BYTES_PER_ELEMENT: Mapping[str, int] = MappingProxyType({"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1})
# Written over their first input, as inference engines do.
IN_PLACE = frozenset({"activation", "scale", "add", "dropout"})


@frozen
class PartCost:
    """One part's share; peaks are maxima over parts, the rest are sums."""

    macs: int
    params: int
    peak_elements: int
    shape: Shape


@frozen
class Costs:
    """What is counted of one architecture, for one image.

    Attributes:
        macs: multiply-adds.
        params: trainable numbers.
        peak_elements: most numbers alive at once among activations, the input image included.
    """

    macs: int
    params: int
    peak_elements: int

    def peak_bytes(self, precision: str = "fp32") -> int:
        """Peak activation memory at a precision."""
        return self.peak_elements * BYTES_PER_ELEMENT[precision]


def node_macs(node: Node) -> int:
    """Multiply-adds of one node."""
    return node.weights * node.shape.height * node.shape.width


def node_params(node: Node) -> int:
    """Weights, and a bias or the two numbers of a normalisation for each output channel."""
    per_channel = 2 if node.norm else 1
    return node.weights + per_channel * node.shape.channels if node.weights else 0


def peak_elements(nodes: Sequence[Node], shape: Shape) -> int:
    """Most numbers alive at once: a tensor lives from the node that makes it to the last one that reads it."""
    last_read = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    alive = {INPUT: shape.elements}
    peak = shape.elements
    for i, node in enumerate(nodes):
        if node.op in IN_PLACE and last_read[node.inputs[0]] == i:
            del alive[node.inputs[0]]
        alive[node.name] = node.shape.elements
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last_read.get(name, len(nodes)) > i}
    return peak


@lru_cache(maxsize=262_144)
def layer_cost(part: Part, shape: Shape, classes: int) -> PartCost:
    """Cost of a stem, a head, or a stage of one layer, given its input's shape."""
    nodes = walk_part(part, shape, classes)
    macs, params = sum(map(node_macs, nodes)), sum(map(node_params, nodes))
    return PartCost(macs, params, peak_elements(nodes, shape), nodes[-1].shape)


@lru_cache(maxsize=262_144)
def part_cost(part: Part, shape: Shape, classes: int) -> PartCost:
    """Cost of a stem, a head, or a whole stage: its first layer, and the next one as often as it stands again."""
    if not isinstance(part, Stage) or part.layers == 1:
        return layer_cost(part, shape, classes)
    layer = attrs.evolve(part, layers=1)
    first = layer_cost(layer, shape, classes)
    again, times = layer_cost(attrs.evolve(layer, stride=1), first.shape, classes), part.layers - 1
    peak = max(first.peak_elements, again.peak_elements)
    return PartCost(first.macs + times * again.macs, first.params + times * again.params, peak, again.shape)


def cost(arch: Architecture) -> Costs:
    """MACs, parameters and peak activation memory of one architecture."""
    shape = input_shape(arch)
    macs = params = peak = 0
    for part in (arch.stem, *arch.stages, arch.head):
        share = part_cost(part, shape, arch.classes)
        macs, params, peak, shape = macs + share.macs, params + share.params, max(peak, share.peak_elements), share.shape
    return Costs(macs, params, peak)


def cost_table(archs: Iterable[Architecture]) -> NDArray[np.int64]:
    """Costs of many architectures: `(N, 3)`, columns MACs, parameters, peak elements."""
    return np.array([attrs.astuple(cost(arch)) for arch in archs], dtype=np.int64).reshape(-1, 3)
