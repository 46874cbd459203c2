"""fp32 graphs ► int8 graphs, by ONNX Runtime's own static quantization."""

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
    """Batches as the runtime's calibration reads them."""

    def __init__(self, name: str, batches: Iterable[Array]) -> None:
        self._feeds: Iterator[dict[str, Array]] = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Array] | None:
        """The next batch by the input's name, None at the end."""
        return next(self._feeds, None)


def quantize(model: onnx.ModelProto, batches: Iterable[Array] = ()) -> onnx.ModelProto:
    """The network with weights and activations of 8 bits, in QDQ form, weights scaled by channel.

    Args:
        model: as `build_graph` makes it.
        batches: inputs `(batch, C, H, W)` from which the ranges of activations are read; without any a random one is
            taken, which is enough for timing and for nothing else.
    """
    (taken,) = model.graph.input
    shape = [dim.dim_value for dim in taken.type.tensor_type.shape.dim]
    given = list(batches) or [np.random.default_rng(0).random(shape, dtype=np.float32)]
    own = onnx.ModelProto()
    own.CopyFrom(model)  # the runtime's tool moves the weights out of what it is given
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        _quantize_into(own, target, _Batches(taken.name, given))
        return onnx.load(target)


def _quantize_into(model: onnx.ModelProto, target: Path, reader: CalibrationDataReader) -> None:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)  # it recommends a preprocessing that folded graphs do not need
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
        root.setLevel(before)
