"""Logits that a device computed, and how many images one request for them has."""

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.device.messages import DTYPES, LogitsReply
from nas.errors import DeviceError

PART_BYTES = 32 * 2**20
"""Largest size of the images of one request, unless a single image is larger. It bounds the memory on both machines."""
PART_IMAGES = 4096


@frozen(eq=False)
class DeviceLogits:
    """Hold the logits of images that a device computed.

    Attributes:
        logits: fp32 logits `(N, classes)`.
        peak_bytes: Growth of the peak resident memory of a fresh process by loading the model and running one batch;
            None where the operating system does not report it.
        provider: Execution provider that the model ran on.
    """

    logits: NDArray[np.float32] = field(repr=False)
    peak_bytes: int | None
    provider: str


def image_parts(images: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """Yield consecutive images, as many as one request may have.

    Raises:
        DeviceError: There are no images, or they have another type or number of dimensions.
    """
    if not len(images) or images.ndim != 4 or images.dtype.name not in DTYPES or not images.nbytes:
        raise DeviceError(
            f"images are {images.dtype} of the shape {images.shape}; a model takes one or more images, uint8 "
            "(N, H, W, C) or float32 (N, C, H, W)",
            "give at least one image in one of these forms",
        )
    count = max(1, min(PART_IMAGES, PART_BYTES // images[0].nbytes))
    return (images[start : start + count] for start in range(0, len(images), count))


def read_logits(reply: LogitsReply, data: bytes) -> DeviceLogits:
    """Return the logits that a reply describes, from their bytes."""
    logits = np.frombuffer(data, "<f4").astype(np.float32).reshape(reply.count, reply.classes)
    return DeviceLogits(logits, reply.peak_bytes, reply.provider)


def joined_logits(parts: Sequence[DeviceLogits]) -> DeviceLogits:
    """Return the logits of consecutive images as one record, with the largest of their peaks."""
    peaks = [part.peak_bytes for part in parts if part.peak_bytes is not None]
    logits = np.concatenate([part.logits for part in parts])
    return DeviceLogits(logits, max(peaks, default=None), parts[0].provider)
