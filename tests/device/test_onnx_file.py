"""ONNX files of strangers: what is read, what is computed, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nas.device.onnx_check import MOST_BYTES, OPEN_BATCH, check_onnx
from nas.device.onnx_file import read_onnx
from nas.errors import WeightsError

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


def classifier(shape: tuple[int | str, ...] = ("n", 3, 4, 4)) -> onnx.ModelProto:
    """The mean of each channel, times `WEIGHT`: three channels become two classes."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (shape[0], 2))],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def save(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "teacher.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("shape", [("n", 3, 4, 4), (5, 3, 4, 4), ("n", 3, "h", "w"), (1, 3, 4, 4)])
@pytest.mark.parametrize("count", [0, 1, 5, OPEN_BATCH + 1])
def test_logits_are_computed_for_any_number_of_images(shape: tuple[int | str, ...], count: int, tmp_path: Path) -> None:
    network = read_onnx(save(tmp_path, classifier(shape)), resolution=4, threads=1)
    assert (network.input_shape, network.classes) == ((3, 4, 4), 2)
    images = np.random.default_rng(0).random((count, 3, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(network(images), images.mean((2, 3)) @ WEIGHT, rtol=1e-5)


def test_metadata_is_read(tmp_path: Path) -> None:
    model = classifier()
    helper.set_model_props(model, {"classes": '["cat", "dog"]'})
    assert read_onnx(save(tmp_path, model), 4, threads=1).metadata == {"classes": '["cat", "dog"]'}


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_constant(model: onnx.ModelProto) -> None:
    value = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=value))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["forever"], body=body))


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="")


def huge(model: onnx.ModelProto) -> None:
    size = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "size")
    model.graph.initializer.append(size)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))


def unbounded(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("NonZero", ["flat"], ["positions"]))


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def channels_last(model: onnx.ModelProto) -> None:
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], (224, 224, 3), strict=True):
        dim.dim_value = size


def feature_map(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "means"


def wrong_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((5, 2), np.float32), "weight"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external, "the tensor 'weight' is in another file"),
        (external_constant, "the tensor 'hidden' is in another file"),
        (foreign, "and only operators of ONNX itself"),
        (loop, "the operator 'Loop' has a graph of its own"),
        (function, "it has functions"),
        (huge, "the tensor 'huge' has the shape"),
        (unbounded, "the shape of the tensor 'positions' is not known"),
        (two_outputs, "1 inputs and 2 outputs"),
        (channels_last, r"fp32 images are \(N, C, H, W\)"),
        (feature_map, "its output has the shape"),
        (wrong_weight, "its shapes contradict each other"),
    ],
)
def test_what_could_do_harm_or_is_no_classifier_is_refused(
    change: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path
) -> None:
    model = classifier()
    change(model)
    path = save(tmp_path, model)
    with pytest.raises(WeightsError, match=message) as raised:
        read_onnx(path, 4, threads=1)
    assert raised.value.problem.startswith(f"{path}: ")
    assert raised.value.remedy


@given(st.binary(max_size=64), st.integers(0, 300))
def test_damaged_bytes_are_refused(noise: bytes, cut: int) -> None:
    data = classifier().SerializeToString()
    for damaged in (noise, data[:cut], data[:cut] + noise + data[cut + len(noise) :]):
        try:
            checked = check_onnx(damaged, size=(4, 4))
        except WeightsError:
            continue
        assert checked.classes > 0  # the noise hit a name or a weight


def test_a_file_that_is_too_large_or_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(WeightsError, match="it is larger than 1,000,000,000 bytes"):
        read_onnx(path, 4)
    with pytest.raises(WeightsError, match="No such file"):
        read_onnx(tmp_path / "missing.onnx", 4)
