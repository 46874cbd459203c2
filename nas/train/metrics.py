"""What becomes of right and wrong answers: one number from 0 to 1."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from nas.train.defaults import METRIC_NAMES


def _accuracy(right: Tensor, _labels: Tensor) -> float:
    """The share of all images."""
    return int(right.sum()) / len(right)


def _balanced(right: Tensor, labels: Tensor) -> float:
    """The mean over classes of the share of their images; classes without any are left out."""
    counts = labels.bincount()
    hits = labels[right].bincount(minlength=len(counts))
    there = counts > 0
    return float((hits[there].double() / counts[there]).mean())


# Each takes bool `(N,)`, whether an image was told right, and int64 `(N,)`, its label; both on the host.
METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = MappingProxyType(
    dict(zip(METRIC_NAMES, (_accuracy, _balanced), strict=True))
)
