"""Sentences and JSON values about the validation split on which networks were compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.cli.shared.printing import percent

if TYPE_CHECKING:
    from nas.noise import Estimate, ValidationSplit

# What would help where networks have learned nothing: options that every command with training runs has.
HELP = "give more --epochs, more images in --data, or a larger --proxy-resolution"


def split_row(split: "ValidationSplit | None", accuracy: float | None) -> dict[str, Any] | None:
    """Return a validation split as JSON values, with the standard error of an accuracy; None if it is not known."""
    if split is None:
        return None
    known = {"images": split.images, "effective": split.effective, "majority_class": split.chance}
    return {**known, "standard_error": None if accuracy is None else split.standard_error(accuracy)}


def not_learned(split: "ValidationSplit", accuracy: float, networks: int) -> str:
    """Return a sentence that nothing has been learned.

    Args:
        split: Validation split.
        accuracy: Highest accuracy.
        networks: Number of networks of which it is the highest.
    """
    return (
        f"nothing has been learned: the highest accuracy of {networks} networks is {percent(accuracy)}, and the most "
        f"frequent class alone gives {percent(split.chance)}: a difference within the noise of {split.images:,} images"
    )


def to_tell_apart(needs_images: bool) -> str:
    """Return a sentence on what would tell networks apart: the larger part of the noise comes from images or seeds."""
    if needs_images:
        return "more images in --data, some of which validate, would help most to tell them apart"
    return "more --seeds would help most to tell them apart"


def interval_text(ends: Sequence[float] | None, accuracy: float | None) -> str:
    """Return an accuracy with the ends of its 95% interval, if these are known."""
    if ends is None:
        return percent(accuracy)
    low, high = ends
    return f"{percent(accuracy)} ({100 * low:.1f} to {100 * high:.1f})"


def interval_row(interval: "Estimate | None") -> list[float] | None:
    """Return the ends of a 95% interval; None if it is not known."""
    return None if interval is None else [interval.low, interval.high]
