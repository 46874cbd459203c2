"""What the processor that runs the tests computes exactly."""

from functools import cache

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.device.run_model import run_model
from nas.export.quantization.graph import Types, quantize_graph


def conv_graph(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> onnx.ModelProto:
    """Return a graph of one convolution of kernel 1 on 4 x 4 pixels."""
    nodes = [helper.make_node("Conv", ["input", "conv.weight", "conv.bias"], ["output"], "conv", kernel_shape=[1, 1])]
    shapes = {"input": [1, weight.shape[1], 4, 4], "output": [1, weight.shape[0], 4, 4]}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    constants = [numpy_helper.from_array(weight, "conv.weight"), numpy_helper.from_array(bias, "conv.bias")]
    graph = helper.make_graph(nodes, "g", [infos["input"]], [infos["output"]], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@cache
def adds_exactly(types: Types) -> bool:
    """Return whether the sum of four products of the largest numbers of these types does not overflow here."""
    weight, images = np.ones((6, 4, 1, 1), np.float32), np.ones((1, 4, 4, 4), np.float32)
    ranges = {"input": (-1.0, 1.0), "output": (-8.0, 8.0)}
    made = quantize_graph(conv_graph(weight, np.zeros(6, np.float32)), ranges, types, ["conv"])
    return bool(np.abs(run_model(made, images)[0] - 4).max() < 0.1)


def needs_exact(types: Types) -> None:
    """Skip a test whose expected values are those of exact sums, on a processor on which these types overflow."""
    if not adds_exactly(types):
        pytest.skip(f"sums of products of {types} overflow on this processor, which has no VNNI")
