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
RESIZED_TOLERANCE = 0.05
"""The same for images that the file itself resizes."""


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


def merged(parts: Sequence[Agreement]) -> Agreement:
    """Return the comparison of all images of several ones with the same tolerance; images are counted on.

    >>> half = Agreement(2, 0.1, 0.01, (ChangedPrediction(1, 0.05, 0, 1),))
    >>> both = merged([half, half])
    >>> both.images, [each.image for each in both.changed]
    (4, [1, 3])
    """
    starts = [sum(part.images for part in parts[:number]) for number in range(len(parts))]
    changed = tuple(
        attrs.evolve(each, image=start + each.image)
        for start, part in zip(starts, parts, strict=True)
        for each in part.changed
    )
    largest = float(np.max([part.largest for part in parts]))  # not a number if one of them is not
    return Agreement(sum(part.images for part in parts), parts[0].tolerance, largest, changed)
