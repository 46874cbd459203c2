"""Assignment of images to the training, the validation and the test split.

The random assignment has a fixed seed, so that searches with different seeds use the same splits.
"""

from collections.abc import Collection, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from nas.data.wording import listed
from nas.errors import DataError

PARTS = ("train", "val", "test")
SPLIT_SHARE = 0.2
# A fifth of a small set is too few images to compare networks on. So many images validate at least, as long as they are
# at most this share of the images that are not for the test. The embedded digits, with 359 images, stay at a fifth.
ENOUGH, MOST = 350, 0.4
LARGEST_SHARE = 0.5
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


def plan(
    codes: Mapping[str, Tensor], classes: Sequence[str], images: int | None, validation: float | None = None
) -> dict[str, Slice]:
    """Choose the images of every split; a split that the source lacks is taken from its training split.

    Args:
        codes: Labels `(N,)` by split of the source, including `train`.
        classes: Class names in the order of the labels.
        images: Number of training images to keep; None keeps all.
        validation: Share of the source's training split that validates; None takes that of `usual_share`.

    Returns:
        One slice for each of `PARTS`; no image is in two of them.

    Raises:
        DataError: A class has too few images, fewer images than classes are requested, or the share cannot be used.

    Example:
        >>> import torch
        >>> slices = plan({"train": torch.tensor([0, 1] * 10)}, ("cat", "dog"), None)
        >>> {split: len(chosen.indices) for split, chosen in slices.items()}
        {'train': 10, 'val': 6, 'test': 4}
    """
    absent = tuple(part for part in PARTS if part not in codes)
    _check_counts(codes, classes, len(absent))
    _check_share(validation, absent)
    taken = split_off(codes["train"], absent, validation or usual_share(len(codes["train"]), absent))
    slices = {split: Slice("train", indices) for split, indices in taken.items()}
    slices |= {split: Slice(split, torch.arange(len(codes[split]))) for split in PARTS[1:] if split in codes}
    kept = subset(codes["train"][taken["train"]], images, len(classes))
    slices["train"] = Slice("train", taken["train"][kept])
    return {split: slices[split] for split in PARTS}


def usual_share(images: int, absent: Collection[str]) -> float:
    """Return the share of a training split that validates unless the user gives another one.

    Args:
        images: Number of images of the training split of the source.
        absent: Splits that the source lacks.

    Example:
        >>> usual_share(2062, ("val", "test")), round(usual_share(312, ("val", "test")), 2)
        (0.2, 0.32)
    """
    most = MOST * (1 - SPLIT_SHARE * ("test" in absent))
    return max(SPLIT_SHARE, min(ENOUGH / images, most))


def describe_validation(
    codes: Mapping[str, Tensor], slices: Mapping[str, Slice], validation: float | None
) -> tuple[str, ...]:
    """Return a sentence on how many images validate; none where it is the usual fifth, or a split of the source."""
    chosen, images = slices["val"], len(codes["train"])
    share = validation or usual_share(images, [part for part in PARTS if part not in codes])
    if chosen.origin != "train" or share == SPLIT_SHARE:
        return ()
    others = images - (len(slices["test"].indices) if slices["test"].origin == "train" else 0)
    taken = f"{len(chosen.indices):,} of {others:,} images validate"
    if validation:
        return (f"{taken}, the share {validation:g} that was asked for",)
    fifth = f"a fifth of all, {round(SPLIT_SHARE * images):,}"
    return (f"{taken}, because the set is small: {fifth}, would be too few to compare networks on",)


def split_off(labels: Tensor, splits: Sequence[str], validation: float = SPLIT_SHARE) -> dict[str, Tensor]:
    """Assign indices class by class to each of `splits`, and all others to `train`.

    Each split has at least one image of a class: `test` a fifth, `val` the share `validation`.
    """
    ranks, counts = _ranks(labels), torch.bincount(labels)
    fifth = _of_each(counts, SPLIT_SHARE)[labels]
    test = torch.zeros_like(labels, dtype=torch.bool)
    if "test" in splits:
        # The test images lie behind a fifth for validation, so that they are the same whatever the share is.
        start = fifth if "val" in splits else torch.zeros_like(fifth)
        test = (ranks >= start) & (ranks < start + fifth)
        ranks = torch.where(ranks < start, ranks, ranks - fifth)
    # One image of each class is left to train on.
    most = counts[labels] - 1 - (fifth if "test" in splits else 0)
    val = ~test & (ranks < _of_each(counts, validation)[labels].minimum(most) * ("val" in splits))
    masks = {"val": val, "test": test, "train": ~(val | test)}
    return {split: masks[split].nonzero().flatten() for split in (*splits, "train")}


def _of_each(counts: Tensor, share: float) -> Tensor:
    """Return a share of the images of each class, at least one image."""
    return (counts * share).round().long().clamp(min=1)


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


def _check_share(validation: float | None, absent: Collection[str]) -> None:
    if validation is None:
        return
    if not 0 < validation <= LARGEST_SHARE:
        raise DataError(
            f"the validation share is {validation:g}; it must be above 0 and at most {LARGEST_SHARE:g}",
            "give a share such as 0.2, or none",
        )
    if "val" not in absent:
        raise DataError(
            f"the validation share is {validation:g}, but the source has a validation split of its own, which is used "
            "as it is",
            "leave the share out",
        )


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
