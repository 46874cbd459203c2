"""Logits of a model for images, computed on a device in the current process."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from nas.device.onnx_check import OPEN_BATCH
from nas.device.session import failed_run, open_session
from nas.device.spec import Device
from nas.errors import DeviceError


def run_model(
    model: bytes | onnx.ModelProto, images: NDArray[np.generic], device: Device | None = None
) -> NDArray[np.float32]:
    """Return the logits `(N, classes)` of images.

    Args:
        model: A model with one input and one output, or the bytes of its file.
        images: Input of the model for N images: uint8 `(N, H, W, C)` or fp32 `(N, C, H, W)`.
        device: Device of this machine; None is one CPU core. The model has a batch and a precision of its own, so that
            those of the device are not used.

    Raises:
        DeviceError: The runtime rejects the model or the images, or the device has too little memory.
    """
    return run_session(open_session(model, device or Device()), images)


def run_session(session: onnxruntime.InferenceSession, images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the logits `(N, classes)` of images with a model that is loaded; see `run_model`."""
    logits = list(_logits(session, images))
    if not logits:
        raise DeviceError("there are no images, and a model runs on one or more", "give at least one image")
    return np.concatenate(logits)


def _logits(session: onnxruntime.InferenceSession, images: NDArray[np.generic]) -> Iterator[NDArray[np.float32]]:
    (input_info,) = session.get_inputs()
    fixed = input_info.shape[0] if isinstance(input_info.shape[0], int) else 0
    batch = fixed or OPEN_BATCH
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        missing = fixed - len(part) if fixed else 0
        padded = np.pad(part, ((0, missing), *[(0, 0)] * (part.ndim - 1))) if missing else np.ascontiguousarray(part)
        try:
            (logits,) = session.run(None, {input_info.name: padded})
        except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
            raise failed_run(error, len(padded)) from None
        yield np.asarray(logits, np.float32)[: len(part)]
