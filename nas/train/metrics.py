"""Metrics that turn the predictions for the validation split into one number from 0 to 1."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

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


# Each metric takes bool `(N,)`, whether each image is classified correctly, and its int64 labels `(N,)`, both in the
# host's memory.
METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = MappingProxyType(
    dict(zip(METRIC_NAMES, (_accuracy, _balanced_accuracy), strict=True))
)
