"""Conversion of fp32 graphs to int8 graphs by ONNX Runtime's static quantization."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from nas.device.validation import first_line
from nas.errors import WeightsError

Array = NDArray[np.float32]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Give batches to the runtime's calibration, one at a time."""

    def __init__(self, name: str, batches: Iterable[Array]) -> None:
        self._feeds: Iterator[dict[str, Array]] = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch under the name of the input, or None at the end."""
        return next(self._feeds, None)


def quantize(model: onnx.ModelProto, batches: Iterable[Array] = (), *, per_channel: bool = True) -> onnx.ModelProto:
    """Return the network with 8-bit weights and activations, in QDQ form.

    Args:
        model: Graph from `build_graph`.
        batches: Inputs `(batch, C, H, W)` from which the ranges of the activations are taken. Without them a random
            batch is used: the ranges change the accuracy, but not the latency.
        per_channel: Whether each channel of a weight has a scale of its own.
    """
    (graph_input,) = model.graph.input
    shape = [dim.dim_value for dim in graph_input.type.tensor_type.shape.dim]
    given = list(batches) or [np.random.default_rng(0).random(shape, dtype=np.float32)]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # `quantize_static` moves the weights out of the model that it is given.
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        _quantize_into(copy, target, _Batches(graph_input.name, given), per_channel=per_channel)
        return onnx.load(target)


def quantize_untrained(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an int8 graph of the form of `quantize`, for a latency whose network has no trained weights.

    ONNX Runtime rounds the weights of each channel in a loop in Python, which takes most of the time of `quantize`:
    here the weights of a layer share one scale, which is then repeated for each channel. The operators and their types
    are the same, and a latency does not depend on the numbers.

    Args:
        model: Graph in fp32 with one input of a known shape.
    """
    made = quantize(model, per_channel=False)
    constants = {each.name: each for each in made.graph.initializer}
    producers = {name: node for node in made.graph.node for name in node.output}
    for node in made.graph.node:
        for name in node.input[1:]:
            scaled = producers.get(name)
            if node.op_type in _CHANNEL_AXES and scaled is not None and scaled.op_type == "DequantizeLinear":
                _repeat_scale(scaled, constants, _CHANNEL_AXES[node.op_type](node))
    return made


def quantize_file(data: bytes, shape: Sequence[int]) -> bytes:
    """Return the int8 form of an fp32 file, for a latency; see `quantize_untrained`.

    Args:
        data: Bytes of a file that `nas.device.onnx_check.check_onnx` has accepted, with fp32 images.
        shape: Shape `(N, C, H, W)` of a batch, which replaces sizes that the file leaves open.

    Raises:
        WeightsError: ONNX Runtime cannot quantize the network.
    """
    model = onnx.load_model_from_string(data)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    del model.graph.input[:]  # Old files list the weights among the inputs, which the quantizer does not expect.
    model.graph.input.extend(inputs)
    for dim, size in zip(inputs[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    try:
        return bytes(quantize_untrained(model).SerializeToString())
    except Exception as error:  # The errors of ONNX Runtime's quantizer have no common base class.
        raise WeightsError(
            f"ONNX Runtime cannot quantize the network: {first_line(error)}", "compare it in fp32 alone"
        ) from None


# Operators whose weights have one scale for each channel in `quantize`, with the axis of their output channels.
_CHANNEL_AXES: Mapping[str, Callable[[onnx.NodeProto], int]] = MappingProxyType(
    {
        "Conv": lambda _node: 0,
        "Gemm": lambda node: 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1,
        "MatMul": lambda _node: 1,
    }
)


def _repeat_scale(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], axis: int) -> None:
    """Repeat the scale and the zero point of constant weights or biases for each channel."""
    if node.input[0] not in constants or any(each.name == "axis" for each in node.attribute):
        return
    dims = constants[node.input[0]].dims
    axis = axis if len(dims) > 1 else 0
    for name in node.input[1:]:
        values = np.repeat(numpy_helper.to_array(constants[name]).ravel(), dims[axis])
        constants[name].CopyFrom(numpy_helper.from_array(values, name))
    node.attribute.append(helper.make_attribute("axis", axis))


def _quantize_into(
    model: onnx.ModelProto, target: Path, reader: CalibrationDataReader, *, per_channel: bool = True
) -> None:
    with without_warnings():
        quantize_static(
            model,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def without_warnings() -> Iterator[None]:
    """Drop the warnings that ONNX Runtime's quantizer logs, which say nothing that is not measured later.

    It warns that preprocessing was skipped, which would fold normalizations that these graphs do not have, and of each
    bias that is too large for the scale of its layer: where that costs accuracy, the check of the file shows it.
    """
    root = logging.getLogger()
    # `logging.warning` would give a root logger without handlers one that stays and prints all later messages.
    handler = logging.NullHandler() if root.handlers else logging.lastResort or logging.NullHandler()
    root.addFilter(_is_of_others)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.removeFilter(_is_of_others)


def _is_of_others(message: logging.LogRecord) -> bool:
    return "onnxruntime" not in Path(message.pathname).parts or message.levelno > logging.WARNING
