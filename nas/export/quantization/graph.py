"""Int8 graphs of a network, made by ONNX Runtime's quantizer from ranges of the activations."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
from attrs import asdict, frozen
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

from nas.device.quantize import without_warnings
from nas.export.quantization.form import CLIPPED, GATE, SHIFTED, gated_by_sigmoid, int8_form

PREPROCESSING = "preprocess."
"""The names of the nodes that prepare images begin with this; they are never quantized."""
QUANTIZED = frozenset(
    {
        *("Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "HardSwish", "MaxPool", "Mul"),
        *("Pad", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice"),
    }
)
"""Operators for which ONNX Runtime has int8 kernels, in the form of `nas.export.quantization.form`."""
REMOVABLE = frozenset({"Clip", "Relu"})
"""Activations that the rounding to 8 bits does by itself, because the range of its values ends where theirs do."""
WEIGHTED = frozenset({"Conv", "Gemm"})
_WEIGHT = ".weight"

Range = tuple[float, float]
_GATE_RANGES: Mapping[str, Range] = MappingProxyType({SHIFTED: (0.0, 6.0), CLIPPED: (0.0, 6.0), GATE: (0.0, 1.0)})


@frozen
class Types:
    """Name the 8-bit types of a graph.

    Attributes:
        activations: "uint8" or "int8".
        weights: "uint8" or "int8".
        reduce_range: Whether the weights have 7 bits. Processors without VNNI add two products in 16 bits, which
            overflow with unsigned activations and 8-bit weights.

    >>> str(Types("uint8", "int8", reduce_range=True))
    'U8S8 with 7-bit weights'
    """

    activations: str
    weights: str
    reduce_range: bool = False

    def __str__(self) -> str:
        letters = "".join(f"{name[0].upper() if name[0] == 'u' else 'S'}8" for name in (self.activations, self.weights))
        return letters + (" with 7-bit weights" if self.reduce_range else "")

    def as_json(self) -> dict[str, str | bool]:
        """Return the attributes by their names."""
        return asdict(self)


_RUNTIME_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
FAST_TYPES = (Types("uint8", "int8"), Types("uint8", "int8", reduce_range=True))
"""Types for which ONNX Runtime has the fastest kernels. The first one may overflow without VNNI."""
SLOW_TYPES = (Types("int8", "int8"), Types("uint8", "uint8"))
"""Slower types. With VNNI, EfficientNet-Lite0 is 1.2 and .9 times as fast as in fp32, not 2.0 times.

U8U8 never overflows. S8S8 overflows like U8S8 on a processor with AVX2 and without VNNI (seen with ONNX Runtime 1.32).
"""
# The first convolution has products of kernel² · 3 values, which are too short for the int8 kernel where the kernel is
# 3 x 3. In fp32, EfficientNet-Lite0 is 2.03 times as fast as without int8, and 1.89 times with this layer in int8; with
# the 7 x 7 values of ResNet-18 it is 1.9 and 3.2 times.
_SHORT_PRODUCT = 32


def layers_of(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Return the names of the nodes that can be quantized, by the convolution or linear layer that they belong to.

    An operator without weights belongs to the layer whose output it reads first, directly or through others. So an
    activation belongs to the convolution before it, and the mean and the product of a squeeze-and-excitation to the
    convolution that they scale.
    """
    constants = {each.name for each in model.graph.initializer}
    owners: dict[str, str] = {}
    layers: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.name.startswith(PREPROCESSING):
            continue
        before = [owners[name] for name in node.input if name in owners]
        weighted = node.op_type in WEIGHTED and node.input[1] in constants
        owner = _layer_name(node) if weighted else before[0] if before else ""
        if owner:
            owners.update(dict.fromkeys(node.output, owner))
            if node.op_type in QUANTIZED:
                layers.setdefault(owner, []).append(node.name)
    return {name: tuple(nodes) for name, nodes in layers.items()}


def _layer_name(node: onnx.NodeProto) -> str:
    """Return the name of the layer whose weight a node reads; the node before the output has the name of the output."""
    return str(node.input[1]).removesuffix(_WEIGHT)


