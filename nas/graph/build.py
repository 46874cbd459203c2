"""Building the ONNX graph of a fragment of an architecture from the nodes of `nas.arch.layers`.

The operators are the same as in the graph that `torch.onnx.export` writes for the torch model, after batch
normalization is folded into the convolutions. ONNX Runtime therefore optimizes both graphs to the same operators.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import onnx
from attrs import define, field
from onnx import TensorProto, helper, numpy_helper

from nas.arch.layers import INPUT, Node, PlacedPart, Shape, same_padding
from nas.errors import ArchitectureError
from nas.graph.form import OPSET
from nas.graph.fragment import Fragment
from nas.graph.weights import Weights, random_weights, weighted

IR_VERSION = 10
OUTPUT = "output"
BATCH = "batch"  # name of an open number of images
# A protobuf message has less than 2 GB. One MiB is left for the parts of the message that are not weights.
LARGEST_BYTES = 2**31 - 2**20


def build_graph(
    fragment: Fragment,
    weights: Weights | None = None,
    *,
    batch: int | None = 1,
    operators: "Operators | None" = None,
) -> onnx.ModelProto:
    """Return the ONNX graph of a fragment.

    The graph has one input, `input` of shape `(batch, C, H, W)`, and one output, `output`. The shape of the output of a
    whole network is `(batch, classes)`.

    Args:
        fragment: Parts of a network to build.
        weights: Weights by name, as `folded_weights` returns them. By default they are random.
        batch: Number of images in a batch; None leaves it open, as the symbolic dimension `BATCH`.
        operators: Operators to build the graph from; by default those of `nas.graph.form.FORM`. Others are for
            comparisons.

    Raises:
        ArchitectureError: The weights are too large for one ONNX file.

    >>> from nas.arch.presets import preset
    >>> from nas.graph.fragment import whole
    >>> graph = build_graph(whole(preset("mobilenetv2").adapted(resolution=32, classes=10)))
    >>> len(graph.graph.node), graph.graph.node[0].op_type, graph.graph.node[-1].op_type
    (100, 'Conv', 'Gemm')
    """
    parts = fragment.walk()
    _check_size(parts)
    builder = _GraphBuilder(
        random_weights(parts) if weights is None else weights, fragment.padding, batch, operators or OPERATORS
    )
    value = INPUT
    for placed in parts:
        value = _append_part(builder, placed, value, last=placed is parts[-1])
    return _model(builder, fragment.shape, parts[-1].nodes[-1])


def _check_size(parts: Iterable[PlacedPart]) -> None:
    count = sum(node.weights + node.shape.channels for _, node in weighted(parts))  # The channels are the biases.
    if 4 * count > LARGEST_BYTES:
        raise ArchitectureError(
            f"the network has {count:,} weights, which do not fit into one ONNX file of at most 2 GB",
            "use a network with fewer than 500M parameters",
        )


def _append_part(builder: "_GraphBuilder", placed: PlacedPart, value: str, *, last: bool) -> str:
    """Append the operators of one part.

    Args:
        builder: Builder that the operators are appended to.
        placed: Part of the network.
        value: Name of the part's input.
        last: Whether this is the last part of the fragment, whose output is the output of the graph.

    Returns:
        The name of the part's output.
    """
    names, shapes = {INPUT: value}, {INPUT: placed.shape}
    for node in placed.nodes:
        name = f"{placed.name}.{node.name}"
        output = OUTPUT if last and node is placed.nodes[-1] else name
        context = NodeContext(builder, name, [names[read] for read in node.inputs], shapes[node.inputs[0]], output)
        names[node.name], shapes[node.name] = builder.operators.nodes[node.op](context, node), node.shape
    return names[placed.nodes[-1].name]


@define
class _GraphBuilder:
    """Build a graph operator by operator.

    Attributes:
        weights: Weights by name.
        padding: Padding of the convolutions, as in `Architecture`.
        batch: Number of images in a batch; None if it is open.
        operators: Operators to build the graph from.
        flat: Whether the values have the shape `(batch, C)`, which they have after the first linear layer.
        nodes: Operators so far.
        constants: Constants so far, by name.
    """

    weights: Weights
    padding: str
    batch: int | None
    operators: "Operators"
    flat: bool = False
    nodes: list[onnx.NodeProto] = field(factory=list)
    constants: dict[str, onnx.TensorProto] = field(factory=dict)

    def add_constant(self, name: str, array: Any) -> str:
        """Add a constant to the graph unless it has a constant with this name; return the name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def weight(self, name: str) -> str:
        return self.add_constant(name, self.weights[name])

    def numbers(self, *values: int) -> str:
        """Add a constant of whole numbers that operators read as an input, such as axes; return its name.

        Equal numbers share one constant.
        """
        return self.add_constant(f"int64:{','.join(map(str, values))}", np.array(values, dtype=np.int64))


@attrs.frozen
class NodeContext:
    """Hold what is needed to append the operators of one node.

    Attributes:
        builder: Builder that the operators are appended to.
        name: Name of the node in the network, such as "stages.2.0.depthwise".
        inputs: Names of the node's inputs.
        shape: Shape of the node's first input.
        output: Name of the node's output.
    """

    builder: _GraphBuilder
    name: str
    inputs: Sequence[str]
    shape: Shape
    output: str

    def append(self, op: str, *more: str, inputs: Sequence[str] = (), output: str = "", **attributes: Any) -> str:
        """Append an ONNX operator and return the name of its output.

        Args:
            op: Type of the operator.
            more: Names of further inputs after `inputs`.
            inputs: Names of the first inputs; by default, those of the node.
            output: Name of the output; by default, that of the node.
            attributes: Attributes of the operator.
        """
        output = output or self.output
        node = helper.make_node(op, [*(inputs or self.inputs), *more], [output], name=output, **attributes)
        self.builder.nodes.append(node)
        return output


