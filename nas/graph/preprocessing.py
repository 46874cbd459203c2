"""Preprocessing of images as the first operators of an ONNX graph, so that no program has to repeat it.

The operators do what `nas.data.decode` and `nas.data.augment.Scaling` do: they crop the center to a square with whole
pixels as offsets, resize the square with a bilinear filter that is widened where it shrinks (antialiasing), and
normalize the pixels. ONNX Runtime returns an image of the network's size unchanged by the first two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from nas.arch.layers import INPUT
from nas.graph.build import OUTPUT

IMAGE = "image"
PREFIX = "preprocess."
"""Beginning of the names of the operators and constants; they are not part of the network, and stay in fp32."""
HEIGHT, WIDTH = "height", "width"


def with_preprocessing(model: onnx.ModelProto, mean: Sequence[float], std: Sequence[float]) -> onnx.ModelProto:
    """Return a model whose input is uint8 images of any size instead of normalized ones of the network's size.

    Args:
        model: Model with one input `input`, fp32 `(batch, C, R, R)`, as `nas.graph.build.build_graph` makes it.
        mean: Mean of each channel, where 255 counts as 1.
        std: Standard deviation of each channel, where 255 counts as 1.

    Returns:
        The model with one input `image`, uint8 `(batch, height, width, C)`, whose height and width are open. Its
        outputs and its metadata are those of the given model.

    >>> from nas.arch.presets import preset
    >>> from nas.graph.build import build_graph
    >>> from nas.graph.fragment import whole
    >>> network = build_graph(whole(preset("mobilenetv2").adapted(resolution=32, classes=10)))
    >>> [node.op_type for node in with_preprocessing(network, [0.5] * 3, [0.5] * 3).graph.node][5:11]
    ['Slice', 'Resize', 'Transpose', 'Cast', 'Mul', 'Add']
    """
    batch, channels, *sides = model.graph.input[0].type.tensor_type.shape.dim
    shape = [batch.dim_value or batch.dim_param, HEIGHT, WIDTH, channels.dim_value]
    resized = [*([batch.dim_value] if batch.dim_value else []), *(side.dim_value for side in sides), channels.dim_value]
    added = onnx.ModelProto()
    added.CopyFrom(model)
    del added.graph.input[:], added.graph.node[:]
    added.graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, shape))
    constants = _constants(resized, mean, std)
    added.graph.initializer.extend(numpy_helper.from_array(array, PREFIX + name) for name, array in constants.items())
    added.graph.node.extend([*_operators(batch_is_open=not batch.dim_value), *model.graph.node])
    return added


def only_preprocessing(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the preprocessing of a model alone, to check it apart from the network.

    Args:
        model: Model that `with_preprocessing` returned.

    Returns:
        A model with the same input, and the normalized images as its output, fp32 `(batch, C * R * R)`.
    """
    nodes = [node for node in model.graph.node if node.name.startswith(PREFIX)]
    nodes.append(helper.make_node("Flatten", [INPUT], [OUTPUT], axis=1))
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_value or batch.dim_param, "values"]
    graph = helper.make_graph(
        nodes,
        "preprocessing",
        list(model.graph.input),
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)],
        [constant for constant in model.graph.initializer if constant.name.startswith(PREFIX)],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name="nas")


def _constants(resized: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    # Rounded as in `nas.data.augment.Scaling`, so that the network gets the values that it was trained with.
    means, stds = (np.asarray(values, dtype=np.float64).reshape(-1, 1, 1) for values in (mean, std))
    return {
        "first": np.array([0]),
        "two": np.array([2]),
        "axes": np.array([1, 2]),
        "shape": np.array(resized),
        "factor": (1 / (255 * stds)).astype(np.float32),
        "offset": (-means / stds).astype(np.float32),
    }


def _operators(*, batch_is_open: bool) -> list[NodeProto]:
    # The sizes of all dimensions are stated, and not those of height and width alone: the crop is computed from the
    # image, behind which ONNX infers no shapes any more. The other dimensions are not resized.
    whole_shape = [
        _operator("Shape", "batch", IMAGE, start=0, end=1),
        _operator("Concat", "whole_shape", "batch", "shape", axis=0),
    ]
    return [
        _operator("Shape", "size", IMAGE, start=1, end=3),
        _operator("ReduceMin", "side", "size", "first", keepdims=1),
        _operator("Sub", "rest", "size", "side"),
        _operator("Div", "start", "rest", "two"),  # of whole numbers, rounded down
        _operator("Add", "end", "start", "side"),
        _operator("Slice", "square", IMAGE, "start", "end", "axes"),
        *(whole_shape if batch_is_open else ()),
        _operator(
            "Resize",
            "resized",
            "square",
            "",
            "",
            "whole_shape" if batch_is_open else "shape",
            mode="linear",
            antialias=1,
            # Without this, the filter also counts pixels beyond the border, which Pillow leaves out.
            exclude_outside=1,
            coordinate_transformation_mode="half_pixel",
        ),
        # With the channels last, the normalization takes 12 times as long.
        _operator("Transpose", "transposed", "resized", perm=[0, 3, 1, 2]),
        _operator("Cast", "numbers", "transposed", to=TensorProto.FLOAT),
        _operator("Mul", "scaled", "numbers", "factor"),
        _operator("Add", INPUT, "scaled", "offset"),
    ]


def _operator(op: str, output: str, *inputs: str, **attributes: Any) -> NodeProto:
    """Return an operator; names of values other than the image and the network's input begin with the prefix."""
    names = [_name(each) for each in inputs]
    return helper.make_node(op, names, [_name(output)], name=PREFIX + output, **attributes)


def _name(value: str) -> str:
    return value if value in ("", IMAGE, INPUT) else PREFIX + value
