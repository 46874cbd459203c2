"""Multiply-adds and parameters of an ONNX graph, counted from its operators and the shapes of its tensors.

The convention is that of `nas.cost.analytic`: one multiply-add counts as one; convolutions, linear layers and the two
matrix products of an attention count, and biases, normalizations, activations and pooling do not. What is computed from
constants alone does not count, because ONNX Runtime computes it once, when it loads the network. An operator that is in
no table of `nas.device.onnx_operators` is named and makes the number unknown: it is not counted as zero.
"""

import math
from collections.abc import Iterable, Sequence

import onnx
from attrs import define, field, frozen
from onnx import TensorProto

from nas.device.onnx_operators import COUNTED, FLOATS, FREE, HALF, INTEGER, QUANTIZING, SETTINGS, WEIGHTED, Shapes

MOST_ORIGINS = 64
"""Largest number of tensors of the file from which one constant is computed; it bounds the time for a hostile file."""


@frozen
class OnnxCost:
    """Hold what was counted in an ONNX graph, for one image.

    Attributes:
        macs: Multiply-adds of the operators that can be counted.
        params: Number of values in weights, biases, and scales and shifts of normalizations. Where normalizations are
            folded into convolutions, theirs are gone. None where a weight is computed from too many tensors.
        precision: "int8" where the graph quantizes values, "fp16" where it has weights of 16 bits, else "fp32".
        uncounted: Operators whose multiply-adds are not known, each once, in the order of the graph.
    """

    macs: int
    params: int | None
    precision: str
    uncounted: tuple[str, ...] = ()

    @property
    def known_macs(self) -> int | None:
        """Return the multiply-adds, or None if an operator could not be counted."""
        return None if self.uncounted else self.macs


@define(eq=False)
class _Constants:
    """Follow constants through a graph to the operators that read them.

    Attributes:
        sizes: Number of values of each tensor of the file.
        floats: Tensors of the file that hold real numbers.
        origins: For each value that is computed from constants alone, the tensors of the file that are its numbers.
        params: Tensors of the file that are parameters.
        are_known: Whether the origins of all constants are known.
    """

    sizes: dict[str, int] = field(factory=dict)
    floats: set[str] = field(factory=set)
    origins: dict[str, frozenset[str]] = field(factory=dict)
    params: set[str] = field(factory=set)
    are_known: bool = True

    def add(self, name: str, tensor: TensorProto) -> None:
        """Add a tensor of the file."""
        self.sizes[name] = math.prod(tensor.dims)
        self.origins[name] = frozenset({name})
        if tensor.data_type in FLOATS:
            self.floats.add(name)

    def are(self, names: Iterable[str]) -> bool:
        """Return whether all of these values are computed from constants alone."""
        return all(name in self.origins for name in names if name)

    def read(self, node: onnx.NodeProto) -> frozenset[str]:
        """Return the tensors of the file whose numbers an operator reads as weights."""
        settings = SETTINGS.get(node.op_type, ())
        read = [name for at, name in enumerate(node.input) if name in self.origins and at not in settings]
        found = frozenset(origin for name in read for origin in self.origins[name])
        return found if node.op_type in INTEGER else found & self.floats

    def fold(self, node: onnx.NodeProto) -> None:
        """Take the outputs of an operator on constants as constants."""
        read = self.read(node)
        if node.op_type in INTEGER:
            self.floats |= read
        if len(read) > MOST_ORIGINS:
            read, self.are_known = frozenset(), False
        self.origins.update(dict.fromkeys((name for name in node.output if name), read))

    def count(self) -> int | None:
        """Return the number of parameters, or None if it is not known."""
        return sum(self.sizes[name] for name in self.params) if self.are_known else None


def count_graph(graph: onnx.GraphProto, shapes: Shapes, batch: int = 1) -> OnnxCost:
    """Return the multiply-adds for one image and the parameters of a graph.

    Args:
        graph: Graph whose operators are in the order in which they run.
        shapes: Shape of every tensor, as `nas.device.onnx_shapes.known_shapes` returns it.
        batch: Number of images of the shapes.
    """
    constants = _Constants()
    for tensor in graph.initializer:
        constants.add(tensor.name, tensor)
    macs, uncounted = 0, dict[str, None]()
    # What comes before the first weight prepares images, such as a normalization, and has no parameters.
    behind_weights: set[str] = set()
    for node in graph.node:
        if node.op_type == "Constant":
            _add_constant(constants, node)
        elif constants.are(node.input) and node.input:
            constants.fold(node)
        else:
            found = _macs(node, shapes)
            macs += found or 0
            if found is None:
                uncounted[node.op_type] = None
            is_weighted = node.op_type in WEIGHTED
            if is_weighted or not behind_weights.isdisjoint(node.input):
                behind_weights.update(node.output)
                read = constants.read(node)
                constants.params |= {name for name in read if is_weighted or constants.sizes[name] > 1}
    return OnnxCost(-(-macs // batch), constants.count(), _precision(graph), tuple(uncounted))


def _precision(graph: onnx.GraphProto) -> str:
    if any(node.op_type in QUANTIZING for node in graph.node):
        return "int8"
    return "fp16" if any(tensor.data_type in HALF for tensor in graph.initializer) else "fp32"


def _add_constant(constants: _Constants, node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            constants.add(node.output[0], attribute.t)
            return
    constants.origins[node.output[0]] = frozenset()  # a number or a list of numbers, which is a setting


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return the multiply-adds of an operator for the whole batch; None where they are not known."""
    if node.op_type in FREE:
        return 0
    count = COUNTED.get(node.op_type)
    try:
        return None if count is None else count(node, shapes)
    except (LookupError, StopIteration):  # a shape has fewer dimensions than the operator needs
        return None


def describe_uncounted(operators: Sequence[str]) -> str:
    """Return a sentence about operators that were not counted.

    >>> describe_uncounted(["LSTM"])
    'its operator LSTM cannot be counted, so its multiply-adds are unknown'
    """
    names = ", ".join(operators)
    return f"its operator{'s' * (len(operators) > 1)} {names} cannot be counted, so its multiply-adds are unknown"
