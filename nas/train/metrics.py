"""Metrics that turn the predictions for the validation split into one number from 0 to 1."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from nas.noise import ValidationSplit
from nas.train.defaults import METRIC_NAMES


def _accuracy(correct: Tensor, _labels: Tensor) -> float:
    """Return the share of images that are classified correctly."""
    return int(correct.sum()) / len(correct)


def _balanced_accuracy(correct: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the share of correctly classified images; classes without images are skipped."""
    counts = labels.bincount()
    hits = labels[correct].bincount(minlength=len(counts))
    present = counts > 0
    return float((hits[present].double() / counts[present]).mean())


def describe_split(labels: Tensor, metric: str) -> ValidationSplit:
    """Return size and chance rate of a validation split under a metric.

    Args:
        labels: int64 labels `(N,)` of the validation split.
        metric: Name of the metric, a key of `METRICS`; any other name counts as plain accuracy.

    Example:
        >>> import torch
        >>> describe_split(torch.tensor([0, 0, 0, 1]), "accuracy")
        ValidationSplit(images=4, chance=0.75, effective=4.0)
        >>> describe_split(torch.tensor([0, 0, 0, 1]), "balanced")
        ValidationSplit(images=4, chance=0.5, effective=3.0)
    """
    counts = labels.bincount().double()
    present = counts[counts > 0]
    images = len(labels)
    if metric != METRIC_NAMES[1]:
        return ValidationSplit(images, float(present.max()) / images, float(images))
    # The variance of a mean over C classes is p (1 - p) * sum(1 / n_c) / C^2 where all classes have the same rate p.
    return ValidationSplit(images, 1 / len(present), float(len(present) ** 2 / (1 / present).sum()))


# Each metric takes bool `(N,)`, whether each image is classified correctly, and its int64 labels `(N,)`, both in the
# host's memory.
METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = MappingProxyType(
    dict(zip(METRIC_NAMES, (_accuracy, _balanced_accuracy), strict=True))
)
