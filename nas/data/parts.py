"""Assignment of images to the training, the validation and the test split.

The random assignment has a fixed seed, so that searches with different seeds use the same splits.
"""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from nas.data.wording import listed
from nas.errors import DataError

PARTS = ("train", "val", "test")
SPLIT_SHARE = 0.2
_SEED = 0


@attrs.frozen(eq=False)
class Slice:
    """Name the images of one split.

    Args:
        origin: Split of the source that the images come from.
        indices: Ascending indices `(N,)` into that split of the source.
    """

    origin: str
    indices: Tensor


def plan(codes: Mapping[str, Tensor], classes: Sequence[str], images: int | None) -> dict[str, Slice]:
    """Choose the images of every split; a split that the source lacks is taken from its training split.

    Args:
        codes: Labels `(N,)` by split of the source, including `train`.
        classes: Class names in the order of the labels.
        images: Number of training images to keep; None keeps all.

    Returns:
        One slice for each of `PARTS`; no image is in two of them.

    Raises:
        DataError: A class has too few images, or fewer images than classes are requested.

    Example:
        >>> import torch
        >>> slices = plan({"train": torch.tensor([0, 1] * 5)}, ("cat", "dog"), None)
        >>> {split: len(chosen.indices) for split, chosen in slices.items()}
        {'train': 6, 'val': 2, 'test': 2}
    """
    absent = tuple(part for part in PARTS if part not in codes)
    _check_counts(codes, classes, len(absent))
    taken = split_off(codes["train"], absent)
    slices = {split: Slice("train", indices) for split, indices in taken.items()}
    slices |= {split: Slice(split, torch.arange(len(codes[split]))) for split in PARTS[1:] if split in codes}
    kept = subset(codes["train"][taken["train"]], images, len(classes))
    slices["train"] = Slice("train", taken["train"][kept])
    return {split: slices[split] for split in PARTS}


def split_off(labels: Tensor, splits: Sequence[str]) -> dict[str, Tensor]:
    """Assign indices class by class: a fifth, and at least one, to each of `splits`, and all others to `train`."""
    ranks = _ranks(labels)
    counts = torch.bincount(labels)
    fifth = (counts * SPLIT_SHARE).round().long().clamp(min=1)[labels]
    masks = {split: (ranks >= k * fifth) & (ranks < (k + 1) * fifth) for k, split in enumerate(splits)}
    masks["train"] = ranks >= len(splits) * fifth
    return {split: mask.nonzero().flatten() for split, mask in masks.items()}


def subset(labels: Tensor, images: int | None, num_classes: int) -> Tensor:
    """Return the indices of a stratified subset: each class keeps its share of the images, and at least one image.

    A smaller subset is contained in a larger subset of the same labels.

    Args:
        labels: Labels `(N,)` of all images; every class occurs.
        images: Number of images to keep; None keeps all.
        num_classes: Number of classes.

    Raises:
        DataError: Fewer images than classes are requested.
    """
    if images is None or images >= len(labels):
        return torch.arange(len(labels))
    if images < num_classes:
        raise DataError(
            f"{images} images are requested for {num_classes} classes; each class needs at least one training image",
            f"request {num_classes} images or more",
        )
    ranks = _ranks(labels)
    # Images sorted by their relative rank within the class: any prefix of this order has every class in its proportion.
    # The first image of each class comes before all others, so that no class is empty.
    order = (ranks + 0.5) / torch.bincount(labels)[labels]
    order[ranks == 0] = -1.0
    return order.argsort(stable=True)[:images].sort().values


def _ranks(labels: Tensor) -> Tensor:
    """Return each image's position, `(N,)`, among the images of its class in a random order."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = (counts.cumsum(0) - counts)[labels[by_class]]
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - starts
    return ranks


def _check_counts(codes: Mapping[str, Tensor], classes: Sequence[str], absent: int) -> None:
    """Check that each class has three images, and one training image besides those for each absent split."""
    train = torch.bincount(codes["train"], minlength=len(classes))
    overall = sum((torch.bincount(part, minlength=len(classes)) for part in codes.values()), torch.zeros_like(train))
    few = ((overall < 3) | (train < 1 + absent)).nonzero().flatten().tolist()
    if few:
        found = listed([f"{classes[k]} ({int(overall[k])})" for k in few])
        raise DataError(
            f"these classes have too few images: {found}; each class needs at least 3 images, and one for each split",
            "add images of these classes, or remove the classes",
        )
