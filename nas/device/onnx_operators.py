"""This module counts what operators of ONNX cost, and finds their weights, for `nas.device.onnx_macs`."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx
import onnx.helper
from onnx import TensorProto

Shapes = Mapping[str, tuple[int, ...]]


def _conv(node: onnx.NodeProto, shapes: Shapes, weight: int = 1) -> int:
    """Each output value takes one multiply-add for each value of the kernel of its channel."""
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[weight]][1:])


def _transposed_conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _einsum(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return the product of the sizes of all indices; None where an equation has another form than `ab,bc->ac`."""
    equation = next(onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == "equation")
    terms = equation.decode("ascii", "replace").replace(" ", "").partition("->")[0].split(",")
    if len(terms) != len(node.input) or len(terms) > 2 or not all(term.isalpha() for term in terms):
        return None
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        if len(term) != len(shapes[name]):
            return None
        sizes.update(zip(term, shapes[name], strict=True))
    return math.prod(sizes.values()) if len(terms) == 2 else 0


COUNTED: Mapping[str, Callable[[onnx.NodeProto, Shapes], int | None]] = MappingProxyType(
    {
        "Conv": _conv,
        "ConvInteger": _conv,
        "QLinearConv": lambda node, shapes: _conv(node, shapes, 3),
        "ConvTranspose": _transposed_conv,
        "Gemm": _gemm,
        "MatMul": _matmul,
        "MatMulInteger": _matmul,
        "QLinearMatMul": _matmul,
        "Einsum": _einsum,
    }
)
# Operators that multiply no weights with values: by the convention they count as nothing.
FREE = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Clip",
        "Compress",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Cos",
        "CumSum",
        "DepthToSpace",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "DynamicQuantizeLinear",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "EyeLike",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Hardmax",
        "Identity",
        "InstanceNormalization",
        "IsInf",
        "IsNaN",
        "LRN",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "LpPool",
        "Max",
        "MaxPool",
        "Mean",
        "MeanVarianceNormalization",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "RMSNormalization",
        "Range",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "ReverseSequence",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Selu",
        "Shape",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Upsample",
        "Where",
        "Xor",
    ]
)
# Operators whose constants are weights, also where they have a single value.
WEIGHTED = frozenset(
    {*COUNTED, "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"}
    | {"PRelu", "RMSNormalization"}
)
_SCALES = (1, 2)
# Inputs that are settings and statistics, and no parameters; negative numbers leave out nothing.
SETTINGS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "BatchNormalization": (3, 4),
        "Clip": _SCALES,
        "DequantizeLinear": _SCALES,
        "QuantizeLinear": _SCALES,
        "QLinearConv": (1, 2, 4, 5, 6, 7),
        "QLinearMatMul": (1, 2, 4, 5, 6, 7),
        "Resize": (1, 2, 3),
        "Pad": (1, 2, 3),
        "Upsample": (1,),
    }
)
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
QUANTIZING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})
# Operators that read whole numbers as weights.
INTEGER = frozenset({"DequantizeLinear", "ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul"})
