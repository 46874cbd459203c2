"""Selection of unlabeled images by the confidence of a teacher, with the same number of images for each class.

Noisy Student (Xie et al. 2019, arXiv 1911.04252, section 3.1): images below a confidence are dropped; a class with too
many images keeps those of the highest confidence, and images of a class with too few are repeated.
"""

import torch
from attrs import frozen
from torch import Tensor

from nas.errors import DataError


@frozen
class ClassCount:
    """Hold how many unlabeled images of one class were kept.

    Attributes:
        predicted: Number of images for which the class is the most probable one.
        confident: Number of these that reach the confidence threshold.
        kept: Number of different images that the student is trained on.
        total: Number of images with their repetitions.
    """

    predicted: int
    confident: int
    kept: int
    total: int


@frozen(eq=False)
class Selection:
    """Hold the unlabeled images that a student is trained on.

    Attributes:
        images: Indices `(M,)` of the images; an image that is repeated occurs several times.
        targets: Probabilities `(M, classes)` that the teacher gives them.
        counts: Number of images of each class.
    """

    images: Tensor
    targets: Tensor
    counts: tuple[ClassCount, ...]


def select(probabilities: Tensor, threshold: float, per_class: int | None = None) -> Selection:
    """Return the unlabeled images that a student is trained on, with soft labels.

    Args:
        probabilities: Probabilities `(N, classes)` that the teacher gives the unlabeled images.
        threshold: Smallest probability of the most probable class, from 0 to 1.
        per_class: Number of images of each class; None takes the mean number of confident images of the classes that
            have any, rounded up, so that the number of all images stays about the same.

    Raises:
        DataError: No image reaches the threshold.

    >>> probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    >>> selection = select(probabilities, threshold=0.6)
    >>> selection.images.tolist()
    [0, 1, 3, 3]
    >>> selection.counts[0]
    ClassCount(predicted=4, confident=3, kept=2, total=2)
    """
    confidence, predicted = probabilities.max(1)
    confident = (confidence >= threshold).nonzero().flatten()
    classes = probabilities.shape[1]
    if not len(confident):
        highest = float(confidence.max()) if len(confidence) else 0.0
        raise DataError(
            f"none of the {len(probabilities):,} unlabeled images reaches the confidence {threshold:g}; the highest "
            f"one is {highest:.3g}",
            "give a lower --confidence, or a teacher that is more accurate",
        )
    each = per_class or mean_count(predicted[confident], classes)
    chosen = confident[balance(predicted[confident], confidence[confident], classes, each)]
    groups = (predicted, predicted[confident], predicted[torch.tensor(sorted(set(chosen.tolist())))], predicted[chosen])
    counts = zip(*(group.bincount(minlength=classes).tolist() for group in groups), strict=True)
    return Selection(chosen, probabilities[chosen], tuple(ClassCount(*numbers) for numbers in counts))


def mean_count(predicted: Tensor, classes: int) -> int:
    """Return the mean number of images of the classes that have any, rounded up.

    >>> mean_count(torch.tensor([0, 0, 0, 2, 2]), classes=4)
    3
    """
    counts = predicted.bincount(minlength=classes)
    return -(-len(predicted) // int((counts > 0).sum()))


def balance(predicted: Tensor, confidence: Tensor, classes: int, per_class: int) -> Tensor:
    """Return indices `(M,)` of images such that each class that has images has exactly `per_class` of them.

    The images of a class follow each other by falling confidence, and begin again where there are too few. Of equally
    confident images the first one is taken first.

    Args:
        predicted: Most probable class `(N,)` of each image.
        confidence: Probability `(N,)` of that class.
        classes: Number of classes.
        per_class: Number of images of each class, at least 1.
    """
    order = confidence.argsort(descending=True, stable=True)
    by_class = (order[predicted[order] == each] for each in range(classes))
    places = torch.arange(per_class)
    return torch.cat([images[places % len(images)] for images in by_class if len(images)])


def describe_selection(selection: Selection, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines that state how many images of each class are kept, and which classes have none.

    Args:
        selection: Selection of the images.
        classes: Names of the classes.
    """
    kept, total = (sum(getattr(count, name) for count in selection.counts) for name in ("kept", "total"))
    seen = sum(count.predicted for count in selection.counts)
    confident = sum(count.confident for count in selection.counts)
    lines = [
        f"{confident:,} of {seen:,} unlabeled images reach the confidence; {kept:,} of them are kept, "
        f"{total:,} with repetitions"
    ]
    lines += [
        f"class {name}: {count.kept:,} of {count.confident:,} confident images kept, {count.total:,} with repetitions"
        for name, count in zip(classes, selection.counts, strict=True)
    ]
    return tuple(lines)
