"""ONNX files of other programs as networks that classify images in the current process."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from attrs import frozen
from numpy.typing import NDArray

from nas.device.onnx_check import CheckedFile, check_onnx, read_onnx_file
from nas.device.run_model import run_session
from nas.device.session import open_session
from nas.device.spec import Device
from nas.errors import DeviceError, WeightsError


@frozen(eq=False)
class OnnxNetwork:
    """Compute the logits of images with the network of an ONNX file, on the CPU.

    Attributes:
        session: Session of ONNX Runtime.
        input_shape: Shape of an image: channels, height and width.
        classes: Number of classes.
        metadata: Texts by name that the file has beside the network.
        digest: 12 hexadecimal digits that change with the file.
    """

    session: onnxruntime.InferenceSession
    input_shape: tuple[int, int, int]
    classes: int
    metadata: Mapping[str, str]
    digest: str

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits `(N, classes)` of normalized images `(N, C, H, W)`."""
        return run_session(self.session, images) if len(images) else np.zeros((0, self.classes), np.float32)


def read_onnx(path: Path, resolution: int, threads: int = 0) -> OnnxNetwork:
    """Return the network of an ONNX file that takes normalized images.

    Args:
        path: Path of the file.
        resolution: Height and width of the images in pixels if the file leaves them open.
        threads: Number of threads that compute; 0 takes one for each CPU core.

    Raises:
        WeightsError: The file cannot be read, is no ONNX file, has something that is not allowed, or does not classify
            images.
    """
    data = read_onnx_file(path)
    try:
        return network_of(check_onnx(data, size=(resolution, resolution)), threads)
    except (WeightsError, DeviceError) as error:
        raise WeightsError(f"{path}: {error.problem}", error.remedy) from None


def network_of(checked: CheckedFile, threads: int = 0) -> OnnxNetwork:
    """Return the network of a file that has passed the check.

    Raises:
        WeightsError: Its images are not normalized ones.
        DeviceError: The runtime rejects it.
    """
    if checked.dtype != np.float32:
        raise WeightsError(
            "it takes images of whole numbers, and only networks of normalized images (N, C, H, W) can be taught from",
            "export it without preprocessing",
        )
    session = open_session(checked.data, Device(threads=threads))
    digest = hashlib.sha256(checked.data).hexdigest()[:12]
    return OnnxNetwork(session, checked.shape, checked.classes, checked.metadata, digest)
