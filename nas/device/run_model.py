"""Logits of a model for images, computed on a device in the current process."""

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


def run_session(
    session: onnxruntime.InferenceSession, images: NDArray[np.generic], open_batch: int = OPEN_BATCH
) -> NDArray[np.float32]:
    """Return the logits `(N, classes)` of images with a model that is loaded; see `run_model`.

    Args:
        session: The session of the model.
        images: Input of the model for N images.
        open_batch: Number of images that run together where the model leaves its batch open.
    """
    if not len(images):
        raise DeviceError("there are no images, and a model runs on one or more", "give at least one image")
    (input_info,) = session.get_inputs()
    fixed = input_info.shape[0] if isinstance(input_info.shape[0], int) else None
    batch = fixed or open_batch
    parts = (images[start : start + batch] for start in range(0, len(images), batch))
    return np.concatenate([_logits(session, input_info.name, part, fixed or len(part)) for part in parts])


def _logits(
    session: onnxruntime.InferenceSession, name: str, images: NDArray[np.generic], batch: int
) -> NDArray[np.float32]:
    """Return the logits of images that are filled up with zeros to a batch."""
    missing = batch - len(images)
    padding = ((0, missing), *[(0, 0)] * (images.ndim - 1))
    try:
        found = session.run(None, {name: np.pad(images, padding) if missing else np.ascontiguousarray(images)})
    except Exception as error:  # The exceptions of ONNX Runtime have no common base class.
        raise failed_run(error, batch) from None
    return np.asarray(found[0], np.float32)[: len(images)]
