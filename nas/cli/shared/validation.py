"""What is printed about the validation split on which networks were compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.cli.shared.printing import percent

if TYPE_CHECKING:
    from nas.noise import Estimate, ValidationSplit

# What would help where networks have learned nothing: options that every command with training runs has.
HELP = "give more --epochs, more images in --data, or a larger --proxy-resolution"


def split_line(split: "ValidationSplit", accuracy: float) -> str:
    """Return a sentence on the size of a validation split, on the sampling error of an accuracy, and on chance."""
    points = 100 * split.standard_error(accuracy)
    return (
        f"validation split: {split.images:,} images; an accuracy of {percent(accuracy)} has a standard error of "
        f"{points:.1f} points; always giving the most frequent class has {percent(split.chance)}"
    )


def split_row(split: "ValidationSplit | None", accuracy: float) -> dict[str, Any] | None:
    """Return a validation split as JSON values, with the standard error of an accuracy; None if it is not known."""
    if split is None:
        return None
    return {"images": split.images, "chance": split.chance, "standard_error": split.standard_error(accuracy)}


def not_learned(split: "ValidationSplit", accuracy: float, networks: int) -> str:
    """Return a sentence that nothing has been learned.

    Args:
        split: Validation split.
        accuracy: Highest accuracy.
        networks: Number of networks of which it is the highest.
    """
    return (
        f"nothing has been learned: the best of {networks} networks has {percent(accuracy)}, and always giving the "
        f"most frequent class has {percent(split.chance)}; this is noise on {split.images:,} images"
    )


def interval_text(ends: Sequence[float] | None, accuracy: float | None) -> str:
    """Return an accuracy with the ends of its 95% interval, if these are known."""
    if ends is None:
        return percent(accuracy)
    low, high = ends
    return f"{percent(accuracy)} ({100 * low:.1f} to {100 * high:.1f})"


def interval_row(interval: "Estimate | None") -> list[float] | None:
    """Return the ends of a 95% interval; None if it is not known."""
    return None if interval is None else [interval.low, interval.high]
