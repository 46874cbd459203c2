"""Costs that are counted from the shape walk alone, without torch: MACs, parameters, peak activation memory, size.

MACs are the multiply-adds of convolutions, squeeze-and-excitation and the classifier. One multiply-add counts as one,
as in the "FLOPS" of the MobileNet, MnasNet and EfficientNet papers; normalization, biases, activations and pooling
are not counted. The cost of each part is cached, so that the cost of an architecture is a sum of a few look-ups.
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
from nas.cost.chain import chain_figures, chain_range
from nas.errors import TargetError

BYTES_PER_ELEMENT: Mapping[str, int] = MappingProxyType({"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1})
# Operators whose output is written over their first input, as inference engines do.
IN_PLACE = frozenset({"activation", "scale", "add", "dropout"})


def element_bytes(precision: str) -> int:
    """Return the number of bytes of one element.

    Raises:
        TargetError: The precision is unknown.
    """
    if precision not in BYTES_PER_ELEMENT:
        known = ", ".join(BYTES_PER_ELEMENT)
        raise TargetError(f"unknown precision {precision!r}, whose bytes are not known", f"give one of {known}")
    return BYTES_PER_ELEMENT[precision]


# The counted figures in the order of `Costs`, each with the operation that combines two parts.
REDUCTIONS: Mapping[str, np.ufunc] = MappingProxyType(
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
    """Hold the counted figures of one part and the shape of its output; `Costs` explains the figures."""

    macs: int
    params: int
    peak_elements: int
    weights: int
    biases: int
    activations: int
    shape: Shape


@frozen
class Costs:
    """Hold the counted costs of one architecture, for one image.

    Attributes:
        macs: Number of multiply-adds.
        params: Number of trainable parameters.
        peak_elements: Largest number of activation elements in memory at the same time, which includes the input image.
        weights: Number of elements in kernels and matrices.
        biases: Number of biases in the deployed network: one for each output channel of a convolution or matrix.
        activations: Number of elements in the outputs of all convolutions (arXiv 2003.13678, section 3.2).
    """

    macs: int
    params: int
    peak_elements: int
    weights: int
    biases: int
    activations: int

    def peak_bytes(self, precision: str = "fp32") -> int:
        """Return the peak activation memory in bytes.

        Raises:
            TargetError: The precision is unknown.
        """
        return self.peak_elements * element_bytes(precision)


def node_macs(node: Node) -> int:
    """Return the number of multiply-adds of one node: each weight is used once for each output position."""
    return node.weights * node.shape.height * node.shape.width


def node_params(node: Node) -> int:
    """Return the number of parameters of one node.

    Each output channel has a bias, or the scale and shift of a normalization, which replaces the bias.
    """
    per_channel = 2 if node.norm else 1
    return node.weights + per_channel * node.shape.channels if node.weights else 0


def peak_elements(nodes: Sequence[Node], shape: Shape) -> int:
    """Return the largest number of elements in memory at the same time.

    A tensor is in memory from the node that computes it to the last node that reads it.

    Args:
        nodes: Nodes of a part in the order of execution.
        shape: Shape of the input of the part.
    """
    last_use = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    alive = {INPUT: shape.elements}
    peak = shape.elements
    for i, node in enumerate(nodes):
        # Only a tensor that no later node reads can be overwritten: a skip connection keeps its input.
        if node.op in IN_PLACE and last_use[node.inputs[0]] == i:
            del alive[node.inputs[0]]
        alive[node.name] = node.shape.elements
        peak = max(peak, sum(alive.values()))
        # The output of the part has no later reader here and stays: the next part reads it.
        alive = {name: size for name, size in alive.items() if last_use.get(name, len(nodes)) > i}
    return peak


@lru_cache(maxsize=262_144)
def layer_cost(part: Part, shape: Shape, classes: int) -> PartCost:
    """Return the cost of a stem, a head or a stage of one layer.

    Args:
        part: The part.
        shape: Shape of its input.
        classes: Number of classes.
    """
    nodes = walk_part(part, shape, classes)
    macs, params = sum(map(node_macs, nodes)), sum(map(node_params, nodes))
    weighted = [node for node in nodes if node.weights]
    weights, biases = sum(node.weights for node in weighted), sum(node.shape.channels for node in weighted)
    activations = sum(node.shape.elements for node in weighted if node.op == "conv")
    return PartCost(macs, params, peak_elements(nodes, shape), weights, biases, activations, nodes[-1].shape)


@lru_cache(maxsize=262_144)
def part_cost(part: Part, shape: Shape, classes: int) -> PartCost:
    """Return the cost of a stem, a head or a whole stage.

    Only the first two layers of a stage are walked: all later layers equal the second one, with stride 1 and the same
    number of input and output channels.
    """
    if not isinstance(part, Stage) or part.layers == 1:
        return layer_cost(part, shape, classes)
    layer = attrs.evolve(part, layers=1)
    first = layer_cost(layer, shape, classes)
    later, times = layer_cost(attrs.evolve(layer, stride=1), first.shape, classes), part.layers - 1
    return PartCost(
        first.macs + times * later.macs,
        first.params + times * later.params,
        max(first.peak_elements, later.peak_elements),
        first.weights + times * later.weights,
        first.biases + times * later.biases,
        first.activations + times * later.activations,
        later.shape,
    )


@frozen
class PlacedCost:
    """Hold the cost of one part in its place.

    Attributes:
        name: "stem", "stage1" and so on, or "head".
        part: The stem, stage or head.
        shape: Shape of its input.
        cost: Its cost.
    """

    name: str
    part: Part
    shape: Shape
    cost: PartCost


def place_costs(arch: Architecture) -> tuple[PlacedCost, ...]:
    """Return the cost of the stem, each stage and the head, in this order."""
    names = ("stem", *(f"stage{i}" for i in range(1, len(arch.stages) + 1)), "head")
    places: list[PlacedCost] = []
    shape = input_shape(arch)
    for name, part in zip(names, (arch.stem, *arch.stages, arch.head), strict=True):
        places.append(PlacedCost(name, part, shape, part_cost(part, shape, arch.classes)))
        shape = places[-1].cost.shape
    return tuple(places)


def cost(arch: Architecture) -> Costs:
    """Return the counted costs of one architecture, for one image.

    The figures of EfficientNet-B0 are those of its paper (arXiv 1905.11946, table 2: 0.39B FLOPS, 5.3M parameters):

    >>> from nas.arch.presets import preset
    >>> costs = cost(preset("efficientnet-b0"))
    >>> costs.macs, costs.params
    (385814752, 5288548)
    >>> costs.peak_bytes("int8") * 4 == costs.peak_bytes("fp32")
    True
    """
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


def _part_figures(part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
    share = part_cost(part, shape, classes)
    return tuple(getattr(share, name) for name in REDUCTIONS), share.shape


def chain_costs(chain: Chain, index: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the costs `(N, figures)` of many architectures, with the figures in the order of `Costs`.

    Args:
        chain: The set of architectures.
        index: Options `(N, places)` that each architecture has.
    """
    if not len(index):
        return np.zeros((0, len(REDUCTIONS)), dtype=np.int64)
    figures = chain_figures(chain, index, _part_figures)
    totals = [reduction.reduce(figures[:, :, i], axis=0) for i, reduction in enumerate(REDUCTIONS.values())]
    # int64 is exact up to 2**63 and float64 up to 2**53, which is far above any network.
    return np.stack(totals, axis=1).astype(np.int64)


