"""The form of a graph from which ONNX Runtime makes the fastest int8 graph.

The fp32 graph in this form computes the same function as the original graph. Its operators differ where ONNX Runtime
1.32 has a fast int8 kernel for one form and none, or a slow one, for the other. The speed-ups are those of int8 against
fp32 before and after the change, for whole networks at 224 pixels on one core of an AMD EPYC with AVX-512 VNNI:

- The mean over height and width is GlobalAveragePool. ReduceMean is computed in fp32. MnasNet-A1: 1.33 to 1.52.
- Hard-swish is an addition, a clipping and a multiplication. HardSwish is computed in fp32, by two operators.
  MobileNetV3: 1.13 to 1.24.
- SiLU is one operator of ONNX Runtime in fp32 between two int8 layers. A sigmoid and a product in int8 take longer, and
  round three times instead of once. EfficientNet-B0: 1.06 to 1.16.
- Depthwise convolutions have a multiple of 16 channels, because the kernel computes the other channels one by one: with
  72 channels of 56 x 56 values it takes 169 µs, and with 80 channels 68 µs. The added channels have weights of 0.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import onnx
from attrs import define, field
from numpy.typing import NDArray
from onnx import helper, numpy_helper

CHANNELS_MULTIPLE = 16
SHIFTED, CLIPPED, GATE = ".shifted", ".clipped", ".hard_gate"
"""The names of the nodes that add 3, clip and divide by 6 in a hard-swish are that of its output with these endings."""
RUNTIME_DOMAIN = "com.microsoft"

Array = NDArray[np.float32]


def int8_form(model: onnx.ModelProto, quantized: Collection[str]) -> onnx.ModelProto:
    """Return the graph of a network in the form for quantization; the given graph is not changed.

    Args:
        model: Graph of a network.
        quantized: Names of the nodes that will be quantized; the others keep their operators.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    gated = gated_by_sigmoid(graph)
    nodes = [new for node in graph.node for new in _replaced(node, graph, node.name in quantized, gated)]
    del graph.node[:]
    graph.node.extend(nodes)
    _pad_channels(graph)
    _remove_unused(graph)
    if gated:
        made.opset_import.append(helper.make_opsetid(RUNTIME_DOMAIN, 1))
    return made


def gated_by_sigmoid(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the input of each SiLU by the output of its product, and by that of a sigmoid that nothing else reads."""
    sigmoids = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Sigmoid"}
    products = [node for node in graph.node if node.op_type == "Mul"]
    gated = {
        node.output[0]: other
        for node in products
        for gate, other in (tuple(node.input), tuple(node.input)[::-1])
        if sigmoids.get(gate) == other
    }
    read_elsewhere = {name for node in graph.node if node.output[0] not in gated for name in node.input}
    read_elsewhere.update(each.name for each in graph.output)
    return gated | {
        name: values for name, values in sigmoids.items() if values in gated.values() and name not in read_elsewhere
    }


def _replaced(
    node: onnx.NodeProto, graph: onnx.GraphProto, quantized: bool, gated: Mapping[str, str]
) -> Iterator[onnx.NodeProto]:
    if node.output[0] in gated:
        if node.op_type == "Mul":
            values = gated[node.output[0]]
            yield helper.make_node("QuickGelu", [values], node.output, node.name, domain=RUNTIME_DOMAIN, alpha=1.0)
    elif quantized and node.op_type in REPLACEMENTS:
        yield from REPLACEMENTS[node.op_type](node, graph)
    else:
        yield node


def _global_average(node: onnx.NodeProto, graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    axes = next((numpy_helper.to_array(each) for each in graph.initializer if each.name in node.input[1:]), None)
    keeps = all(each.i for each in node.attribute if each.name == "keepdims")
    if axes is None or axes.tolist() != [2, 3] or not keeps:
        yield node
    else:
        yield helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name)


def _hard_swish(node: onnx.NodeProto, graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the operators of x · (min(max(x + 3, 0), 6) / 6)."""
    (values,), (output,) = node.input, node.output
    three, low, high, sixth = (_constant(graph, number) for number in (3.0, 0.0, 6.0, 1 / 6))
    shifted, clipped, gate = (f"{output}{ending}" for ending in (SHIFTED, CLIPPED, GATE))
    yield helper.make_node("Add", [values, three], [shifted], shifted)
    yield helper.make_node("Clip", [shifted, low, high], [clipped], clipped)
    yield helper.make_node("Mul", [clipped, sixth], [gate], gate)
    yield helper.make_node("Mul", [values, gate], [output], node.name)


def _constant(graph: onnx.GraphProto, number: float) -> str:
    name = f"float:{number:g}"
    if all(each.name != name for each in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.array(number, dtype=np.float32), name))
    return name


