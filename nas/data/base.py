"""Labeled images held in memory, and the record of a whole data set."""

import hashlib
from collections.abc import Iterable

import attrs
import torch
from torch import Tensor

from nas.errors import DataError

# A channel that never changes has a standard deviation of 0; one gray level keeps the division by it finite.
_SMALLEST_STD = 1 / 255
# Number of images whose gray levels are counted at a time.
_BLOCK = 1024


def _check_images(_: object, __: object, value: Tensor) -> None:
    if value.dtype != torch.uint8 or value.ndim != 4 or not value.shape[1]:
        raise DataError(
            f"the images are {value.dtype} of shape {tuple(value.shape)}; images must be uint8 of shape (N, C, H, W)",
            "convert them to uint8 with the channels before height and width",
        )


def _check_labels(part: "Images", _: object, value: Tensor) -> None:
    if value.dtype != torch.int64 or value.shape != part.images.shape[:1]:
        raise DataError(
            f"the labels are {value.dtype} of shape {tuple(value.shape)} for {part.images.shape[0]} images; "
            "labels must be int64 of shape (N,), one label for each image",
            "convert them to int64, and give one label for each image",
        )


@attrs.frozen(eq=False)
class Images:
    """Hold images and their labels.

    Args:
        images: uint8 images `(N, C, H, W)`.
        labels: int64 labels `(N,)`; each is an index into the class names.
        mapped: Whether the images are in a memory-mapped file because they do not fit into the free memory.

    Raises:
        DataError: The images or the labels have another type or shape.
    """

    images: Tensor = attrs.field(validator=_check_images)
    labels: Tensor = attrs.field(validator=_check_labels)
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Images":
        """Return the same images and labels on `device`."""
        return Images(self.images.to(device), self.labels.to(device))


@attrs.frozen(eq=False)
class ImageData:
    """Hold a data set: the images to train on, the images to score architectures on, and the images for the final test.

    Args:
        name: The source as the user typed it.
        classes: Class names; a label is an index into them.
        train: Training split.
        val: Validation split, on which a search scores architectures.
        test: Test split, for the final architecture; None if it was not asked for, since a search never uses it.
        mean: Mean of each channel of the training split, where 255 counts as 1.
        std: Standard deviation of each channel of the training split, where 255 counts as 1; at least one gray level.
        fingerprint: 12 hexadecimal digits that change with any pixel, label or class name of the training and the
            validation split; they are the same with and without the test split.
        flip: Whether a mirrored image keeps its label.
        notes: Sentences for the user about what was done to the images.
        stored_side: Shorter side of a stored image in pixels, the median of all; 0 if it is unknown.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    flip: bool = True
    notes: tuple[str, ...] = ()
    stored_side: int = 0

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    @property
    def resolution(self) -> int:
        """Return the height and width of every image, in pixels."""
        return int(self.train.images.shape[-1])

    @property
    def channels(self) -> int:
        """Return the number of channels of every image."""
        return int(self.train.images.shape[1])


def mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel of uint8 images `(N, C, H, W)`.

    A pixel of 255 counts as 1.

    Example:
        >>> import torch
        >>> mean, std = mean_and_std(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4))
        >>> mean, std
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    # Counting gray levels is exact, and needs neither a float copy of the images nor, block by block, any copy.
    none = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    counts = sum((_count_levels(block) for block in torch.split(images, _BLOCK)), none)
    shares = counts.double() / counts.sum(1, keepdim=True)
    means = tuple(float(share @ levels) for share in shares)
    variances = [float(share @ (levels - mean) ** 2) for share, mean in zip(shares, means, strict=True)]
    return means, tuple(max(variance**0.5, _SMALLEST_STD) for variance in variances)


def _count_levels(images: Tensor) -> Tensor:
    """Count how often each gray level occurs in each channel, `(C, 256)`."""
    return torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)]).cpu()


def fingerprint(classes: Iterable[str], parts: Iterable[Images]) -> str:
    """Return the first 12 hexadecimal digits of a SHA-256 over class names, labels and pixels, split by split."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for part in parts:
        digest.update(repr(tuple(part.images.shape)).encode())
        digest.update(part.labels.cpu().numpy().tobytes())
        digest.update(part.images.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:12]
