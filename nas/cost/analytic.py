"""Costs that are counted from the shape walk alone, without torch: MACs, parameters, peak activation memory.

MACs are multiply-adds of convolutions, squeeze-and-excitation and the classifier, one multiply-add being one, as the
papers' "FLOPS" are; normalisation, biases, activations and pooling are not counted. Parts are costed once each and
shared, so that the cost of an architecture is a sum of a few look-ups.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from operator import add, attrgetter
from types import MappingProxyType

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.layers import INPUT, Node, Shape, input_shape, walk_part
from nas.arch.spec import Architecture, Part, Stage
from nas.cost.base import Chain, Cost, CostModels
from nas.errors import TargetError

BYTES_PER_ELEMENT: Mapping[str, int] = MappingProxyType({"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1})
# Written over their first input, as inference engines do.
IN_PLACE = frozenset({"activation", "scale", "add", "dropout"})


def element_bytes(precision: str) -> int:
    """Bytes of one number.

    Raises:
        TargetError: no such precision.
    """
    if precision not in BYTES_PER_ELEMENT:
        raise TargetError(f"unknown precision {precision!r}", f"use one of {', '.join(BYTES_PER_ELEMENT)}")
    return BYTES_PER_ELEMENT[precision]


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
        """Peak activation memory at a precision.

        Raises:
            TargetError: no such precision.
        """
        return self.peak_elements * element_bytes(precision)


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


@frozen
class Place:
    """A stem ("stem"), stage ("stage1" and so on) or head ("head") with its input's shape and its cost."""

    name: str
    part: Part
    shape: Shape
    cost: PartCost


def place_costs(arch: Architecture) -> tuple[Place, ...]:
    """What each stem, stage and head costs."""
    names = ("stem", *(f"stage{i}" for i in range(1, len(arch.stages) + 1)), "head")
    places: list[Place] = []
    shape = input_shape(arch)
    for name, part in zip(names, (arch.stem, *arch.stages, arch.head), strict=True):
        places.append(Place(name, part, shape, part_cost(part, shape, arch.classes)))
        shape = places[-1].cost.shape
    return tuple(places)


def cost(arch: Architecture) -> Costs:
    """MACs, parameters and peak activation memory of one architecture."""
    shares = []
    shape = input_shape(arch)
    for part in (arch.stem, *arch.stages, arch.head):
        shares.append(part_cost(part, shape, arch.classes))
        shape = shares[-1].shape
    return Costs(
        sum(share.macs for share in shares),
        sum(share.params for share in shares),
        max(share.peak_elements for share in shares),
    )


def _share(part: Part | None, shape: Shape, classes: int) -> PartCost:
    return PartCost(0, 0, 0, shape) if part is None else part_cost(part, shape, classes)


def chain_costs(chain: Chain, index: NDArray[np.intp]) -> NDArray[np.int64]:
    """Costs `(N, 3)` of many architectures (MACs, params, peak elements); equal parts are costed once."""
    shapes: dict[Shape, int] = {chain.shape: 0}
    state = np.zeros(len(index), dtype=np.int64)
    total = np.zeros((len(index), 3), dtype=np.int64)
    for options, column in zip(chain.options, index.T, strict=True):
        pairs, where = np.unique(state * len(options) + column, return_inverse=True)
        known = list(shapes)
        shares = [_share(options[pair % len(options)], known[pair // len(options)], chain.classes) for pair in pairs]
        state = np.array([shapes.setdefault(share.shape, len(shapes)) for share in shares], dtype=np.int64)[where]
        counts = [(share.macs, share.params, share.peak_elements) for share in shares]
        rows = np.array(counts, dtype=np.int64).reshape(-1, 3)[where]
        total[:, :2] += rows[:, :2]
        total[:, 2] = np.maximum(total[:, 2], rows[:, 2])
    return total


Join = Callable[[float, float], float]


def chain_span(chain: Chain, value: Callable[[PartCost], float], join: Join) -> tuple[float, float]:
    """Smallest and largest cost, exactly: the best way to every shape, place after place."""
    ends: dict[Shape, tuple[float, float]] = {chain.shape: (0.0, 0.0)}
    for options in chain.options:
        after: dict[Shape, tuple[float, float]] = {}
        for (shape, (low, high)), part in product(ends.items(), options):
            share = _share(part, shape, chain.classes)
            least, most = after.get(share.shape, (float("inf"), 0.0))
            after[share.shape] = (min(least, join(low, value(share))), max(most, join(high, value(share))))
        ends = after
    return min(low for low, _ in ends.values()), max(high for _, high in ends.values())


@frozen
class Counted:
    """One counted figure as a `ChainCostModel`.

    Attributes:
        unit: of the figure.
        field: its name in `Costs`.
        join: how parts make the whole, `add` or `max`.
        factor: units for one of `field`.
    """

    unit: str
    field: str
    join: Join = add
    factor: int = 1

    def estimate(self, arch: Architecture) -> Cost:
        """See `CostModel`; exact."""
        return Cost(getattr(cost(arch), self.field) * self.factor, self.unit, "counted")

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `ChainCostModel`."""
        column = list(attrs.fields_dict(Costs)).index(self.field)
        return chain_costs(chain, index)[:, column].astype(np.float64) * self.factor

    def span(self, chain: Chain) -> tuple[float, float]:
        """See `ChainCostModel`."""
        low, high = chain_span(chain, attrgetter(self.field), self.join)
        return low * self.factor, high * self.factor


MACS = Counted("MACs", "macs")
PARAMS = Counted("params", "params")


def peak_memory(precision: str = "fp32") -> Counted:
    """Peak activation memory in bytes at batch 1.

    Raises:
        TargetError: no such precision.
    """
    return Counted("bytes", "peak_elements", max, element_bytes(precision))


# What is kept of every architecture, whatever the targets are.
COUNTED: CostModels = MappingProxyType({"macs": MACS, "params": PARAMS, "peak_bytes": peak_memory()})
