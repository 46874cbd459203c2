"""Conversion of fp32 graphs to int8 graphs by ONNX Runtime's static quantization."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

Array = NDArray[np.float32]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Give batches to the runtime's calibration, one at a time."""

    def __init__(self, name: str, batches: Iterable[Array]) -> None:
        self._feeds: Iterator[dict[str, Array]] = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch under the name of the input, or None at the end."""
        return next(self._feeds, None)


def quantize(model: onnx.ModelProto, batches: Iterable[Array] = ()) -> onnx.ModelProto:
    """Return the network with 8-bit weights and activations, in QDQ form, with one weight scale for each channel.

    Args:
        model: Graph from `build_graph`.
        batches: Inputs `(batch, C, H, W)` from which the ranges of the activations are taken. Without them a random
            batch is used: the ranges change the accuracy, but not the latency.
    """
    (graph_input,) = model.graph.input
    shape = [dim.dim_value for dim in graph_input.type.tensor_type.shape.dim]
    given = list(batches) or [np.random.default_rng(0).random(shape, dtype=np.float32)]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # `quantize_static` moves the weights out of the model that it is given.
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        _quantize_into(copy, target, _Batches(graph_input.name, given))
        return onnx.load(target)


def _quantize_into(model: onnx.ModelProto, target: Path, reader: CalibrationDataReader) -> None:
    root = logging.getLogger()
    level = root.level
    # The tool warns that preprocessing was skipped. It would fold normalizations, and these graphs have none.
    root.setLevel(logging.ERROR)
    try:
        quantize_static(
            model,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        root.setLevel(level)
