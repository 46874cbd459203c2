"""Which images train, which score an architecture, and which wait for the winner.

The draw has a seed of its own, so two searches with different seeds see the same parts.
"""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from nas.data.wording import listed
from nas.errors import DataError

PARTS = ("train", "val", "test")
CARVED_SHARE = 0.2
_SEED = 0


@attrs.frozen(eq=False)
class Slice:
    """Images of one part: `indices` `(N,)`, ascending, into the part `origin` of the source."""

    origin: str
    indices: Tensor


def plan(codes: Mapping[str, Tensor], classes: Sequence[str], images: int | None) -> dict[str, Slice]:
    """Choose the images of every part; the parts that a source lacks are carved from its train part.

    Args:
        codes: labels `(N,)` by part as the source brings them, with `train` among them.
        classes: the class names.
        images: how many images to keep of the train part; None keeps all.

    Returns:
        One slice for each of `PARTS`; no image is in two of them.

    Raises:
        DataError: too few images, of one class or asked for.
    """
    absent = tuple(part for part in PARTS if part not in codes)
    _check_counts(codes, classes, len(absent))
    carved = carve(codes["train"], absent)
    slices = {part: Slice("train", indices) for part, indices in carved.items()}
    slices |= {part: Slice(part, torch.arange(len(codes[part]))) for part in PARTS[1:] if part in codes}
    kept = subset(codes["train"][carved["train"]], images, len(classes))
    slices["train"] = Slice("train", carved["train"][kept])
    return {part: slices[part] for part in PARTS}


def carve(labels: Tensor, parts: Sequence[str]) -> dict[str, Tensor]:
    """Share out indices by class: a fifth, and at least one, to each of `parts`, the rest to `train`."""
    ranks = _ranks(labels)
    counts = torch.bincount(labels)
    fifth = (counts * CARVED_SHARE).round().long().clamp(min=1)[labels]
    places = {part: (ranks >= k * fifth) & (ranks < (k + 1) * fifth) for k, part in enumerate(parts)}
    places["train"] = ranks >= len(parts) * fifth
    return {part: mask.nonzero().flatten() for part, mask in places.items()}


def subset(labels: Tensor, images: int | None, num_classes: int) -> Tensor:
    """Indices of a stratified subset: each class keeps its share, and at least one image.

    A smaller subset lies inside a larger one of the same labels.

    Raises:
        DataError: fewer images than classes are asked for.
    """
    if images is None or images >= len(labels):
        return torch.arange(len(labels))
    if images < num_classes:
        raise DataError(
            f"each class needs an image to train on: {images} images asked for, {num_classes} classes",
            f"ask for {num_classes} images or more",
        )
    ranks = _ranks(labels)
    depth = (ranks + 0.5) / torch.bincount(labels)[labels]
    depth[ranks == 0] = -1.0
    return depth.argsort(stable=True)[:images].sort().values


def _ranks(labels: Tensor) -> Tensor:
    """Each image's place in a shuffled queue of its class, `(N,)`."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = (counts.cumsum(0) - counts)[labels[by_class]]
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - starts
    return ranks


def _check_counts(codes: Mapping[str, Tensor], classes: Sequence[str], carved: int) -> None:
    """Each class needs three images over all parts, and one in train beside one for each carved part."""
    train = torch.bincount(codes["train"], minlength=len(classes))
    overall = sum((torch.bincount(part, minlength=len(classes)) for part in codes.values()), torch.zeros_like(train))
    few = ((overall < 3) | (train < 1 + carved)).nonzero().flatten().tolist()
    if few:
        told = listed([f"{classes[k]} ({int(overall[k])})" for k in few])
        raise DataError(
            f"each class needs 3 images, and one in every part; too few of {told}",
            "add images, or leave these classes out",
        )