def short_first_layer(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the name of the first convolution if it is faster in fp32 than in int8, else nothing."""
    weights = {each.name: each.dims for each in model.graph.initializer}
    first = next((node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights), None)
    return (_layer_name(first),) if first and np.prod(weights[first.input[1]][1:]) <= _SHORT_PRODUCT else ()


def observed_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Return the tensors whose ranges `quantize_graph` needs, each with the tensor that is observed for it.

    The rounded output of a convolution before a ReLU has the range of the ReLU's output, so only that is observed. The
    sigmoid in a SiLU is not rounded.
    """
    layers = {name for nodes in layers_of(model).values() for name in nodes}
    constants = {each.name for each in model.graph.initializer}
    gated = gated_by_sigmoid(model.graph)
    unrounded = {node.name for node in model.graph.node if node.op_type == "Sigmoid" and node.output[0] in gated}
    nodes = [node for node in model.graph.node if node.name in layers - unrounded]
    left_out = constants | {name for node in model.graph.node if node.name in unrounded for name in node.output}
    needed = [name for node in nodes for name in (*node.input, *node.output) if name and name not in left_out]
    floats = _float_tensors(model)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return {name: _observed(name, readers) for name in needed if name in floats}


def _observed(name: str, readers: Mapping[str, Sequence[onnx.NodeProto]]) -> str:
    found = readers.get(name, ())
    return found[0].output[0] if len(found) == 1 and found[0].op_type in REMOVABLE else name


def with_weights(model: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Return the graph with other weights of the same names and shapes; the given graph is not changed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for constant in made.graph.initializer:
        if constant.name in weights:
            values = weights[constant.name].reshape(tuple(constant.dims))
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return made


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    infos = (*graph.input, *graph.value_info, *graph.output)
    return {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT}


def quantize_graph(
    model: onnx.ModelProto, ranges: Mapping[str, Range], types: Types, nodes: Collection[str]
) -> onnx.ModelProto:
    """Return the graph with some nodes in int8, in QDQ form, with one weight scale for each channel.

    Its inputs, its outputs and its metadata are those of the given graph.

    Args:
        model: Graph of a network in fp32.
        ranges: Smallest and largest value of each of `observed_tensors`.
        types: Types of the weights and of the activations.
        nodes: Names of the nodes to quantize.
    """
    form = int8_form(model, nodes)
    gates = [node.name.removesuffix(CLIPPED) for node in form.graph.node if node.name.endswith(CLIPPED)]
    # The quantizer needs the types of all tensors, and shape inference does not know the runtime's operators.
    names = [*_float_tensors(model), *(f"{gate}{ending}" for gate in gates for ending in _GATE_RANGES)]
    form.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    add_infer_metadata(form)
    gate_ranges = {f"{gate}{ending}": each for gate in gates for ending, each in _GATE_RANGES.items()}
    gate_nodes = [f"{gate}{ending}" for gate in gates for ending in (SHIFTED, CLIPPED)]
    made = _quantized(form, {**ranges, **gate_ranges}, types, [*nodes, *gate_nodes]) if nodes else form
    _merge_gates(made.graph)
    del made.graph.value_info[:]
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def _quantized(
    form: onnx.ModelProto, ranges: Mapping[str, Range], types: Types, nodes: Sequence[str]
) -> onnx.ModelProto:
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        form,
        True,  # One scale for each channel of a weight.
        types.reduce_range,
        _RUNTIME_TYPES[types.weights],
        _RUNTIME_TYPES[types.activations],
        TensorsData(CalibrationMethod.MinMax, data),
        nodes,
        [],
        sorted(QUANTIZED - {"HardSwish", "ReduceMean"}),
        # The logits stay in fp32. Rounding them would cost accuracy and gain no time.
        {"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    with without_warnings():
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    return made


def _merge_gates(graph: onnx.GraphProto) -> None:
    """Replace each division of the gate of a hard-swish by 6 by a smaller scale of the same 8-bit values."""
    producers = {name: node for node in graph.node for name in node.output}
    constants = {each.name: each for each in graph.initializer}
    removed = set[str]()
    for node in graph.node:
        quantizing = producers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        division = producers.get(quantizing.input[0]) if quantizing is not None else None
        if quantizing is None or division is None or not division.name.endswith(GATE):
            continue
        clipped = producers[division.input[0]]
        if clipped.op_type != "DequantizeLinear":
            continue
        scale = numpy_helper.to_array(constants[clipped.input[1]]) / np.float32(6)
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{division.name}_merged_scale"))
        node.input[:] = [clipped.input[0], f"{division.name}_merged_scale", clipped.input[2]]
        removed.update((quantizing.name, division.name, clipped.name))
    kept = [node for node in graph.node if node.name not in removed]
    del graph.node[:]
    graph.node.extend(kept)


@frozen
class RoundedParts:
    """Say what an int8 graph rounds.

    Attributes:
        ranges: Smallest and largest value that each rounded activation can have, by the name of its tensor.
        layers: Names of the convolutions and linear layers with rounded weights.
    """

    ranges: Mapping[str, Range]
    layers: tuple[str, ...]


def rounded_parts(int8: onnx.ModelProto) -> RoundedParts:
    """Return what a graph of `quantize_graph` rounds."""
    constants = {each.name: each for each in int8.graph.initializer}
    ranges = {}
    for node in int8.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
            limits = np.iinfo(zero_point.dtype)
            low, high = (float(scale) * (limit - int(zero_point)) for limit in (limits.min, limits.max))
            ranges[node.input[0]] = (low, high)
    weights = {node.input[1] for node in int8.graph.node if node.op_type in WEIGHTED}
    rounded = [node for node in int8.graph.node if node.op_type == "DequantizeLinear" and node.output[0] in weights]
    return RoundedParts(ranges, tuple(node.input[0].removesuffix(f"{_WEIGHT}_quantized") for node in rounded))