REPLACEMENTS: Mapping[str, Callable[[onnx.NodeProto, onnx.GraphProto], Iterator[onnx.NodeProto]]] = MappingProxyType(
    {"ReduceMean": _global_average, "HardSwish": _hard_swish}
)

# Operators whose output has the channels of their inputs.
_SAME_CHANNELS = frozenset(
    {
        *("Add", "AveragePool", "Clip", "GlobalAveragePool", "HardSigmoid", "HardSwish", "MaxPool", "Mul", "QuickGelu"),
        *("Relu", "Sigmoid"),
    }
)


@define
class _Channels:
    """Group the tensors of a graph that must have the same number of channels.

    Attributes:
        weights: Constants of the graph by name.
        parents: Another tensor of the same group, for each tensor but one in the group.
        fixed: Tensors whose number of channels must not change.
        depthwise: Number of channels of the depthwise convolutions by their input.
    """

    weights: Mapping[str, Array]
    parents: dict[str, str] = field(factory=dict)
    fixed: set[str] = field(factory=set)
    depthwise: dict[str, int] = field(factory=dict)

    def group(self, tensor: str) -> str:
        """Return the tensor that represents the group of a tensor."""
        while tensor in self.parents:
            tensor = self.parents[tensor]
        return tensor

    def add(self, node: onnx.NodeProto) -> None:
        """Add what a node requires of its inputs and outputs."""
        inputs = [name for name in node.input if name and name not in self.weights]
        sizes = [self.weights[name].size for name in node.input if name in self.weights]
        if self.is_depthwise(node):
            self._join(*inputs, *node.output)
            self.depthwise[inputs[0]] = len(self.weights[node.input[1]])
        elif node.op_type in _SAME_CHANNELS and all(size == 1 for size in sizes):
            self._join(*inputs, *node.output)
        elif not self.is_dense(node):
            self.fixed.update(inputs, node.output)

    def is_depthwise(self, node: onnx.NodeProto) -> bool:
        """Return whether a node convolves each channel on its own."""
        weight = self.weights.get(node.input[1]) if node.op_type == "Conv" else None
        return weight is not None and _groups(node) == len(weight) > 1 == weight.shape[1]

    def is_dense(self, node: onnx.NodeProto) -> bool:
        """Return whether a node is a convolution of all channels together, with constant weights."""
        return node.op_type == "Conv" and _groups(node) == 1 and node.input[1] in self.weights

    def _join(self, *tensors: str) -> None:
        first, *others = sorted({self.group(tensor) for tensor in tensors})
        self.parents.update(dict.fromkeys(others, first))

    def added(self) -> dict[str, int]:
        """Return the number of channels to add to each group, where it is not 0."""
        fixed = {self.group(tensor) for tensor in self.fixed}
        counts = {self.group(tensor): -count % CHANNELS_MULTIPLE for tensor, count in self.depthwise.items()}
        return {group: count for group, count in counts.items() if count and group not in fixed}


def _groups(node: onnx.NodeProto) -> int:
    return next((each.i for each in node.attribute if each.name == "group"), 1)


def _pad_channels(graph: onnx.GraphProto) -> None:
    """Give depthwise convolutions a multiple of 16 channels where the layers before and after them can follow."""
    channels = _Channels({each.name: numpy_helper.to_array(each) for each in graph.initializer})
    channels.fixed.update(each.name for each in (*graph.input, *graph.output))
    for node in graph.node:
        channels.add(node)
    added = channels.added()
    padded: dict[str, Array] = {}
    for node in (node for node in graph.node if channels.is_dense(node) or channels.is_depthwise(node)):
        before, after = (added.get(channels.group(name), 0) for name in (node.input[0], node.output[0]))
        dense = channels.is_dense(node)
        pads = ((0, after), (0, before if dense else 0), (0, 0), (0, 0))
        padded |= {
            name: np.pad(channels.weights[name], pads[: 4 if i == 0 else 1]) for i, name in enumerate(node.input[1:])
        }
        if not dense:
            next(each for each in node.attribute if each.name == "group").i += after
    for constant in graph.initializer:
        if constant.name in padded:
            constant.CopyFrom(numpy_helper.from_array(padded[constant.name], constant.name))


def _remove_unused(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]  # The shapes in it are no longer true.
