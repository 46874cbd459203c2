"""Corruptions by blur. Every function takes float images `(N, C, H, W)` with values from 0 to 1, and constants."""

import math

import numpy as np
import torch
from torch import Generator, Tensor

from nas.data.corruptions.filtering import convolve, motion_kernels, smooth, uniform, zoom
from nas.data.corruptions.severities import Row


def defocus_blur(images: Tensor, constants: Row, _generator: Generator) -> Tensor:
    """Return images that are out of focus: every point becomes a disk."""
    from scipy.ndimage import gaussian_filter

    radius, sigma = constants
    reach = math.ceil(radius + 4 * sigma)
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float64)
    kernel = gaussian_filter(disk / disk.sum(), sigma, mode="constant")
    return convolve(images, torch.from_numpy(kernel / kernel.sum()).float()[None])


def glass_blur(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images as behind frosted glass: pixels are swapped with others that are near."""
    sigma, most, rounds = constants
    blurred = smooth(images, sigma)
    shuffled = blurred
    for _ in range(max(1, round(rounds))):
        shuffled = _swapped(shuffled, max(1, round(most)), generator)
    return smooth(shuffled, sigma)


def _swapped(images: Tensor, most: int, generator: Generator) -> Tensor:
    """Return images whose pixels were swapped one after another, from the last to the first."""
    count, channels, height, width = images.shape
    rows, columns = range(height - most, most, -1), range(width - most, most, -1)
    places = np.array([row * width + column for row in rows for column in columns], dtype=np.int64)
    offsets = torch.randint(-most, most, (2, len(places), count), generator=generator).numpy()
    partners = places[:, None] + offsets[0] * width + offsets[1]
    # All images take one step together, since a step depends on those before it.
    sources = np.repeat(np.arange(height * width)[:, None], count, axis=1)
    every = np.arange(count)
    for place, partner in zip(places.tolist(), partners, strict=True):
        taken = sources[partner, every]
        sources[partner, every] = sources[place]
        sources[place] = taken
    indices = torch.from_numpy(sources.T)[:, None].expand(count, channels, -1)
    return images.flatten(2).gather(2, indices).view(images.shape)


def motion_blur(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images that were taken by a camera in motion."""
    radius, sigma = constants
    return convolve(images, motion_kernels(radius, sigma, uniform((len(images),), -45, 45, generator)))


def zoom_blur(images: Tensor, constants: Row, _generator: Generator) -> Tensor:
    """Return images that were taken by a camera that moved towards the scene."""
    largest, step = constants
    zooms = np.arange(1, largest, step)
    return (images + sum(zoom(images, float(factor)) for factor in zooms)) / (len(zooms) + 1)
