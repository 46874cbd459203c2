"""Agreement of an exported model with the trained network: differences of the logits, and changed predictions."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

TOLERANCE = 1e-3
"""Largest difference of a logit, as a share of the largest magnitude of the logits of the same image.

Both programs compute in fp32 and only in another order, which gives differences of about 1e-6.
"""
MOST_GRAY_LEVELS, MOST_MEAN_GRAY_LEVELS = 2.0, 0.15
"""Largest difference of a pixel that a file resizes, and of the mean of all pixels of an image, in gray levels.

Resizing along rows and along columns rounds to whole gray levels once each, and Pillow and ONNX Runtime round ties
differently. Up to 8% of the pixels differ, by one level and a few by two; another filter changes pixels by 10 levels
and more.
"""


@frozen
class ChangedPrediction:
    """Represent an image whose predicted class is another one than that of the trained network.

    Attributes:
        image: Index of the image.
        margin: Difference of the two largest logits of the trained network, as a share of the largest magnitude.
        expected: Index of the class that the trained network predicts.
        found: Index of the class that the model predicts.
    """

    image: int
    margin: float
    expected: int
    found: int


@frozen
class Agreement:
    """Represent the comparison of the logits of a model with those of the trained network on the same images.

    Attributes:
        images: Number of images.
        tolerance: Largest allowed difference; a predicted class may differ where the margin is not larger than it.
        largest: Largest difference of a logit, as a share of the largest magnitude of the logits of the image.
        changed: Images with another predicted class.
    """

    images: int
    tolerance: float
    largest: float
    changed: tuple[ChangedPrediction, ...] = ()

    @property
    def agrees(self) -> bool:
        """Return whether every difference is allowed; a difference that is not a number is not."""
        return self.largest <= self.tolerance and all(each.margin <= self.tolerance for each in self.changed)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values; a difference that is not a finite number is None."""
        largest = self.largest if np.isfinite(self.largest) else None
        return {**attrs.asdict(self), "largest": largest, "agrees": self.agrees}


def compare_logits(
    reference: NDArray[np.floating[Any]], found: NDArray[np.floating[Any]], *, tolerance: float = TOLERANCE
) -> Agreement:
    """Compare logits `(N, classes)` of a model with those of the trained network on the same images.

    Args:
        reference: Logits of the trained network.
        found: Logits of the model.
        tolerance: Largest allowed difference, as a share of the largest magnitude of the image's logits.

    Raises:
        ValueError: The shapes differ.

    >>> reference = np.array([[1.0, 2.0], [3.0, 3.001]])
    >>> agreement = compare_logits(reference, np.array([[1.0, 2.0], [3.001, 3.0]]))
    >>> agreement.agrees, [each.image for each in agreement.changed]
    (True, [1])
    """
    if reference.shape != found.shape:
        raise ValueError(f"logits of the shapes {reference.shape} and {found.shape} cannot be compared")
    # In fp64, so that the comparison itself does not round.
    expected, logits = reference.astype(np.float64), found.astype(np.float64)
    # Logits that are all zero have no scale of their own; their differences are compared as they are.
    magnitude = np.abs(expected).max(1)
    scale = np.where(magnitude > 0, magnitude, 1)
    with np.errstate(invalid="ignore"):  # infinity minus infinity, which is not a number and fails the comparison
        relative = np.abs(logits - expected).max(1) / scale
    first, second = expected.argmax(1), logits.argmax(1)
    best = np.sort(expected, 1)[:, -2:]
    margins = (best[:, -1] - best[:, 0]) / scale
    changed = tuple(
        ChangedPrediction(int(i), float(margins[i]), int(first[i]), int(second[i]))
        for i in (first != second).nonzero()[0]
    )
    return Agreement(len(expected), tolerance, float(relative.max(initial=0.0)), changed)


@frozen
class PixelAgreement:
    """Represent the comparison of images that a file resizes with the same images resized by Pillow.

    Attributes:
        images: Number of images.
        largest: Largest difference of a pixel, in gray levels.
        largest_mean: Largest mean difference of the pixels of an image, in gray levels.
    """

    images: int
    largest: float
    largest_mean: float

    @property
    def agrees(self) -> bool:
        """Return whether the differences are those of rounding."""
        return self.largest <= MOST_GRAY_LEVELS and self.largest_mean <= MOST_MEAN_GRAY_LEVELS


def compare_pixels(
    reference: NDArray[np.floating[Any]], found: NDArray[np.floating[Any]], std: Sequence[float]
) -> PixelAgreement:
    """Compare normalized images `(N, C, R, R)`.

    Args:
        reference: Images that Pillow resized.
        found: Images that a file resized.
        std: Standard deviation of each channel, where 255 counts as 1.

    >>> black = np.zeros((1, 1, 2, 2))
    >>> compare_pixels(black, black + 0.1, [0.5]).largest
    12.75
    """
    levels = np.abs(found.astype(np.float64) - reference) * 255 * np.asarray(std).reshape(-1, 1, 1)
    # Rounded, because normalized pixels have an error of about 1e-5 gray levels themselves.
    return PixelAgreement(
        len(levels), round(float(levels.max(initial=0.0)), 3), round(float(levels.mean((1, 2, 3)).max(initial=0.0)), 3)
    )
