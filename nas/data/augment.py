"""Random augmentation of whole batches, and normalization of pixel values."""

import torch
from torch import Tensor

from nas.errors import DataError

_ZEROS = (0, 0, 0)


def augment(
    batch: Tensor, *, flip: bool, shift: int, generator: torch.Generator, fill: tuple[int, ...] = _ZEROS
) -> Tensor:
    """Shift every image by a random offset of its own, and mirror each image with probability one half.

    The random numbers are drawn on the generator's device and then moved to the batch's device, so that one seed
    gives the same images on every device.

    Args:
        batch: Images `(N, C, H, W)` of any type; uint8 is faster than float.
        flip: Whether images are mirrored left to right, each with probability one half.
        shift: Largest offset in pixels, in each direction.
        generator: Generator of the random numbers.
        fill: Value of each channel for pixels that a shift uncovers: the mean color for uint8 images, zeros for
            normalized images.

    Returns:
        A batch of the same shape, with channels last in memory.

    Raises:
        DataError: The shift is negative.

    Example:
        >>> import torch
        >>> batch = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
        >>> same = augment(batch, flip=False, shift=0, generator=torch.Generator().manual_seed(0))
        >>> torch.equal(same, batch)
        True
    """
    return augment_with_flips(batch, flip=flip, shift=shift, generator=generator, fill=fill)[0]


def augment_with_flips(
    batch: Tensor,
    *,
    flip: bool,
    shift: int,
    generator: torch.Generator,
    fill: tuple[int, ...] = _ZEROS,
    mirrored: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the batch that `augment` returns, and which of its images are mirrored, as bool `(N,)` on its device.

    Args:
        batch: As for `augment`.
        flip: As for `augment`.
        shift: As for `augment`.
        generator: As for `augment`.
        fill: As for `augment`.
        mirrored: Which images are mirrored, bool `(N,)` on the batch's device, if they are not drawn at random.

    Raises:
        DataError: The shift is negative.
    """
    if shift < 0:
        raise DataError(
            f"the shift is {shift} pixels; a shift must be 0 or more pixels", "use 0 to switch shifting off"
        )
    rows, columns, mirrored = _source_positions(batch, flip, shift, generator, mirrored)
    padded = _pad(batch, shift, fill)
    # Selecting whole pixels by a flat index is several times as fast as a gather along rows and then along columns.
    row_starts = (torch.arange(len(batch), device=batch.device)[:, None] * padded.shape[1] + rows) * padded.shape[2]
    indices = row_starts[:, :, None] + columns[:, None, :]
    pixels = padded.flatten(0, 2).index_select(0, indices.flatten())
    return pixels.view(*indices.shape, batch.shape[1]).permute(0, 3, 1, 2), mirrored


def _source_positions(
    batch: Tensor, flip: bool, shift: int, generator: torch.Generator, given: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows `(N, H)` and columns `(N, W)` of the padded batch that each result image is read from.

    The third result, bool `(N,)`, says which images are mirrored.
    """
    count, _, height, width = batch.shape
    device = generator.device
    offsets = torch.randint(0, 2 * shift + 1, (count, 2), generator=generator, device=device)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator, device=device)
    drawn = send(torch.cat((offsets, mirrored), 1), batch.device)
    rows, columns = (
        drawn[:, i, None] + torch.arange(side, device=batch.device) for i, side in enumerate((height, width))
    )
    is_mirrored = (drawn[:, 2:] == 1 if given is None else given[:, None]) & flip
    return rows, torch.where(is_mirrored, columns.flip(1), columns), is_mirrored[:, 0]


def _pad(batch: Tensor, shift: int, fill: tuple[int, ...]) -> Tensor:
    """Return the batch with a border of `shift` pixels, channels last: `(N, H + 2 shift, W + 2 shift, C)`."""
    count, _, height, width = batch.shape
    color = send(torch.tensor(fill, dtype=batch.dtype), batch.device)
    padded = color.repeat(count, height + 2 * shift, width + 2 * shift, 1)
    padded[:, shift : shift + height, shift : shift + width] = batch.permute(0, 2, 3, 1)
    return padded


def send(small: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor on a device; a host does not wait for a GPU to finish its queued work before it.

    CUDA copies ordinary memory of the host to a buffer of its own before such a call returns.
    """
    return small.to(device, non_blocking=device.type == "cuda")


def normalize(batch: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return float32 images with mean 0 and standard deviation 1 in each channel.

    Args:
        batch: uint8 images `(N, C, H, W)`.
        mean: Mean of each channel, where 255 counts as 1.
        std: Standard deviation of each channel, where 255 counts as 1.

    Example:
        >>> import torch
        >>> batch = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> [round(value, 3) for value in normalize(batch, (0.5,), (0.5,)).flatten().tolist()]
        [-1.0, 1.0]
    """
    return Scaling(mean, std, batch.device)(batch)


class Scaling:
    """Normalize batches as `normalize` does, with the two numbers of each channel kept on a device.

    Args:
        mean: Mean of each channel, where 255 counts as 1.
        std: Standard deviation of each channel, where 255 counts as 1.
        device: Device of the batches.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str) -> None:
        # In float64, since one multiplication and one addition replace a division by 255, a subtraction and a division.
        means, stds = (torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in (mean, std))
        self._factor = (1 / (255 * stds)).float().to(device)
        self._offset = (-means / stds).float().to(device)

    def __call__(self, batch: Tensor) -> Tensor:
        """Return normalized float32 images of uint8 images `(N, C, H, W)`, in the same memory layout."""
        return torch.addcmul(self._offset, batch.float(), self._factor)
