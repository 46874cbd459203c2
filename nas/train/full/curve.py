"""Results of the epochs of a training run, which together are its learning curve."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import Attribute, field, frozen

from nas.errors import NasError


def _whole(_result: object, attribute: "Attribute[int]", value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise NasError(f"{attribute.name} of an epoch is {value!r:.80}", "give a whole number from 1 upwards")


def _number(_result: object, attribute: "Attribute[float]", value: object) -> None:
    if not isinstance(value, float) or not math.isfinite(value):
        raise NasError(f"{attribute.name} of an epoch is {value!r:.80}", "give a finite number")


@frozen
class EpochResult:
    """Hold what one epoch of a training run gave.

    Attributes:
        epoch: Number of the epoch, counted from 1.
        loss: Mean loss of the steps of the epoch.
        accuracy: Metric of the validation split after the epoch, from 0 to 1.
        learning_rate: Learning rate of the last step.
        images_per_second: Number of training images in a second, without the validation.
        seconds: Duration of the epoch in seconds, with its validation.
    """

    epoch: int = field(validator=_whole)
    loss: float = field(validator=_number)
    accuracy: float = field(validator=_number)
    learning_rate: float = field(validator=_number)
    images_per_second: float = field(validator=_number)
    seconds: float = field(validator=_number)

    def as_json(self) -> dict[str, Any]:
        """Return the values by name."""
        return attrs.asdict(self)


def parse_curve(rows: object) -> tuple[EpochResult, ...]:
    """Return the results of the epochs in the values of a file; the inverse of `EpochResult.as_json` for each.

    Raises:
        NasError: The values are not the results of the first epochs, in their order.
    """
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise NasError("the learning curve is not a list of results", "give one result for each epoch")
    try:
        curve = tuple(EpochResult(**row) for row in rows)
    except TypeError:
        raise NasError("a result of an epoch has other values than these", "give the values of each epoch") from None
    if [one.epoch for one in curve] != list(range(1, len(curve) + 1)):
        raise NasError("the learning curve has gaps", "give one result for each epoch")
    return curve


def best_epoch(curve: Sequence[EpochResult]) -> int:
    """Return the epoch with the highest accuracy; of equal ones the last, which has the lowest learning rate.

    >>> best_epoch([EpochResult(i, 1.0, accuracy, 0.1, 9.0, 2.0) for i, accuracy in enumerate((0.5, 0.75, 0.75), 1)])
    3
    """
    return max(curve, key=lambda one: (one.accuracy, one.epoch)).epoch
