"""Random changes to a whole batch at once, and the scaling of its values."""

import torch
from torch import Tensor

from nas.errors import DataError

_NOTHING = (0, 0, 0)


def augment(
    batch: Tensor, *, flip: bool, shift: int, generator: torch.Generator, fill: tuple[int, ...] = _NOTHING
) -> Tensor:
    """Shift every image by its own random offset, and mirror every second one at random.

    The draws are made on the generator's device and moved, so one seed gives the same images on any device.

    Args:
        batch: `(N, 3, H, W)` of any type; bytes are changed faster than floats.
        flip: mirror each image left to right with probability one half.
        shift: largest offset in pixels, in each direction.
        generator: where the random numbers come from.
        fill: by channel, what a shift uncovers: the mean colour of bytes, zeros of normalised images.

    Returns:
        A batch of the same shape, channels last in memory.

    Raises:
        DataError: `shift` is negative.
    """
    if shift < 0:
        raise DataError(f"shift must be 0 or more pixels, it is {shift}")
    rows, columns = _positions(batch, flip, shift, generator)
    padded = _padded(batch, shift, fill)
    # Whole pixels by their number: several times as fast as a gather along rows and then along columns.
    pixels = (torch.arange(len(batch), device=batch.device)[:, None] * padded.shape[1] + rows) * padded.shape[2]
    places = pixels[:, :, None] + columns[:, None, :]
    changed = padded.flatten(0, 2).index_select(0, places.flatten())
    return changed.view(*places.shape, batch.shape[1]).permute(0, 3, 1, 2)


def _positions(batch: Tensor, flip: bool, shift: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where each image's rows `(N, H)` and columns `(N, W)` are read in the padded batch."""
    count, _, height, width = batch.shape
    where = generator.device
    offsets = torch.randint(0, 2 * shift + 1, (count, 2), generator=generator, device=where)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator, device=where)
    drawn = torch.cat((offsets, mirrored), 1).to(batch.device)
    rows, columns = (
        drawn[:, i, None] + torch.arange(side, device=batch.device) for i, side in enumerate((height, width))
    )
    return rows, torch.where(drawn[:, 2:] == 1, columns.flip(1), columns) if flip else columns


def _padded(batch: Tensor, shift: int, fill: tuple[int, ...]) -> Tensor:
    """The batch with a border of `shift` pixels, `(N, H + 2 shift, W + 2 shift, C)`."""
    count, _, height, width = batch.shape
    colour = torch.tensor(fill, dtype=batch.dtype, device=batch.device)
    padded = colour.repeat(count, height + 2 * shift, width + 2 * shift, 1)
    padded[:, shift : shift + height, shift : shift + width] = batch.permute(0, 2, 3, 1)
    return padded


def normalise(batch: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Scale uint8 `(N, C, H, W)` to float32 with mean 0 and deviation 1 by channel; `mean` and `std` are in 0…1."""
    return Scaling(mean, std, batch.device)(batch)


class Scaling:
    """What `normalise` does, with its two numbers a channel kept on a device.

    Args:
        mean: by channel, 0…1.
        std: standard deviation by channel, 0…1.
        device: of the batches.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str) -> None:
        centre, spread = (torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in (mean, std))
        self._factor = (1 / (255 * spread)).float().to(device)
        self._offset = (-centre / spread).float().to(device)

    def __call__(self, batch: Tensor) -> Tensor:
        """Floats of bytes `(N, C, H, W)`, in the same layout."""
        return torch.addcmul(self._offset, batch.float(), self._factor)
