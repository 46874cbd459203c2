"""Assessments of a trained classifier on labeled images: accuracy, classes, confusions and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from attr import asdict  # that of `attrs` keeps tuples, which JSON does not have
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nas.data.base import Images
from nas.data.packages import require
from nas.errors import DataError, WeightsError
from nas.noise import Correct
from nas.train.assessment.classifiers import NetworkClassifier
from nas.train.assessment.intervals import Interval, accuracy_of, bootstrap, mean_of, share
from nas.weights.base import TrainedNetwork

BINS = 15
FEWEST = 2
MOST_PAIRS = 10


@frozen
class ClassResult:
    """Hold what is known of one class; a value is None where no image tells it.

    Attributes:
        name: Name of the class.
        images: Number of images of the class.
        predicted: Number of images that are classified as the class.
        precision: Share of the images classified as the class that are of it.
        recall: Share of the images of the class that are classified as it.
        f1: Harmonic mean of the two. Its interval follows from the Wilson interval of the share of correct images
            among those that are of the class or classified as it.
    """

    name: str
    images: int
    predicted: int
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None


@frozen
class Bin:
    """Hold the images of which the probability of the predicted class is in one range.

    Attributes:
        low: Lower end of the range.
        high: Upper end of the range.
        images: Number of images.
        confidence: Mean probability of the predicted class; None without images.
        accuracy: Share of the images that are classified correctly; None without images.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: Interval | None


@frozen
class Pair:
    """Hold how often images of one class are classified as another.

    Attributes:
        label: Name of the class of the images.
        predicted: Name of the class as which they are classified.
        images: Number of the images.
        share: Share of the images of the class.
    """

    label: str
    predicted: str
    images: int
    share: Interval