@frozen
class Counted:
    """Estimate one counted cost; this is a `ChainCostModel`.

    Attributes:
        unit: Unit of the cost.
        factors: Names of figures in `Costs`, each with its number of units.

    >>> from nas.arch.presets import preset
    >>> MACS.estimate(preset("efficientnet-b0"))
    Cost(value=385814752, unit='MACs', source='counted', spread=0.0, noisy=False)
    """

    unit: str
    factors: tuple[tuple[str, float], ...]

    def estimate(self, arch: Architecture) -> Cost:
        """Return the exact cost; see `CostModel`."""
        costs = cost(arch)
        return Cost(sum(getattr(costs, name) * factor for name, factor in self.factors), self.unit, "counted")

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the costs `(N,)` of many architectures; see `ChainCostModel`."""
        if not len(index):
            return np.zeros(0)
        return np.asarray(self._reduction.reduce(chain_figures(chain, index, self._part_figures)[:, :, 0], axis=0))

    def span(self, chain: Chain) -> tuple[float, float]:
        """Return the cost range of a chain; see `ChainCostModel`."""
        return chain_range(chain, self._part_figures, lambda a, b: float(self._reduction(a, b)))

    @property
    def _reduction(self) -> np.ufunc:
        return REDUCTIONS[self.factors[0][0]]

    def _part_figures(self, part: Part, shape: Shape, classes: int) -> tuple[tuple[float, ...], Shape]:
        share = part_cost(part, shape, classes)
        return (sum(getattr(share, name) * factor for name, factor in self.factors),), share.shape


MACS = Counted("MACs", (("macs", 1),))
PARAMS = Counted("params", (("params", 1),))


def peak_memory(precision: str = "fp32") -> Counted:
    """Return the cost model of the peak activation memory in bytes, for a batch of one image.

    Raises:
        TargetError: The precision is unknown.

    >>> from nas.arch.presets import preset
    >>> peak_memory("int8").estimate(preset("efficientnet-b0")).unit
    'bytes'
    """
    return Counted("bytes", (("peak_elements", element_bytes(precision)),))


# An int8 network adds its biases to sums of products, which are 32-bit integers, so that a bias has 32 bits too.
BIAS_BYTES: Mapping[str, int] = MappingProxyType({**BYTES_PER_ELEMENT, "int8": 4})


def size(precision: str = "fp32") -> Counted:
    """Return the cost model of the size in bytes of the deployed weights.

    Normalizations are folded into the convolutions before them, so that each output channel has a bias.

    Raises:
        TargetError: The precision is unknown.
    """
    return Counted("bytes", (("weights", element_bytes(precision)), ("biases", BIAS_BYTES[precision])))


# The costs that a study stores for every architecture, whatever its targets are.
COUNTED: CostModels = MappingProxyType({"macs": MACS, "params": PARAMS, "peak_bytes": peak_memory()})
