"""Corruptions by processing. Every function takes float images `(N, C, H, W)` from 0 to 1, and constants."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from nas.data.corruptions.filtering import smooth, uniform
from nas.data.corruptions.severities import Row

if TYPE_CHECKING:
    from PIL import Image


def contrast(images: Tensor, constants: Row, _generator: Generator) -> Tensor:
    """Return images with less contrast: every color moves towards the mean color."""
    (factor,) = constants
    means = images.mean((2, 3), keepdim=True)
    return means + factor * (images - means)


def elastic_transform(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images that are stretched as a whole and distorted locally; edges are mirrored."""
    factor, sigma, shift = constants
    count, _, height, width = images.shape
    side = min(height, width)
    noise = uniform((count, 2, height, width), -1, 1, generator)
    displaced = factor * side * smooth(noise, sigma * side)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((columns, rows)).float() + displaced
    ones = torch.ones(count, 1, height, width)
    maps = _affine_maps(count, height, width, shift * side, generator)
    sources = torch.einsum("nij,njhw->nhwi", maps, torch.cat((places, ones), 1))
    grid = 2 * sources / (torch.tensor((width, height)) - 1).clamp(min=1) - 1
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def _affine_maps(count: int, height: int, width: int, shift: float, generator: Generator) -> Tensor:
    """Return maps `(N, 2, 3)` that move three corners of a square in the middle by up to `shift` pixels each."""
    x, y, reach = width // 2, height // 2, max(1, min(height, width) // 3)
    corners = torch.tensor(((x + reach, y + reach), (x + reach, y - reach), (x - reach, y - reach))).double()
    moved = corners + uniform((count, 3, 2), -shift, shift, generator)
    known = torch.cat((corners, torch.ones(3, 1)), 1).expand(count, 3, 3)
    maps: Tensor = torch.linalg.solve(known, moved)
    return maps.mT.float()


def pixelate(images: Tensor, constants: Row, _generator: Generator) -> Tensor:
    """Return images of a lower resolution, enlarged to their size without smoothing."""
    from PIL import Image

    (factor,) = constants
    size = images.shape[-1], images.shape[-2]
    fewer = (max(1, int(size[0] * factor)), max(1, int(size[1] * factor)))
    return _with_pillow(
        images, lambda image: image.resize(fewer, Image.Resampling.BOX).resize(size, Image.Resampling.BOX)
    )


def jpeg_compression(images: Tensor, constants: Row, _generator: Generator) -> Tensor:
    """Return images after JPEG compression of low quality."""
    from PIL import Image

    (quality,) = constants

    def compressed(image: "Image.Image") -> "Image.Image":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=round(quality))
        return Image.open(buffer)

    return _with_pillow(images, compressed)


def _with_pillow(images: Tensor, change: "Callable[[Image.Image], Image.Image]") -> Tensor:
    """Return images that a function of Pillow changed one by one."""
    from PIL import Image

    pixels = (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    gray = pixels.shape[-1] == 1
    changed = [np.asarray(change(Image.fromarray(image[..., 0] if gray else image))) for image in pixels]
    return torch.from_numpy(np.stack(changed).reshape(pixels.shape)).permute(0, 3, 1, 2).float() / 255
