"""Corruptions by noise. Every function takes float images `(N, C, H, W)` with values from 0 to 1, and constants."""

import torch
from torch import Generator, Tensor

from nas.data.corruptions.severities import Row


def gaussian_noise(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images with normal noise, as at little light."""
    (sigma,) = constants
    return images + sigma * torch.randn(images.shape, generator=generator)


def shot_noise(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images with Poisson noise, which counting photons causes."""
    (photons,) = constants
    return torch.poisson(images * photons, generator=generator) / photons


def impulse_noise(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images of which a share of the values became 0 or 1, as bit errors cause it."""
    (share,) = constants
    draws = torch.rand(images.shape, generator=generator)
    return images.masked_fill(draws < share, 1.0).masked_fill(draws < share / 2, 0.0)
