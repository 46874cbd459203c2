"""Tests of the preprocessing in graphs against Pillow and against the normalization of training."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from nas.data.augment import normalize
from nas.device.onnx_check import check_onnx
from nas.graph.preprocessing import PREFIX, only_preprocessing, with_preprocessing

SIDE = 24
MEANS, STDS = (0.485, 0.456, 0.406, 0.5), (0.229, 0.224, 0.225, 0.3)
SIZES = [(24, 24), (25, 24), (24, 31), (100, 100), (97, 61), (61, 97), (480, 641), (9, 7), (1, 1), (23, 500)]


def identity(channels: int, batch: int | str) -> onnx.ModelProto:
    """Return a model whose output is its input, in place of a network."""
    shape = [batch, channels, SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def preprocessing(channels: int, batch: int | str) -> onnx.ModelProto:
    model = with_preprocessing(identity(channels, batch), MEANS[:channels], STDS[:channels])
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"image": images})
    return np.asarray(output)


def random_images(count: int, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Return smooth images with noise, as photographs have both."""
    rng = np.random.default_rng(0)
    smooth = 96 * np.add(*np.meshgrid(*(np.sin(np.arange(side) / 9) for side in size), indexing="ij"))
    noise = rng.normal(0, 25, (count, *size, channels))
    images: NDArray[np.uint8] = np.clip(128 + smooth[None, :, :, None] + noise, 0, 255).astype(np.uint8)
    return images


def pillow(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image `(C, R, R)` as Pillow crops and resizes it."""
    height, width, channels = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    bands = [
        Image.fromarray(image[:, :, channel])
        .crop((left, top, left + side, top + side))
        .resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for channel in range(channels)
    ]
    return np.stack([np.asarray(band) for band in bands])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize(("channels", "batch"), [(3, 1), (1, 2), (3, "batch"), (4, 2), (2, 1)])
def test_images_are_cropped_and_resized_as_by_pillow(size: tuple[int, int], channels: int, batch: int | str) -> None:
    count = batch if isinstance(batch, int) else 3
    images = random_images(count, size, channels)
    found = run(preprocessing(channels, batch), images)
    mean, std = (np.array(values[:channels])[None, :, None, None] for values in (MEANS, STDS))
    levels = (found * std + mean) * 255
    differences = np.abs(levels - np.stack([pillow(image) for image in images]))
    assert found.shape == (count, channels, SIDE, SIDE)
    assert differences.max() < 2.01
    assert differences.mean() < 0.15


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_the_network_size_are_only_normalized_as_in_training(channels: int) -> None:
    images = random_images(2, (SIDE, SIDE), channels)
    expected = normalize(torch.from_numpy(images).permute(0, 3, 1, 2), MEANS[:channels], STDS[:channels])
    # torch may round the product and the sum once, and ONNX Runtime rounds them twice.
    np.testing.assert_allclose(run(preprocessing(channels, 2), images), expected.numpy(), rtol=0, atol=5e-7)


@pytest.mark.parametrize(("width", "column"), [(27, 1), (28, 2), (29, 2)])
def test_the_crop_begins_at_a_whole_pixel_that_is_rounded_down(width: int, column: int) -> None:
    images = np.zeros((1, SIDE, width, 1), np.uint8)
    images[:, :, column] = 255
    levels = (run(preprocessing(1, 1), images) * STDS[0] + MEANS[0]) * 255
    np.testing.assert_allclose(levels[0, 0, :, 0], 255, atol=1e-3)
    assert np.abs(levels[0, 0, :, 1:]).max() < 1e-3


@pytest.mark.parametrize("batch", [2, "batch"])
def test_the_shapes_of_all_values_but_the_crop_can_be_inferred(batch: int | str) -> None:
    model = preprocessing(3, batch)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (2, 50, 40, 3), strict=True):
        dim.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.value_info
    unknown = [
        value.name
        for value in inferred
        if not all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    ]
    assert unknown == [f"{PREFIX}square"]


def test_the_preprocessing_alone_has_the_same_pixels() -> None:
    images = random_images(2, (40, 30), 3)
    model = preprocessing(3, 2)
    alone = only_preprocessing(model)
    onnx.checker.check_model(alone, full_check=True)
    np.testing.assert_array_equal(run(alone, images), run(model, images).reshape(2, -1))
    assert check_onnx(alone.SerializeToString(), size=(40, 30)).classes == 3 * SIDE**2


def test_the_names_of_the_operators_tell_them_from_those_of_the_network() -> None:
    *own, network = preprocessing(3, 1).graph.node
    assert all(node.name.startswith(PREFIX) for node in own)
    assert network.op_type == "Identity"
