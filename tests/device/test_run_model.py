"""Tests of logits that are computed in this process."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.device.run_model import run_model
from nas.errors import DeviceError

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


def pooled_classifier(batch: int | str, size: int | str = 4) -> onnx.ModelProto:
    """Return a model of uint8 images whose logits are the mean of each channel times `WEIGHT`."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], "mean", keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["output"], "classify"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, size, size, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(np.array([1, 2]), "axes"), numpy_helper.from_array(WEIGHT, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def random_images(count: int, size: int = 4) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("batch", [1, 2, 5, 64, "batch"])
@pytest.mark.parametrize("count", [1, 7, 33])
def test_images_are_split_into_batches_and_the_last_one_is_padded(batch: int | str, count: int) -> None:
    images = random_images(count)
    model = pooled_classifier(batch)
    expected = images.mean((1, 2), dtype=np.float64) @ WEIGHT
    for given in (model, model.SerializeToString()):
        logits = run_model(given, images)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_open_sizes_take_images_of_any_size() -> None:
    images = random_images(3, 9)
    np.testing.assert_allclose(
        run_model(pooled_classifier("batch", "size"), images), images.mean((1, 2), dtype=np.float64) @ WEIGHT, rtol=1e-5
    )


def test_wrong_images_are_one_clear_error() -> None:
    with pytest.raises(DeviceError, match="cannot run the network on a batch of 16"):
        run_model(pooled_classifier(16), random_images(2, 5))
    with pytest.raises(DeviceError, match="cannot run"):
        run_model(pooled_classifier(1), random_images(2).astype(np.float32))
    with pytest.raises(DeviceError, match="no images"):
        run_model(pooled_classifier(1), random_images(0))
    with pytest.raises(DeviceError, match="ONNX Runtime rejects the network"):
        run_model(b"no model", random_images(1))
