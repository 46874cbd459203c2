"""Costs that are counted from the shape walk alone, without torch: MACs, parameters, peak activation memory.

MACs are multiply-adds of convolutions, squeeze-and-excitation and the classifier, one multiply-add being one, as the
papers' "FLOPS" are; normalisation, biases, activations and pooling are not counted. Parts are costed once each and
shared, so that the cost of an architecture is a sum of a few look-ups.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.layers import INPUT, Node, Shape, input_shape, walk_part
from nas.arch.spec import Architecture, Part, Stage
from nas.cost.base import Chain, Cost, CostModels
from nas.cost.chain import chain_shares, chain_span
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


# What is counted, in the order of `Costs`, and how parts make the whole.
JOINS: Mapping[str, np.ufunc] = MappingProxyType(
    {
        "macs": np.add,
        "params": np.add,
        "peak_elements": np.maximum,
        "weights": np.add,
        "biases": np.add,
        "activations": np.add,
    }
)


@frozen
class PartCost:
    """One part's share; peaks are maxima over parts, the rest are sums."""

    macs: int
    params: int
    peak_elements: int
    weights: int
    biases: int
    activations: int
    shape: Shape


@frozen
class Costs:
    """What is counted of one architecture, for one image.

    Attributes:
        macs: multiply-adds.
        params: trainable numbers.
        peak_elements: most numbers alive at once among activations, the input image included.
        weights: numbers in kernels and matrices.
        biases: of a deployed network, one for each channel of a convolution or matrix.
        activations: numbers in the outputs of all convolutions (arXiv 2003.13678, section 3.2).
    """

    macs: int
    params: int
    peak_elements: int
    weights: int
    biases: int
    activations: int

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
    weighted = [node for node in nodes if node.weights]
    weights, biases = sum(node.weights for node in weighted), sum(node.shape.channels for node in weighted)
    activations = sum(node.shape.elements for node in weighted if node.op == "conv")
    return PartCost(macs, params, peak_elements(nodes, shape), weights, biases, activations, nodes[-1].shape)


@lru_cache(maxsize=262_144)
def part_cost(part: Part, shape: Shape, classes: int) -> PartCost:
    """Cost of a stem, a head, or a whole stage: its first layer, and the next one as often as it stands again."""
    if not isinstance(part, Stage) or part.layers == 1:
        return layer_cost(part, shape, classes)
    layer = attrs.evolve(part, layers=1)
    first = layer_cost(layer, shape, classes)
    again, times = layer_cost(attrs.evolve(layer, stride=1), first.shape, classes), part.layers - 1
    return PartCost(
        first.macs + times * again.macs,
        first.params + times * again.params,
        max(first.peak_elements, again.peak_elements),
        first.weights + times * again.weights,
        first.biases + times * again.biases,
        first.activations + times * again.activations,
        again.shape,
    )


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
        sum(share.weights for share in shares),
        sum(share.biases for share in shares),
        sum(share.activations for share in shares),
    )


def _figures(part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
    share = part_cost(part, shape, classes)
    return tuple(getattr(share, name) for name in JOINS), share.shape


def chain_costs(chain: Chain, index: NDArray[np.intp]) -> NDArray[np.int64]:
    """Costs `(N, figures)` of many architectures in the order of `Costs`; equal parts are costed once."""
    if not len(index):
        return np.zeros((0, len(JOINS)), dtype=np.int64)
    shares = chain_shares(chain, index, _figures)
    joined = [join.reduce(shares[:, :, i], axis=0) for i, join in enumerate(JOINS.values())]
    return np.stack(joined, axis=1).astype(np.int64)


@frozen
class Counted:
    """One counted figure as a `ChainCostModel`.

    Attributes:
        unit: of the figure.
        factors: names in `Costs` with the units that one of each makes.
    """

    unit: str
    factors: tuple[tuple[str, float], ...]

    def estimate(self, arch: Architecture) -> Cost:
        """See `CostModel`; exact."""
        costs = cost(arch)
        return Cost(sum(getattr(costs, name) * factor for name, factor in self.factors), self.unit, "counted")

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `ChainCostModel`."""
        if not len(index):
            return np.zeros(0)
        return np.asarray(self._join.reduce(chain_shares(chain, index, self._share)[:, :, 0], axis=0))

    def span(self, chain: Chain) -> tuple[float, float]:
        """See `ChainCostModel`."""
        return chain_span(chain, self._share, lambda a, b: float(self._join(a, b)))

    @property
    def _join(self) -> np.ufunc:
        return JOINS[self.factors[0][0]]

    def _share(self, part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
        share = part_cost(part, shape, classes)
        return (sum(getattr(share, name) * factor for name, factor in self.factors),), share.shape


MACS = Counted("MACs", (("macs", 1),))
PARAMS = Counted("params", (("params", 1),))


def peak_memory(precision: str = "fp32") -> Counted:
    """Peak activation memory in bytes at batch 1.

    Raises:
        TargetError: no such precision.
    """
    return Counted("bytes", (("peak_elements", element_bytes(precision)),))


# A bias is added to sums of products: int8 networks keep it in 32 bits.
BIAS_BYTES: Mapping[str, int] = MappingProxyType({**BYTES_PER_ELEMENT, "int8": 4})


def size(precision: str = "fp32") -> Counted:
    """Bytes of the weights as they are deployed: normalisations folded, so that each channel has a bias.

    Raises:
        TargetError: no such precision.
    """
    return Counted("bytes", (("weights", element_bytes(precision)), ("biases", BIAS_BYTES[precision])))


# What is kept of every architecture, whatever the targets are.
COUNTED: CostModels = MappingProxyType({"macs": MACS, "params": PARAMS, "peak_bytes": peak_memory()})
