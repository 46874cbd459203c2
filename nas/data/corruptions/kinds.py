"""The 15 common corruptions by their names."""

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from nas.data.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from nas.data.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from nas.data.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from nas.data.corruptions.severities import CONSTANTS, SEVERITIES, Row
from nas.data.corruptions.weather import brightness, fog, frost, snow
from nas.errors import DataError

KINDS: Mapping[str, Callable[[Tensor, Row, Generator], Tensor]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            gaussian_noise,
            shot_noise,
            impulse_noise,
            defocus_blur,
            glass_blur,
            motion_blur,
            zoom_blur,
            snow,
            frost,
            fog,
            brightness,
            contrast,
            elastic_transform,
            pixelate,
            jpeg_compression,
        )
    }
)
CHANNELS = (1, 3)


def corrupt(images: Tensor, kind: str, severity: int, seed: int = 0) -> Tensor:
    """Return corrupted images, uint8 `(N, C, H, W)` in the host's memory.

    The same images, kind, severity and seed give the same result, whatever device trains.

    Args:
        images: uint8 images `(N, C, H, W)` with 1 or 3 channels.
        kind: Name of the corruption, a key of `KINDS`.
        severity: Severity from 1 to 5.
        seed: Seed of the random numbers.

    Raises:
        DataError: There is no such corruption or severity, or the images have another type or number of channels.

    Example:
        >>> gray = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
        >>> corrupt(gray, "contrast", severity=5).unique().tolist()
        [100]
    """
    _check(images, kind, severity)
    constants = CONSTANTS[kind].at(severity, min(images.shape[-2:]))
    digest = hashlib.sha256(f"{seed} {kind} {severity}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    changed = KINDS[kind](images.cpu().float() / 255, constants, generator)
    return (255 * changed).round().clamp(0, 255).to(torch.uint8)


def _check(images: Tensor, kind: str, severity: int) -> None:
    if kind not in KINDS:
        raise DataError(f"{kind!r:.80} is not a corruption", f"use one of {', '.join(KINDS)}")
    if severity not in SEVERITIES:
        raise DataError(f"the severity is {severity!r:.80}; it must be a whole number from 1 to 5", "use 3")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in CHANNELS:
        raise DataError(
            f"the images are {images.dtype} of shape {tuple(images.shape)}; images to corrupt must be uint8 of shape "
            "(N, C, H, W) with 1 or 3 channels",
            "give gray or color images",
        )
