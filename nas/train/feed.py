"""Images of one part by the batch, on the device that trains."""

import torch
from attrs import frozen
from torch import Generator, Tensor

from nas.data.augment import augment
from nas.data.base import ImageData, Images

# Of a graphics card's free memory; the rest is for the network.
DEVICE_SHARE = 0.5


@frozen(eq=False)
class Feed:
    """Images ready to be taken by the batch.

    Attributes:
        images: uint8 `(N, 3, H, W)`, on the device; on the host where they are mapped or too many.
        labels: int64 `(N,)`, on the device.
        device: where batches are wanted.
    """

    images: Tensor
    labels: Tensor
    device: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images `(B, 3, H, W)` and labels `(B,)` on the device.

        Args:
            which: indices `(B,)` on the host, or a slice.
        """
        if isinstance(which, slice):
            return self._sent(self.images[which]), self.labels[which]
        # Whole images by their number; plain indexing goes byte by byte.
        images = self.images.index_select(0, which.to(self.images.device))
        return self._sent(images), self.labels[which.to(self.labels.device)]

    def _sent(self, batch: Tensor) -> Tensor:
        if batch.device.type == torch.device(self.device).type:
            return batch
        pins = self.device.startswith("cuda")
        return (batch.pin_memory() if pins else batch).to(self.device, non_blocking=pins)


def moved_about(images: Tensor, data: ImageData, shift: float, generator: Generator) -> Tensor:
    """Bytes `(N, 3, H, W)` shifted at random by up to a share of their side, and mirrored where a label allows it."""
    pixels = round(shift * data.resolution)
    fill = tuple(round(255 * value) for value in data.mean)
    return augment(images, flip=data.flip, shift=pixels, generator=generator, fill=fill)


def make_feed(images: Images, device: str) -> Feed:
    """Move images to the device whole, unless they are mapped from a file or leave it too little memory."""
    stay = images.mapped or images.images.nbytes > DEVICE_SHARE * _free_bytes(device)
    held = images if stay else images.to(device)
    return Feed(held.images, held.labels.to(device), device)


def _free_bytes(device: str) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else float("inf")
