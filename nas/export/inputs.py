"""Images as inputs of exported files, and variants of images for checks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from nas.data.augment import normalize
from nas.data.base import Images
from nas.data.decode import fit_pixels
from nas.export.graph import known_normalization
from nas.weights.base import TrainedNetwork

GENERATED = 64
"""Number of images of a check without a source of images."""
_SEED = 0


@frozen(eq=False)
class InputForm:
    """Make inputs of files from images.

    Attributes:
        network: The network; the normalization of its images is known.
        preprocess: Whether the files take uint8 images.
    """

    network: TrainedNetwork
    preprocess: bool

    def inputs(self, images: Images) -> NDArray[Any]:
        """Return images of the network's size as uint8 `(N, R, R, C)`, or normalized as fp32 `(N, C, R, R)`."""
        normalization = known_normalization(self.network)
        return as_inputs(images, normalization.mean, normalization.std, preprocess=self.preprocess)


def as_inputs(images: Images, mean: tuple[float, ...], std: tuple[float, ...], *, preprocess: bool) -> NDArray[Any]:
    """Return images of the network's size as a file takes them.

    Args:
        images: The images.
        mean: Mean of each channel, where 255 counts as 1.
        std: Standard deviation of each channel, where 255 counts as 1.
        preprocess: Whether the file takes uint8 images `(N, R, R, C)`, and not normalized fp32 images `(N, C, R, R)`.
    """
    pixels = images.images.cpu()
    inputs: NDArray[Any] = (
        pixels.permute(0, 2, 3, 1).contiguous() if preprocess else normalize(pixels, mean, std)
    ).numpy()
    return inputs


def generated_images(network: TrainedNetwork, count: int) -> Images:
    """Return images of the network's size with random pixels, which are always the same."""
    return random_images(count, network.arch.in_channels, network.arch.resolution)


def random_images(count: int, channels: int, resolution: int) -> Images:
    """Return images with random pixels, which are always the same."""
    pixels = np.random.default_rng(_SEED).integers(0, 256, (count, channels, resolution, resolution), dtype=np.uint8)
    return Images(torch.from_numpy(pixels), torch.zeros(count, dtype=torch.int64))


def image_parts(images: Images, count: int) -> Iterator[Images]:
    """Yield consecutive images, so many at a time."""
    for start in range(0, len(images), count):
        yield Images(images.images[start : start + count], images.labels[start : start + count])


def resized_images(images: NDArray[np.uint8], resolution: int) -> Images:
    """Return images `(N, H, W, C)` of any size as training and prediction get them."""
    pixels = np.stack([fit_pixels(image, resolution) for image in images])
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return Images(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels)


def with_changed_pixels(images: Images) -> Images:
    """Return images whose pixels are changed by up to one gray level at random, always in the same way."""
    generator = torch.Generator().manual_seed(_SEED)
    change = torch.randint(-1, 2, images.images.shape, generator=generator)
    return Images((images.images + change).clamp(0, 255).to(torch.uint8), images.labels)
