"""Labelled images held in memory, and the record of a whole data set."""

import hashlib
from collections.abc import Iterable

import attrs
import torch
from torch import Tensor

from nas.errors import DataError

# A channel that never changes has no spread; one grey level keeps the division by it finite.
_SMALLEST_STD = 1 / 255
# Images that are looked at together.
_BLOCK = 1024


def _are_images(_: object, __: object, value: Tensor) -> None:
    if value.dtype != torch.uint8 or value.ndim != 4 or value.shape[1] != 3:
        raise DataError(f"images must be uint8 (N, 3, H, W), these are {value.dtype} {tuple(value.shape)}")


def _are_labels(part: "Images", _: object, value: Tensor) -> None:
    if value.dtype != torch.int64 or value.shape != part.images.shape[:1]:
        raise DataError(
            f"labels must be int64 (N,), one an image: "
            f"{value.dtype} {tuple(value.shape)} for {part.images.shape[0]} images"
        )


@attrs.frozen(eq=False)
class Images:
    """Images and their labels.

    Args:
        images: uint8 `(N, 3, H, W)`.
        labels: int64 `(N,)`, an index into the classes.
        mapped: whether the images lie in a file that is read as it is needed, being too many for the memory.

    Raises:
        DataError: another dtype or shape.
    """

    images: Tensor = attrs.field(validator=_are_images)
    labels: Tensor = attrs.field(validator=_are_labels)
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Images":
        """The same images on `device`."""
        return Images(self.images.to(device), self.labels.to(device))


@attrs.frozen(eq=False)
class ImageData:
    """A data set: what a search trains on, what it is scored on, and what it never sees.

    Args:
        name: the source as the user typed it.
        classes: the class names; a label is an index into them.
        train: what is trained on.
        val: what a search scores architectures on.
        test: kept for the winner; None where it was not asked for, as no search reads it.
        mean: mean of the train part by channel, 0…1.
        std: standard deviation of the train part by channel, 0…1, never below one grey level.
        fingerprint: 12 hex digits that change with any pixel, label or class name of train and val; the same with and
            without the test part.
        flip: whether a mirrored image keeps its label.
        notes: what was done to the images, said to the user.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fingerprint: str
    flip: bool = True
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def resolution(self) -> int:
        """Height and width of every image, in pixels."""
        return int(self.train.images.shape[-1])


def mean_and_std(images: Tensor) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation by channel, 0…1, of uint8 images `(N, 3, H, W)`."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    # Counting grey levels is exact and needs no float copy of the images; nor a copy at all, block by block.
    counts = sum((_counts(block) for block in torch.split(images, _BLOCK)), torch.zeros(3, 256, dtype=torch.int64))
    shares = counts.double() / counts.sum(1, keepdim=True)
    means = [float(share @ levels) for share in shares]
    variances = [float(share @ (levels - mean) ** 2) for share, mean in zip(shares, means, strict=True)]
    stds = [max(variance**0.5, _SMALLEST_STD) for variance in variances]
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


def _counts(images: Tensor) -> Tensor:
    """How often each grey level occurs, `(3, 256)`."""
    return torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)]).cpu()


def fingerprint(classes: Iterable[str], parts: Iterable[Images]) -> str:
    """12 hex digits of a sha256 over class names, labels and pixels, part by part."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for part in parts:
        digest.update(repr(tuple(part.images.shape)).encode())
        digest.update(part.labels.cpu().numpy().tobytes())
        digest.update(part.images.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:12]
