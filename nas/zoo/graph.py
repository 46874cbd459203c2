"""Writing the ONNX graph of a known network from its nodes, with the opset of `nas.graph.form`, without torch."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from attrs import define, field, frozen
from numpy.typing import NDArray
from onnx import TensorProto, helper

from nas.graph.build import IR_VERSION, OUTPUT
from nas.graph.form import OPSET
from nas.zoo.nodes import INPUT, Node, Shape, Tensor, conv_padding, four_sides, kernel_sides, pool_padding
from nas.zoo.records import (
    Activation,
    BatchNorm,
    Channels,
    Conv,
    Depthwise,
    FirstToken,
    Flatten,
    GlobalAverage,
    GroupNorm,
    LayerNorm,
    Linear,
    Pad,
    Pool,
    Products,
    Shuffle,
    Tokens,
    Transpose,
)

Array = NDArray[Any]
WeightSource = Callable[[str, Tensor], Array]
"""A function that returns the weights of a tensor, given the name of its node."""


def random_source(seed: int) -> WeightSource:
    """Return a source of uniform random weights with the mean and the deviation that each tensor asks for."""
    rng = np.random.default_rng(seed)

    def draw(_: str, tensor: Tensor) -> Array:
        if not tensor.deviation:
            return np.full(tensor.shape, tensor.mean, dtype=np.float32)
        # A uniform distribution of width w has the deviation w / sqrt(12). VGG-16 has a matrix of 411 MB, which is
        # why the arithmetic is in place.
        numbers = rng.random(tensor.shape, dtype=np.float32)
        numbers -= np.float32(0.5)
        numbers *= np.float32(tensor.deviation * 12**0.5)
        numbers += np.float32(tensor.mean)
        return numbers

    return draw


def build_network_graph(
    nodes: Sequence[Node], shape: Shape, weights: WeightSource, *, batch: int = 1
) -> onnx.ModelProto:
    """Return the ONNX graph of a network.

    The graph has one input, `input` of shape `(batch, C, H, W)`, and one output, `output` of shape `(batch, classes)`.

    Args:
        nodes: Nodes of the network, as `walk_network` returns them.
        shape: Shape `(C, H, W)` of the image.
        weights: Source of the weights.
        batch: Number of images in a batch.
    """
    writer = _Writer(weights, batch)
    writer.model.ir_version, writer.model.producer_name = IR_VERSION, "nas"
    writer.model.opset_import.append(helper.make_opsetid("", OPSET))
    writer.graph.name = "network"
    writer.graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, *shape]))
    for node in nodes:
        output = OUTPUT if node is nodes[-1] else node.name
        EMIT[node.record if isinstance(node.record, str) else type(node.record)](Place(writer, node, output))
    out = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, *nodes[-1].outcome.shape])
    writer.graph.output.append(out)
    return writer.model


@define
class _Writer:
    """Write a graph operator by operator.

    Attributes:
        weights: Source of the weights.
        batch: Number of images in a batch.
        model: The model so far. Weights are written into it one by one, so that there is one copy of them.
        constants: Names of the constants so far.
    """

    weights: WeightSource
    batch: int
    model: onnx.ModelProto = field(factory=onnx.ModelProto)
    constants: set[str] = field(factory=set)

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    def add_constant(self, name: str, array: Array) -> str:
        """Write a constant as raw bytes unless there is one with this name; return the name."""
        if name not in self.constants:
            self.constants.add(name)
            tensor = self.graph.initializer.add(name=name, dims=array.shape)
            tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor.raw_data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return name


@frozen
class Place:
    """Hold what is needed to write the operators of one node.

    Attributes:
        writer: Writer that the operators are appended to.
        node: The node.
        output: Name of the node's output.
    """

    writer: _Writer
    node: Node
    output: str

    @property
    def record(self) -> Any:
        """Return the operation."""
        return self.node.record

    @property
    def shape(self) -> Shape:
        """Return the shape of the output for one image."""
        return self.node.outcome.shape

    def append(
        self, op: str, *more: str, inputs: Iterable[str] | None = None, part: str = "", **attributes: Any
    ) -> str:
        """Append an ONNX operator and return the name of its output.

        Args:
            op: Type of the operator.
            more: Names of further inputs after `inputs`.
            inputs: Names of the first inputs; by default, those of the node.
            part: Name of an intermediate value; by default the output is that of the node.
            attributes: Attributes of the operator.
        """
        output = f"{self.node.name}.{part}" if part else self.output
        inputs = self.node.inputs if inputs is None else inputs
        self.writer.graph.node.append(helper.make_node(op, [*inputs, *more], [output], name=output, **attributes))
        return output

    def weight(self, name: str, change: Callable[[Array], Array] = lambda array: array) -> str:
        """Add a tensor of the node and return its name."""
        tensor = next(tensor for tensor in self.node.outcome.tensors if tensor.name == name)
        array = change(self.writer.weights(self.node.name, tensor))
        return self.writer.add_constant(f"{self.node.name}.{name}", array)

    def numbers(self, *values: int) -> str:
        """Add a constant of whole numbers; equal ones share one constant."""
        return self.writer.add_constant(f"int64:{','.join(map(str, values))}", np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """Add a constant of one number."""
        return self.writer.add_constant(f"float:{value:.9g}", np.array(value, dtype=np.float32))

    def reshape(self, *sides: int, inputs: Iterable[str] | None = None, part: str = "") -> str:
        """Append a change of the shape to `(batch, *sides)`."""
        return self.append("Reshape", self.numbers(self.writer.batch, *sides), inputs=inputs, part=part, allowzero=1)


def _conv(place: Place) -> str:
    record = place.record
    return place.append(
        "Conv",
        *(place.weight(tensor.name) for tensor in place.node.outcome.tensors),
        kernel_shape=list(kernel_sides(record.kernel)),
        strides=[record.stride] * 2,
        pads=list(conv_padding(record)),
        group=record.groups if isinstance(record, Conv) else place.node.in_shape[0],
        dilations=[1, 1],
    )


def _linear(place: Place) -> str:
    if len(place.shape) == 1:
        return place.append("Gemm", place.weight("weight"), place.weight("bias"), transB=1)
    product = place.append("MatMul", place.weight("weight", np.transpose), part="product")
    return place.append("Add", place.weight("bias"), inputs=[product])


def _gelu(place: Place) -> str:
    # x (1 + erf(x / sqrt 2)) / 2, spelled as `torch.onnx.export` does, which ONNX Runtime fuses.
    scaled = place.append("Div", place.number(2**0.5), part="scaled")
    erf = place.append("Erf", inputs=[scaled], part="erf")
    share = place.append("Add", place.number(1), inputs=[erf], part="share")
    product = place.append("Mul", share, part="product")
    return place.append("Mul", place.number(0.5), inputs=[product])


ACTIVATIONS: Mapping[str, Callable[[Place], str]] = MappingProxyType(
    {
        "relu": lambda place: place.append("Relu"),
        "gelu": _gelu,
        "tanh": lambda place: place.append("Tanh"),
    }
)


def _batch_norm(place: Place) -> str:
    names = ("scale", "shift", "mean", "variance")
    return place.append("BatchNormalization", *map(place.weight, names), epsilon=place.record.epsilon)


def _group_norm(place: Place) -> str:
    # The operator of this opset has one scale for each group instead of each channel.
    groups = place.record.groups
    flat = place.reshape(groups, math.prod(place.shape) // groups, part="flat")
    ones, zeros = (
        place.writer.add_constant(f"{kind}:{groups}", array(groups, dtype=np.float32))
        for kind, array in (("ones", np.ones), ("zeros", np.zeros))
    )
    whitened = place.append(
        "InstanceNormalization", ones, zeros, inputs=[flat], part="whitened", epsilon=place.record.epsilon
    )
    shaped = place.reshape(*place.shape, inputs=[whitened], part="shaped")
    scale, shift = (place.weight(name, lambda array: array.reshape(-1, 1, 1)) for name in ("scale", "shift"))
    scaled = place.append("Mul", scale, inputs=[shaped], part="scaled")
    return place.append("Add", shift, inputs=[scaled])


def _layer_norm(place: Place) -> str:
    weights = (place.weight("scale"), place.weight("shift"))
    return place.append("LayerNormalization", *weights, axis=-1, epsilon=place.record.epsilon)


def _pool(place: Place) -> str:
    record = place.record
    window: dict[str, Any] = {
        "kernel_shape": [record.kernel] * 2,
        "strides": [record.stride] * 2,
        "pads": list(pool_padding(record, place.node.in_shape)),
        "ceil_mode": 0,
    }
    if record.kind == "max":
        return place.append("MaxPool", **window, dilations=[1, 1], storage_order=0)
    return place.append("AveragePool", **window, count_include_pad=int(record.counts_padding))


def _global_average(place: Place) -> str:
    if len(place.node.in_shape) == 3:
        return place.append("ReduceMean", place.numbers(2, 3), keepdims=1)
    return place.append("ReduceMean", place.numbers(1), keepdims=0)


def _pad(place: Place) -> str:
    top, left, bottom, right = four_sides(place.record.padding)
    return place.append("Pad", place.numbers(0, 0, top, left, 0, 0, bottom, right), mode="constant")


def _channels(place: Place) -> str:
    count = place.shape[0]
    start = place.record.part * count
    return place.append("Slice", place.numbers(start), place.numbers(start + count), place.numbers(1))


def _shuffle(place: Place) -> str:
    groups, (channels, *sides) = place.record.groups, place.shape
    grouped = place.reshape(groups, channels // groups, *sides, part="grouped")
    exchanged = place.append("Transpose", inputs=[grouped], part="exchanged", perm=[0, 2, 1, 3, 4])
    return place.reshape(channels, *sides, inputs=[exchanged])


def _tokens(place: Place) -> str:
    record, (channels, height, width) = place.record, place.node.in_shape
    flat = place.reshape(channels, height * width, part="flat")
    learned = [record.class_token, record.positions]
    value = place.append("Transpose", inputs=[flat], part="sequence" if any(learned) else "", perm=[0, 2, 1])
    if record.class_token:
        shape = place.numbers(place.writer.batch, 1, channels)
        first = place.append("Expand", shape, inputs=[place.weight("class_token")], part="first")
        value = place.append("Concat", inputs=[first, value], part="joined" if record.positions else "", axis=1)
    return place.append("Add", place.weight("positions"), inputs=[value]) if record.positions else value


def _products(place: Place) -> str:
    tokens, features = place.shape
    heads, width = place.record.heads, features // place.record.heads
    perms = {"queries": [0, 2, 1, 3], "keys": [0, 2, 3, 1], "values": [0, 2, 1, 3]}
    parts = {}
    for i, (part, perm) in enumerate(perms.items()):
        bounds = (place.numbers(i * features), place.numbers((i + 1) * features), place.numbers(2))
        side = place.append("Slice", *bounds, part=f"{part}.side")
        split = place.reshape(tokens, heads, width, inputs=[side], part=f"{part}.split")
        parts[part] = place.append("Transpose", inputs=[split], part=part, perm=perm)
    scaled = place.append("Mul", place.number(width**-0.5), inputs=[parts["queries"]], part="scaled")
    scores = place.append("MatMul", inputs=[scaled, parts["keys"]], part="scores")
    weights = place.append("Softmax", inputs=[scores], part="weights", axis=-1)
    mixed = place.append("MatMul", inputs=[weights, parts["values"]], part="mixed")
    joined = place.append("Transpose", inputs=[mixed], part="joined", perm=[0, 2, 1, 3])
    return place.reshape(tokens, features, inputs=[joined])


EMIT: Mapping[type | str, Callable[[Place], str]] = MappingProxyType(
    {
        Conv: _conv,
        Depthwise: _conv,
        Linear: _linear,
        Activation: lambda place: ACTIVATIONS[place.record.function](place),
        BatchNorm: _batch_norm,
        GroupNorm: _group_norm,
        LayerNorm: _layer_norm,
        Pool: _pool,
        GlobalAverage: _global_average,
        Flatten: lambda place: place.reshape(*place.shape),
        Pad: _pad,
        Channels: _channels,
        Shuffle: _shuffle,
        Tokens: _tokens,
        Transpose: lambda place: place.append("Transpose", perm=[0, 2, 1]),
        FirstToken: lambda place: place.append("Gather", place.writer.add_constant("int64:first", np.array(0)), axis=1),
        Products: _products,
        "concat": lambda place: place.append("Concat", axis=1),
        "add": lambda place: place.append("Add"),
    }
)
"""Function that writes the operators of a node, for each kind of operation."""
