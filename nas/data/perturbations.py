"""Small perturbations of images, under which the class of an image stays the same."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from nas.data.corruptions.weather import brightness

# Shifts are whole pixels of images of this size, and in proportion for others, so that networks of different sizes are
# compared on the same perturbations.
_SIDE = 32


def _shift(images: Tensor, columns: float, rows: float) -> Tensor:
    """Return images that are moved, where the pixels of the edge are repeated."""
    height, width = images.shape[-2:]
    y = (torch.arange(height) - max(1, round(abs(rows) * height / _SIDE)) * _sign(rows)).clamp(0, height - 1)
    x = (torch.arange(width) - max(1, round(abs(columns) * width / _SIDE)) * _sign(columns)).clamp(0, width - 1)
    return images[:, :, y][:, :, :, x]


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _rotate(images: Tensor, degrees: float) -> Tensor:
    from kornia.geometry.transform import rotate

    return rotate(images, torch.full((len(images),), degrees), padding_mode="border")


def _brighten(images: Tensor, added: float) -> Tensor:
    if added > 0:
        return brightness(images, (added,), torch.Generator())
    return images + added * (images.amax(1, keepdim=True) > 0) * images / images.amax(1, keepdim=True).clamp(min=1e-6)


PERTURBATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "moved right by 1/32": partial(_shift, columns=1, rows=0),
        "moved left by 1/32": partial(_shift, columns=-1, rows=0),
        "moved down by 1/32": partial(_shift, columns=0, rows=1),
        "moved up by 1/32": partial(_shift, columns=0, rows=-1),
        "moved right by 1/8": partial(_shift, columns=4, rows=0),
        "moved down by 1/8": partial(_shift, columns=0, rows=4),
        "turned by 3°": partial(_rotate, degrees=3.0),
        "turned by -3°": partial(_rotate, degrees=-3.0),
        "turned by 10°": partial(_rotate, degrees=10.0),
        "turned by -10°": partial(_rotate, degrees=-10.0),
        "brighter by 5%": partial(_brighten, added=0.05),
        "darker by 5%": partial(_brighten, added=-0.05),
        "brighter by 15%": partial(_brighten, added=0.15),
        "darker by 15%": partial(_brighten, added=-0.15),
    }
)


def perturb(images: Tensor, name: str) -> Tensor:
    """Return perturbed images, uint8 `(N, C, H, W)` in the host's memory.

    Args:
        images: uint8 images `(N, C, H, W)`.
        name: Name of the perturbation, a key of `PERTURBATIONS`.

    Example:
        >>> image = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8)[None, None]
        >>> perturb(image, "moved right by 1/32")[0, 0].tolist()
        [[1, 1, 2], [4, 4, 5]]
    """
    changed = PERTURBATIONS[name](images.cpu().float() / 255)
    return (255 * changed).round().clamp(0, 255).to(torch.uint8)