@frozen
class Assessment:
    """Hold what a classifier does on labeled images; all intervals are 95% confidence intervals.

    Attributes:
        images: Number of images.
        accuracy: Share of the images that are classified correctly (Wilson interval).
        calibration_error: Mean distance of accuracy and probability over 15 ranges of the probability, weighted by
            their images (interval by bootstrap over the images).
        negative_log_likelihood: Mean of the negative logarithm of the probability of the label (normal interval).
        classes: Result of each class.
        confusion: Number of images by class and predicted class.
        bins: Ranges of the probability of the predicted class.
        pairs: Pairs of classes that are confused most often, the most frequent first.
    """

    images: int
    accuracy: Interval
    calibration_error: Interval
    negative_log_likelihood: Interval
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[Bin, ...]
    pairs: tuple[Pair, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self, retain_collection_types=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the assessment of JSON values; the inverse of `as_json`.

        Raises:
            DataError: The values are not those of an assessment.
        """
        try:
            return cls(
                images=int(values["images"]),
                accuracy=Interval.parse(values["accuracy"]),
                calibration_error=Interval.parse(values["calibration_error"]),
                negative_log_likelihood=Interval.parse(values["negative_log_likelihood"]),
                classes=tuple(
                    ClassResult(**_with_intervals(row, "precision", "recall", "f1")) for row in values["classes"]
                ),
                confusion=tuple(tuple(map(int, row)) for row in values["confusion"]),
                bins=tuple(Bin(**_with_intervals(row, "accuracy")) for row in values["bins"]),
                pairs=tuple(Pair(**_with_intervals(row, "share")) for row in values["pairs"]),
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(
                f"the values are not those of an assessment: {type(error).__name__} {error!s:.80}",
                "give what `as_json` returned",
            ) from None


def _with_intervals(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**row, **{name: row[name] and Interval.parse(row[name]) for name in names}}


def assess(network: TrainedNetwork, images: Images, device: str = "cpu", classes: Sequence[str] = ()) -> Assessment:
    """Return what a network does on labeled images.

    Args:
        network: The network.
        images: The images; labels are indices of its logits.
        device: Device name as `find_device` returns it.
        classes: Names of the classes, where the network has none.

    Raises:
        WeightsError: The normalization of the network is unknown, or its logits are no finite numbers.
        DataError: There are fewer than two images.
        MissingPackageError: The package torchmetrics is not installed.
    """
    names = network.classes or tuple(classes) or tuple(map(str, range(network.arch.classes)))
    return assess_logits(NetworkClassifier(network, device).logits(images), images.labels.cpu(), names)


def assess_logits(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> Assessment:
    """Return what logits `(N, classes)` say about labels `(N,)`; see `assess`."""
    require("torchmetrics")
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

    if len(labels) < FEWEST:
        raise DataError(
            f"the number of images to assess is {len(labels)}; a confidence interval needs at least {FEWEST}",
            "give a split that has more images",
        )
    if not logits.isfinite().all():
        raise WeightsError(
            "the network gives logits that are no finite numbers, so nothing can be measured", "train it again"
        )
    probabilities = logits.double().softmax(1)
    confidences, predictions = probabilities.max(1)
    correct: Correct = (predictions == labels).numpy()
    confusion = multiclass_confusion_matrix(predictions, labels, num_classes=len(classes)).numpy()
    error = float(multiclass_calibration_error(probabilities, labels, num_classes=len(classes), n_bins=BINS))
    likelihood = functional.cross_entropy(logits.double(), labels, reduction="none").numpy()
    return Assessment(
        images=len(labels),
        accuracy=accuracy_of(correct),
        calibration_error=_calibration(confidences.numpy(), correct, error),
        negative_log_likelihood=mean_of(likelihood),
        classes=tuple(_class_result(name, confusion, number) for number, name in enumerate(classes)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        bins=_bins(confidences.numpy(), correct),
        pairs=_pairs(confusion, classes),
    )


def _class_result(name: str, confusion: NDArray[np.int64], number: int) -> ClassResult:
    hits, images, predicted = (
        int(count) for count in (confusion[number, number], confusion[number].sum(), confusion[:, number].sum())
    )
    if not images:  # Nothing is known of a class without images, whatever others are classified as it.
        return ClassResult(name, 0, predicted, None, None, None)
    common = share(hits, images + predicted - hits)
    f1 = common and Interval(*(2 * end / (1 + end) for end in (common.value, common.low, common.high)))
    return ClassResult(name, images, predicted, share(hits, predicted), share(hits, images), f1)


def _pairs(confusion: NDArray[np.int64], classes: Sequence[str]) -> tuple[Pair, ...]:
    wrong = confusion - np.diag(np.diag(confusion))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    found = []
    for label, predicted in zip(*np.unravel_index(largest, wrong.shape), strict=True):
        count = int(wrong[label, predicted])
        of_label = share(count, int(confusion[label].sum()))
        if count and of_label is not None:
            found.append(Pair(classes[label], classes[predicted], count, of_label))
    return tuple(found)


def _calibration(confidences: NDArray[np.float64], correct: Correct, value: float) -> Interval:
    """Return the calibration error of torchmetrics with its interval."""
    places = np.floor(confidences * BINS).astype(np.int64)
    gaps = correct - confidences

    def error(indices: NDArray[np.int64]) -> float:
        sums = np.bincount(places[indices], weights=gaps[indices], minlength=BINS + 1)
        return float(np.abs(sums).sum() / len(indices))

    found = bootstrap(error, len(correct), value)
    return found or Interval(value, 0.0, 1.0)


def _bins(confidences: NDArray[np.float64], correct: Correct) -> tuple[Bin, ...]:
    places = np.minimum(np.floor(confidences * BINS), BINS - 1).astype(np.int64)
    found = []
    for number in range(BINS):
        inside = places == number
        count = int(inside.sum())
        mean = float(confidences[inside].mean()) if count else None
        found.append(Bin(number / BINS, (number + 1) / BINS, count, mean, share(int(correct[inside].sum()), count)))
    return tuple(found)