def _conv(context: NodeContext, node: Node) -> str:
    return context.append(
        "Conv",
        context.builder.weight(f"{context.name}.weight"),
        context.builder.weight(f"{context.name}.bias"),
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=_pads(context, node),
        group=node.groups,
        dilations=[1, 1],
    )


def _pads(context: NodeContext, node: Node) -> list[int]:
    """Return the number of padding pixels above, on the left, below and on the right, in this order."""
    half = node.kernel // 2
    if context.builder.padding == "symmetric" or node.stride == 1:
        return [half] * 4
    added = [same_padding(side, node.kernel, node.stride) for side in (context.shape.height, context.shape.width)]
    # An odd number of pixels puts the additional one below and on the right, as TensorFlow does.
    return [side // 2 for side in added] + [side - side // 2 for side in added]


def _linear(context: NodeContext, node: Node) -> str:
    flat = context.inputs[0] if context.builder.flat else _flatten(context, node)
    context.builder.flat = True
    weight, bias = (context.builder.weight(f"{context.name}.{part}") for part in ("weight", "bias"))
    # Weights are stored as (out, in), which is the transposed form of a matrix product.
    return context.append("Gemm", weight, bias, inputs=[flat], transB=1)


def _flatten(context: NodeContext, node: Node) -> str:
    # An open number of images is the one that is not stated.
    sides = context.builder.numbers(context.builder.batch or -1, node.in_channels)
    return context.append("Reshape", sides, output=f"{context.name}.flat", allowzero=1)


def _relu6(context: NodeContext) -> str:
    low, high = (context.builder.add_constant(f"float:{v}", np.array(v, dtype=np.float32)) for v in (0, 6))
    return context.append("Clip", low, high)


def _silu(context: NodeContext) -> str:
    # This opset has no operator for SiLU.
    gate = context.append("Sigmoid", output=f"{context.name}.sigmoid")
    return context.append("Mul", gate)


ACTIVATIONS: Mapping[str, Callable[[NodeContext], str]] = MappingProxyType(
    {
        "relu": lambda context: context.append("Relu"),
        "relu6": _relu6,
        "silu": _silu,
        "hard_swish": lambda context: context.append("HardSwish"),
        # relu6(x + 3) / 6 as in MobileNetV3 (arXiv 1905.02244); the default alpha of ONNX is 0.2.
        "hard_sigmoid": lambda context: context.append("HardSigmoid", alpha=1 / 6, beta=0.5),
        "sigmoid": lambda context: context.append("Sigmoid"),
    }
)


def _pool(context: NodeContext, node: Node) -> str:
    half = node.kernel // 2
    return context.append(
        "AveragePool",
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=[half] * 4,
        count_include_pad=0,
        ceil_mode=0,
    )


def _max_pool(context: NodeContext, node: Node) -> str:
    return context.append(
        "MaxPool",
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=[node.kernel // 2] * 4,
        dilations=[1, 1],
        ceil_mode=0,
        storage_order=0,
    )


def _resize(context: NodeContext, node: Node) -> str:
    numbers = context.builder.numbers
    missing = node.shape.channels - node.in_channels
    if missing <= 0:
        return context.append("Slice", numbers(0), numbers(node.shape.channels), numbers(1))
    # The padding at the start of all four dimensions, then at their ends.
    return context.append("Pad", numbers(0, 0, 0, 0, 0, missing, 0, 0), mode="constant")


@attrs.frozen
class Operators:
    """Hold the ONNX operators that graphs are built from.

    Attributes:
        opset: Version of the ONNX operators.
        nodes: Function that appends the operators of a node, for each kind of node (`Node.op`); it returns the name of
            their output.
        activations: Such a function for each activation function.
    """

    opset: int
    nodes: Mapping[str, Callable[[NodeContext, Node], str]]
    activations: Mapping[str, Callable[[NodeContext], str]]


# These are the fastest forms on whole networks (experiments/kernels): spelled out, hard-swish takes 1.18 times as long
# and ReLU6 1.30 times. The forms of squeeze-and-excitation, of pooling and of resizing differ by less than 1% in the
# mean, which is noise; they stay as `torch.onnx.export` writes them, and there is no choice for each device.
EMIT: Mapping[str, Callable[[NodeContext, Node], str]] = MappingProxyType(
    {
        "conv": _conv,
        "linear": _linear,
        "activation": lambda context, node: context.builder.operators.activations[node.activation](context),
        "mean": lambda context, _: context.append("ReduceMean", context.builder.numbers(2, 3), keepdims=1),
        "scale": lambda context, _: context.append("Mul"),
        "pool": _pool,
        "maxpool": _max_pool,
        "resize": _resize,
        "add": lambda context, _: context.append("Add"),
        "dropout": lambda context, _: context.inputs[0],
    }
)
OPERATORS = Operators(OPSET, EMIT, ACTIVATIONS)


def _model(builder: _GraphBuilder, shape: Shape, last: Node) -> onnx.ModelProto:
    batch = builder.batch or BATCH
    out = [batch, last.shape.channels]
    if last.op != "linear":
        out += [last.shape.height, last.shape.width]
    graph = helper.make_graph(
        builder.nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, *attrs.astuple(shape)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, out)],
        list(builder.constants.values()),
    )
    opsets = [helper.make_opsetid("", builder.operators.opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nas")
