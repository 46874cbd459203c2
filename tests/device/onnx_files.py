"""ONNX files for tests: classifiers whose logits have a closed form, and changes that no device may accept."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)
Shape = tuple[int | str, ...]
Change = Callable[[onnx.ModelProto], None]


def classifier(shape: Shape = ("n", 3, 4, 4)) -> onnx.ModelProto:
    """Return a model of fp32 images whose logits are the mean of each channel times `WEIGHT`."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"], "pool"),
        helper.make_node("Flatten", ["means"], ["flat"], "flatten", axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"], "classify"),
    ]
    return _model(nodes, TensorProto.FLOAT, shape, [numpy_helper.from_array(WEIGHT, "weight")])


def pooled_classifier(batch: int | str, size: int | str = 4) -> onnx.ModelProto:
    """Return a model of uint8 images whose logits are the mean of each channel times `WEIGHT`."""
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], "pool", keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["logits"], "classify"),
    ]
    constants = [numpy_helper.from_array(np.array([1, 2]), "axes"), numpy_helper.from_array(WEIGHT, "weight")]
    return _model(nodes, TensorProto.UINT8, (batch, size, size, 3), constants)


def _model(nodes: list[onnx.NodeProto], dtype: int, shape: Shape, constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (shape[0], 2))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def random_images(count: int, size: int = 4) -> NDArray[np.uint8]:
    """Return images `(count, size, size, 3)`."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def expected_logits(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the logits of `pooled_classifier`."""
    return np.asarray(images.mean((1, 2), dtype=np.float64) @ WEIGHT)


def cropped(size: int) -> onnx.ModelProto:
    """Return a model that crops images of any size to a centered square and resizes it, before it classifies."""
    model = pooled_classifier("n", "any")
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[1:3], ("height", "width"), strict=True):
        dim.dim_param = name
    nodes = [
        helper.make_node("Shape", ["images"], ["sides"], "sides", start=1, end=3),
        helper.make_node("ReduceMin", ["sides", "zero"], ["side"], "side", keepdims=1),
        helper.make_node("Sub", ["sides", "side"], ["rest"], "rest"),
        helper.make_node("Div", ["rest", "two"], ["start"], "start"),
        helper.make_node("Add", ["start", "side"], ["end"], "end"),
        helper.make_node("Slice", ["images", "start", "end", "axes"], ["square"], "square"),
        helper.make_node("Resize", ["square", "", "", "size"], ["resized"], "resize", mode="linear", axes=[1, 2]),
    ]
    model.graph.node[0].input[0] = "resized"
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])
    for name, values in (("zero", [0]), ("two", [2]), ("size", [size, size])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    return model


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_by_stealth(model: onnx.ModelProto) -> None:
    """State a location of the data without the mark that the data are elsewhere."""
    model.graph.initializer[0].external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")


def external_constant(model: onnx.ModelProto) -> None:
    value = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=value))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["forever"], body=body))


def loop_of_another_type(model: onnx.ModelProto) -> None:
    loop(model)
    model.graph.node[-1].attribute[0].type = AttributeProto.INT


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="")


def training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def sparse_constant(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["scattered"])
    node.attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSOR).sparse_tensor.dims.append(2**40)
    model.graph.node.insert(0, node)


def huge(model: onnx.ModelProto) -> None:
    size = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "size")
    model.graph.initializer.append(size)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))


def many_large(model: onnx.ModelProto) -> None:
    """Ask for nine tensors that are computed from constants, each of the largest size that a tensor may have."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**14, 2**15], np.int64), "size"))
    for number in range(9):
        model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], [f"large{number}"]))


def claim(*dims: int) -> Change:
    """Return a change by which a weight states another shape than its values have."""

    def change(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    return change


def no_values(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")


def texts(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(
        TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    )


def unbounded(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("NonZero", ["flat"], ["positions"]))


def repeated(model: onnx.ModelProto) -> None:
    """Repeat the features as often as their values say, which are known only when the network runs."""
    model.graph.node.append(helper.make_node("Cast", ["flat"], ["counts"], to=TensorProto.INT64))
    model.graph.node.append(helper.make_node("Tile", ["flat", "counts"], ["tiled"]))


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def channels_last(model: onnx.ModelProto) -> None:
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], (224, 224, 3), strict=True):
        dim.dim_value = size


def feature_map(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "means"


def wrong_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((5, 2), np.float32), "weight"))


REFUSED: Mapping[Change, str] = MappingProxyType(
    {
        external: "the tensor 'weight' is in another file",
        external_by_stealth: "the tensor 'weight' is in another file",
        external_constant: "the tensor 'hidden' is in another file",
        foreign: "and only operators of ONNX itself",
        loop: "the operator 'Loop' has a graph of its own",
        loop_of_another_type: "the operator 'Loop' has a graph of its own",
        function: "it has functions",
        training: "graphs for training",
        sparse: "sparse tensors",
        sparse_constant: "the operator 'Constant' has a sparse tensor",
        huge: "the tensor 'huge' has the shape",
        many_large: "values at the same time",
        claim(2**20, 2**20): r"states the shape \[1048576, 1048576\]",
        claim(-1, 2): r"states the shape \[-1, 2\]",
        claim(3, 1): r"states the shape \[3, 1\]",
        no_values: r"states the shape \[3, 2\]",
        texts: "the tensor 'texts' has no type of numbers",
        unbounded: "the shape of the tensor 'positions' is not known",
        repeated: "the shape of the tensor 'tiled' is not known",
        two_outputs: "1 inputs and 2 outputs",
        channels_last: r"fp32 images are \(N, C, H, W\)",
        feature_map: "its output has the shape",
        wrong_weight: "its shapes contradict each other",
    }
)
"""Changes of `classifier` that are refused, each with a part of the message."""
