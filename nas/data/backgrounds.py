"""Images with other backgrounds, and the masks that tell an object from its background.

The backgrounds are those of Xiao et al., "Noise or Signal: The Role of Image Backgrounds in Object Recognition", 2020
(arXiv 2006.09994): none, only the background, that of another image of the same class, and that of any other image. A
background is made whole by giving the place of the object the smoothed colors of the background around it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional

from nas.data.corruptions.filtering import smooth
from nas.data.decode import decode
from nas.data.formats import has_image_name
from nas.data.names import printable
from nas.data.tree import read_tree
from nas.errors import DataError

Mask = NDArray[np.bool_]

# Width of the frame whose colors count as those of the background, as a share of the side.
_FRAME = 0.06
# Number of standard deviations from the colors of the background beyond which a pixel belongs to the object.
_FAR = 6.0
# Smallest standard deviation of the background in gray levels, so that a single color has one too.
_SMALLEST_STD = 2.0
# Rounds in which the colors of the object are removed from those of the frame.
_ROUNDS = 8
# A mask is used if the object takes this share of the image, most of it is one piece, most of the frame is free, and
# the median pixel of the object is so many times as far from the background as a pixel at the threshold.
_SMALLEST, _LARGEST, _ONE_PIECE, _FREE_FRAME, _CLEAR = 0.05, 0.7, 0.85, 0.65, 1.5
# Width of the outline that is removed together with an object, and standard deviations of the smoothings that fill its
# place, as shares of the side.
_OUTLINE, _REACHES = 0.03, (0.24, 0.12, 0.06, 0.03, 0.015)
# Smallest gray level of a mask's pixel that belongs to the object.
_HALF = 128


@attrs.frozen(eq=False)
class Masked:
    """Hold images with masks.

    Attributes:
        images: uint8 images `(N, C, H, W)`.
        labels: Labels `(N,)`.
        masks: Whether a pixel belongs to the object, bool `(N, 1, H, W)`.
        indices: Indices of the images among those that were asked for `(N,)`.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    indices: Tensor


def read_masks(folder: Path, names: Sequence[str], side: int) -> list[Mask | None]:
    """Return the masks of images, `(H, W)`: an image file for each, white where the object is.

    Args:
        folder: Folder of the masks. A mask has the path of its image within the data, or lies directly in the folder
            and has the name of its image, with any ending.
        names: Paths of the images within their source.
        side: Height and width of the masks, in pixels.

    Returns:
        A mask for each image; None where the folder has none, or where it is all object or all background.

    Raises:
        DataError: The folder has no mask of any image, or a mask cannot be decoded.
    """
    if not folder.is_dir():
        raise DataError(f"{printable(folder)} is not a folder; masks are image files in a folder", "give their folder")
    files = [path for path in read_tree(folder).files if has_image_name(path)]
    by_path = {str(path.with_suffix("")): path for path in files}
    stems = Counter(Path(name).stem for name in names)

    def mask_of(name: str) -> Path | None:
        path = Path(name)
        # A name that two images share says nothing without its folder.
        return by_path.get(str(path.with_suffix(""))) or (by_path.get(path.stem) if stems[path.stem] == 1 else None)

    found = [mask_of(name) for name in names]
    if not any(found):
        raise DataError(
            f"the folder {printable(folder)} has {len(files):,} image files, and none has the name of an image; a mask "
            "must have the path of its image within the data, or its name, with any ending",
            f"name a mask like {printable(Path(names[0]).with_suffix('.png'))}",
        )
    return [None if path is None else _read_mask(folder, path, side) for path in found]


def _read_mask(folder: Path, path: Path, side: int) -> Mask | None:
    picture = decode({"path": str(path)}, root=folder, resolution=side, channels=1)
    if picture is None:
        raise DataError(
            f"the mask {printable(path)} cannot be decoded; every mask must be an image", "replace or remove the file"
        )
    mask: Mask = picture.pixels[..., 0] >= _HALF
    return mask if 0 < mask.mean() < 1 else None


def approximate_mask(image: NDArray[np.uint8]) -> Mask | None:
    """Return where the object of an image is, `(H, W)`, or None if the colors do not show it.

    The colors of the frame count as those of the background, after those of an object that reaches the frame were
    removed from them. Their covariance is wide along brightness where the light is uneven, so that shadows count as
    background and other hues do not. What is far from these colors is the object. The mask is used only if the object
    is neither small nor large, is mostly one piece, is clearly different, and leaves most of the frame free.

    Args:
        image: uint8 pixels `(C, H, W)`.
    """
    from scipy.ndimage import binary_fill_holes, binary_opening, label

    distances = _distances(image.astype(np.float64))
    different = distances > _FAR
    pieces, count = label(binary_fill_holes(binary_opening(different)))
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())[1:]
    mask: Mask = pieces == 1 + int(sizes.argmax())
    usable = (
        _SMALLEST <= mask.mean() <= _LARGEST
        and sizes.max() >= _ONE_PIECE * sizes.sum()
        and (~different[_frame(mask.shape)]).mean() >= _FREE_FRAME
        and float(np.median(distances[mask])) >= _CLEAR * _FAR
    )
    return mask if usable else None


