"""Batches of images on the device that trains, and their random augmentation."""

import torch
from attrs import frozen
from torch import Generator, Tensor
from torch.nn import functional

from nas.data.augment import augment_with_flips, send
from nas.data.base import ImageData, Images

# Largest share of a GPU's free memory that the images of one split may take; the network needs the rest.
MAX_DEVICE_SHARE = 0.5
# Of 100, 250, 500 and 2,000 small images, this batch validates fastest on a CPU (docs/short_training.md).
VAL_BATCH = 250
# On a GPU the calls of a network's layers take longer than the layers: 10,000 images took 0.75 s in batches of 250, and
# 0.09 s in batches of 2,000 (MobileNetV2 at 32 pixels on an H200).
GPU_VAL_BATCH = 2000
# Height and width of the largest images that are validated in whole batches.
_SMALL_SIDE = 64
# A network gives fewer images no useful batch-norm statistics.
_FEWEST_IMAGES = 8


@frozen(eq=False)
class BatchLoader:
    """Return batches of one split, on the device that trains.

    Attributes:
        images: uint8 `(N, C, H, W)`, on the device, or in the host's memory if they are memory-mapped or too large.
        labels: int64 `(N,)`, on the device.
        device: Device on which batches are returned.
        resolution: Height and width of the images of a batch in pixels; None returns them as they are held.
    """

    images: Tensor
    labels: Tensor
    device: str
    resolution: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return uint8 images `(B, C, H, W)` and int64 labels `(B,)`, both on the device.

        Args:
            indices: Indices `(B,)` in the host's memory, or a slice.
        """
        if isinstance(indices, slice):
            return self._finish(self.images[indices]), self.labels[indices]
        # `index_select` copies image by image; plain indexing copies uint8 tensors byte by byte.
        images = self.images.index_select(0, send(indices, self.images.device))
        return self._finish(images), self.labels[send(indices, self.labels.device)]

    def _finish(self, batch: Tensor) -> Tensor:
        return resize(self._to_device(batch), self.resolution)

    def _to_device(self, batch: Tensor) -> Tensor:
        if batch.device.type == torch.device(self.device).type:
            return batch
        # Only pinned memory is copied to a GPU while the host continues.
        pins = self.device.startswith("cuda")
        return (batch.pin_memory() if pins else batch).to(self.device, non_blocking=pins)


def val_batch_size(resolution: int, most: int = VAL_BATCH) -> int:
    """Return the number of images of a batch that is not trained on.

    The activations of a network grow with the number of pixels: those of 250 images of 224 pixels would take gigabytes.

    Args:
        resolution: Height and width of the images in pixels.
        most: Number for images of up to 64 pixels.

    >>> val_batch_size(64), val_batch_size(128), val_batch_size(224)
    (250, 62, 20)
    """
    return most if resolution <= _SMALL_SIDE else max(_FEWEST_IMAGES, most * _SMALL_SIDE**2 // resolution**2)


def resize(images: Tensor, resolution: int | None) -> Tensor:
    """Return uint8 images `(N, C, H, W)` with another height and width, without aliasing; None changes nothing.

    Batches are resized, and not whole splits, so that networks of several resolutions share one copy of the images.

    Example:
        >>> resize(torch.full((2, 3, 8, 8), 7, dtype=torch.uint8), 4).shape
        torch.Size([2, 3, 4, 4])
    """
    if resolution is None or images.shape[-1] == resolution:
        return images
    if images.device.type == "cpu":
        return functional.interpolate(images, size=(resolution, resolution), mode="bilinear", antialias=True)
    # Only the CPU has a kernel for uint8.
    floats = functional.interpolate(images.float(), size=(resolution, resolution), mode="bilinear", antialias=True)
    return floats.round().clamp(0, 255).to(torch.uint8)


def make_loader(images: Images, device: str, resolution: int | None = None) -> BatchLoader:
    """Return a loader for a split, after moving all its images to the device if they fit.

    Memory-mapped images, and images that need more than `MAX_DEVICE_SHARE` of the device's free memory, stay in the
    host's memory and are copied batch by batch.

    Args:
        images: Images of the split.
        device: Device on which batches are returned.
        resolution: Height and width to which batches are resized, in pixels; None returns them as they are held.
    """
    stay = images.mapped or images.images.nbytes > MAX_DEVICE_SHARE * _free_bytes(device)
    held = images if stay else images.to(device)
    return BatchLoader(held.images, held.labels.to(device), device, resolution)


def augment_batch(
    images: Tensor,
    data: ImageData,
    shift: float,
    generator: Generator,
    *,
    flips: bool = True,
    mirrored: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return uint8 images `(N, C, H, W)` that are shifted at random, and mirrored at random if the data allows it.

    Pixels that a shift uncovers get the mean color of the training images. The second result, bool `(N,)`, says which
    images are mirrored.

    Args:
        images: uint8 `(N, C, H, W)`.
        data: Data set of the images.
        shift: Largest offset in each direction, as a share of the image's side.
        generator: Generator of the random numbers.
        flips: Whether images are mirrored at all.
        mirrored: Which images are mirrored, bool `(N,)`, in place of half of them at random.
    """
    pixels = round(shift * images.shape[-1])
    fill = tuple(round(255 * value) for value in data.mean)
    return augment_with_flips(
        images, flip=data.flip and flips, shift=pixels, generator=generator, fill=fill, mirrored=mirrored
    )


def _free_bytes(device: str) -> float:
    """Return the free memory of a GPU in bytes; a CPU already holds the images, so for it there is no limit."""
    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else float("inf")
