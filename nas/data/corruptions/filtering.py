"""Filters and random textures that several corruptions use, on batches of float images `(N, C, H, W)`."""

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Return numbers that are distributed uniformly from `low` to `high`."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def smooth(images: Tensor, sigma: float) -> Tensor:
    """Return images that are blurred with a Gaussian filter of a standard deviation in pixels, mirrored at the edges.

    The cosine transform makes a filter of any width equally fast. The Gaussian is not cut off.

    Example:
        >>> smooth(torch.ones(1, 1, 8, 8), sigma=20.0).allclose(torch.ones(1, 1, 8, 8))
        True
    """
    from scipy.fft import dctn, idctn

    if not sigma:
        return images
    height, width = (
        np.exp(-((sigma * math.pi * np.arange(side) / side) ** 2) / 2).astype(np.float32) for side in images.shape[-2:]
    )
    spectrum = dctn(images.numpy(), axes=(-2, -1)) * height[:, None] * width
    return torch.from_numpy(idctn(spectrum, axes=(-2, -1)))


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Return the convolution of each image with its kernel, where the pixels of the edge are repeated outside.

    Args:
        images: Images `(N, C, H, W)`.
        kernels: One kernel for each image, or one for all, `(N or 1, K, K)`; K is odd.
    """
    margin = kernels.shape[-1] // 2
    padded = functional.pad(images, (margin,) * 4, mode="replicate")
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=size)[:, None]
    convolved: Tensor = torch.fft.irfft2(spectrum, s=size)
    return convolved[..., 2 * margin :, 2 * margin :]


def motion_kernels(radius: float, sigma: float, angles: Tensor) -> Tensor:
    """Return kernels of a motion that fades like a Gaussian, `(N, K, K)`.

    Args:
        radius: Half of the length of the motion, in pixels.
        sigma: Standard deviation of the weights along the motion, in pixels.
        angles: Direction of each motion in degrees, `(N,)`.
    """
    steps = torch.arange(2 * round(radius) + 1)
    weights = torch.exp(-(steps.double() ** 2) / (2 * sigma**2))
    reach = int(steps[-1]) + 1
    side = 2 * reach + 1
    kernels = torch.zeros(len(angles), side * side, dtype=torch.float64)
    radians = torch.deg2rad(angles.double())[:, None]
    rows, columns = (reach + steps * direction for direction in (torch.sin(radians), torch.cos(radians)))
    # A point between pixels counts for the four pixels around it, as in bilinear interpolation.
    for row, row_share in _neighbors(rows):
        for column, column_share in _neighbors(columns):
            kernels.scatter_add_(1, row * side + column, weights * row_share * column_share)
    return (kernels / kernels.sum(1, keepdim=True)).view(-1, side, side).float()


def _neighbors(positions: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the whole positions on both sides of positions, each with its weight."""
    below = positions.floor()
    share = positions - below
    return (below.long(), 1 - share), (below.long() + 1, share)


def zoom(images: Tensor, factor: float) -> Tensor:
    """Return the center of images, enlarged to their size."""
    height, width = images.shape[-2:]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = images[..., top : top + rows, left : left + columns]
    return functional.interpolate(part, size=(height, width), mode="bilinear", align_corners=True)


def plasma(count: int, height: int, width: int, decay: float, generator: Generator) -> Tensor:
    """Return fractal textures with values from 0 to 1, `(N, 1, H, W)`, by the diamond-square algorithm.

    Args:
        count: Number of textures.
        height: Height in pixels.
        width: Width in pixels.
        decay: The amplitude of the noise falls by the square of this factor when the scale is halved.
        generator: Generator of the random numbers.
    """
    side = 1 << max(1, (max(height, width) - 1).bit_length())
    field = torch.zeros(count, side, side)
    step, amplitude = side, 1.0
    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        rows = corners + corners.roll(-1, 1)
        noise = uniform((3, *corners.shape), -amplitude, amplitude, generator)
        centers = (rows + rows.roll(-1, 2)) / 4 + noise[0]
        field[:, half::step, half::step] = centers
        across = corners + corners.roll(-1, 2) + centers + centers.roll(1, 1)
        field[:, ::step, half::step] = across / 4 + noise[1]
        field[:, half::step, ::step] = (rows + centers + centers.roll(1, 2)) / 4 + noise[2]
        step, amplitude = half, amplitude / decay**2
    field -= field.amin((1, 2), keepdim=True)
    return (field / field.amax((1, 2), keepdim=True))[:, None, :height, :width]