def _frame(shape: tuple[int, ...]) -> Mask:
    frame = np.ones(shape, dtype=bool)
    margin = max(1, round(_FRAME * min(shape)))
    frame[margin:-margin, margin:-margin] = False
    return frame


def _distances(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Mahalanobis distance of each pixel's color from the colors of the frame, `(H, W)`."""
    colors = pixels.reshape(len(pixels), -1)
    frame = _frame(pixels.shape[1:]).ravel()
    kept = frame
    for _ in range(_ROUNDS):
        # The median and not the mean, because an object that reaches the frame moves the mean.
        center = np.median(colors[:, kept], axis=1, keepdims=True)
        covariance = np.atleast_2d(np.cov(colors[:, kept])) + _SMALLEST_STD**2 * np.eye(len(colors))
        offsets = colors - center
        distances = np.sqrt(np.einsum("cp,cp->p", offsets, np.linalg.solve(covariance, offsets)))
        kept = frame & (distances <= 2 * max(1.0, float(np.median(distances[frame]))))
    found: NDArray[np.float64] = distances.reshape(pixels.shape[1:])
    return found


def with_masks(images: Tensor, labels: Tensor, masks: Sequence[Mask | None]) -> Masked | None:
    """Return the images that have a mask, or None if there are fewer than two."""
    kept = [number for number, mask in enumerate(masks) if mask is not None]
    if len(kept) < 2:
        return None
    chosen = torch.tensor(kept)
    whole = torch.from_numpy(np.stack([mask for mask in masks if mask is not None]))[:, None]
    return Masked(images.cpu()[chosen], labels.cpu()[chosen], whole, chosen)


def _none(masked: Masked, _generator: Generator) -> Tensor:
    return masked.images * masked.masks


def _alone(masked: Masked, _generator: Generator) -> Tensor:
    side = min(masked.images.shape[-2:])
    margin = max(1, round(_OUTLINE * side))
    # The shadow around an object would show its shape.
    hidden = functional.max_pool2d(masked.masks.float(), 2 * margin + 1, stride=1, padding=margin)
    seen, images = 1 - hidden, masked.images.float()
    filled = images.mean((2, 3), keepdim=True).expand_as(images)
    for reach in _REACHES:
        # A finer smoothing replaces a coarser one where it reaches, so that no edge shows where the object was.
        weights = smooth(seen, reach * side).clamp(min=0)
        finer = smooth(images * seen, reach * side) / weights.clamp(min=1e-3)
        filled = torch.lerp(filled, finer, (2 * weights).clamp(max=1))
    return torch.where(hidden > 0, filled.round().clamp(0, 255), images).to(torch.uint8)


def _of_same_class(masked: Masked, generator: Generator) -> Tensor:
    partners = torch.arange(len(masked.labels))
    for number in set(masked.labels.tolist()):
        members = (masked.labels == number).nonzero().flatten()
        partners[members] = members.roll(1)
    return _mixed(masked, partners, generator)


def _of_any(masked: Masked, generator: Generator) -> Tensor:
    # A random cycle gives every image the background of another one.
    order = torch.randperm(len(masked.labels), generator=generator)
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    return _mixed(masked, partners, generator)


def _mixed(masked: Masked, partners: Tensor, generator: Generator) -> Tensor:
    return torch.where(masked.masks, masked.images, _alone(masked, generator)[partners])


SAME, RANDOM = "background of the same class", "background of any image"
BACKGROUNDS: Mapping[str, Callable[[Masked, Generator], Tensor]] = MappingProxyType(
    {
        "original": lambda masked, _: masked.images,
        "no background (black)": _none,
        "only the background": _alone,
        SAME: _of_same_class,
        RANDOM: _of_any,
    }
)


def with_background(masked: Masked, name: str, seed: int = 0) -> Tensor:
    """Return images with another background, uint8 `(N, C, H, W)`.

    Args:
        masked: Images with masks.
        name: Name of the background, a key of `BACKGROUNDS`.
        seed: Seed of the assignment of backgrounds to images.

    Example:
        >>> pixels = torch.tensor([[7, 8], [1, 3]], dtype=torch.uint8)[:, None, None]
        >>> masks = torch.tensor([True, False]).expand(2, 1, 1, 2)
        >>> masked = Masked(pixels, torch.tensor([0, 0]), masks, torch.arange(2))
        >>> with_background(masked, "no background (black)").flatten().tolist()
        [7, 0, 1, 0]
    """
    return BACKGROUNDS[name](masked, torch.Generator().manual_seed(seed))
