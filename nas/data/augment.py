"""Random changes to a whole batch at once, and the scaling of its values."""

import torch
from torch import Tensor
from torch.nn import functional

from nas.errors import DataError


def augment(batch: Tensor, *, flip: bool, shift: int, generator: torch.Generator) -> Tensor:
    """Shift every image by its own random offset, and mirror every second one at random.

    The draws are made on the generator's device and moved, so one seed gives the same images on any device.

    Args:
        batch: float `(N, 3, H, W)`; zero fills what a shift uncovers, so normalise first and it is the mean colour.
        flip: mirror each image left to right with probability one half.
        shift: largest offset in pixels, in each direction.
        generator: where the random numbers come from.

    Returns:
        A batch of the same shape.

    Raises:
        DataError: `shift` is negative.
    """
    if shift < 0:
        raise DataError(f"shift must be 0 or more pixels, it is {shift}")
    count, _, height, width = batch.shape
    rows = _positions(count, height, shift, generator)
    columns = _positions(count, width, shift, generator)
    if flip:
        mirrored = torch.rand((count, 1), generator=generator, device=generator.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return _gather(functional.pad(batch, (shift,) * 4), rows.to(batch.device), columns.to(batch.device))


def _positions(count: int, length: int, shift: int, generator: torch.Generator) -> Tensor:
    """Where each image's rows or columns are read in the padded batch, `(N, length)`."""
    device = generator.device
    offsets = torch.randint(0, 2 * shift + 1, (count, 1), generator=generator, device=device)
    return offsets + torch.arange(length, device=device)


def _gather(padded: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    count, channels, _, width = padded.shape
    tall = padded.gather(2, rows[:, None, :, None].expand(count, channels, rows.shape[1], width))
    return tall.gather(3, columns[:, None, None, :].expand(count, channels, rows.shape[1], columns.shape[1]))


def normalise(batch: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Scale uint8 `(N, C, H, W)` to float32 with mean 0 and deviation 1 by channel; `mean` and `std` are in 0…1."""
    centre = torch.tensor(mean, device=batch.device).view(1, -1, 1, 1)
    spread = torch.tensor(std, device=batch.device).view(1, -1, 1, 1)
    return (batch.float() / 255 - centre) / spread
