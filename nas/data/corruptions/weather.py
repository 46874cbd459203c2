"""Corruptions by weather. Every function takes float images `(N, C, H, W)` with values from 0 to 1, and constants."""

import torch
from torch import Generator, Tensor

from nas.data.corruptions.filtering import convolve, motion_kernels, plasma, uniform, zoom
from nas.data.corruptions.severities import Row

# Weights of red, green and blue in the gray value of a color (ITU-R BT.601).
_GRAY = (0.299, 0.587, 0.114)
# Frost is slightly blue.
_FROST_COLOR = (0.85, 0.95, 1.0)


def snow(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images that are whitened, with flakes that fall at an angle."""
    mean, sigma, size, threshold, radius, blur, kept = constants
    count, _, height, width = images.shape
    flakes = zoom(mean + sigma * torch.randn(count, 1, height, width, generator=generator), size)
    flakes = flakes.masked_fill(flakes < threshold, 0.0).clamp(0, 1)
    flakes = convolve(flakes, motion_kernels(radius, blur, uniform((count,), -135, -45, generator)))
    white = torch.maximum(images, 1.5 * _gray(images) + 0.5)
    return kept * images + (1 - kept) * white + flakes + flakes.flip(-2, -1)


def frost(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images behind crystals of frost.

    The publication adds photographs of frost. Here the crystals are computed: ridges of fractal textures. Accuracies
    under frost can therefore not be compared with published ones.
    """
    kept, added = constants
    count, channels, height, width = images.shape
    base, *others = (plasma(count, height, width, decay, generator) for decay in (1.6, 1.3, 1.2))
    ridges = torch.stack([(1 - (2 * texture - 1).abs()) ** 4 for texture in others]).amax(0)
    crystals = (0.35 * base + 0.65 * ridges).clamp(0, 1)
    color = torch.tensor(_FROST_COLOR if channels == len(_FROST_COLOR) else (1.0,) * channels)
    return kept * images + added * crystals * color[:, None, None]


def fog(images: Tensor, constants: Row, generator: Generator) -> Tensor:
    """Return images with fog, a fractal texture."""
    added, decay = constants
    count, _, height, width = images.shape
    brightest = images.amax((1, 2, 3), keepdim=True)
    foggy = images + added * plasma(count, height, width, decay, generator)
    return foggy * brightest / (brightest + added)


def brightness(images: Tensor, constants: Row, _generator: Generator) -> Tensor:
    """Return brighter images: the value of every color rises, and its hue and saturation stay."""
    (added,) = constants
    value = images.amax(1, keepdim=True)
    raised = (value + added).clamp(max=1)
    return torch.where(value > 0, images * raised / value.clamp(min=1e-6), raised)


def _gray(images: Tensor) -> Tensor:
    if images.shape[1] != len(_GRAY):
        return images.mean(1, keepdim=True)
    return (images * torch.tensor(_GRAY)[:, None, None]).sum(1, keepdim=True)
