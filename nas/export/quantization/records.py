"""Records of quantization: its inputs, its settings, and its result."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from attrs import asdict, field, frozen
from numpy.typing import NDArray

from nas.errors import DataError
from nas.export.quantization.graph import Types
from nas.noise import Correct, Difference, difference, wilson

Logits = NDArray[np.float32]
Run = Callable[[onnx.ModelProto, NDArray[Any]], Logits]
"""Function that returns the logits `(N, classes)` of a graph for N images on the target device."""
MOST_CALIBRATION_IMAGES = 1000
_POINTS = 100


@frozen(eq=False)
class Labeled:
    """Hold images as a graph takes them, and their labels.

    Attributes:
        images: Inputs of the graph `(N, ...)`.
        labels: Index of the class of each image `(N,)`.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]

    def correct(self, logits: Logits) -> Correct:
        """Return which images are classified correctly `(N,)`."""
        return np.asarray(logits.argmax(1) == self.labels)


def _labeled(images: "Labeled | tuple[NDArray[Any], NDArray[Any]]") -> Labeled:
    return images if isinstance(images, Labeled) else Labeled(*images)


@frozen(eq=False)
class QuantizationInputs:
    """Hold the images for each of the three purposes; no image has two of them.

    Attributes:
        calibration: Inputs of the graph for training images, from which the ranges of the activations are taken.
        choosing: Images on which methods, types and layers are chosen.
        judging: Images on which the loss is stated.

    Raises:
        DataError: One of them has no images.
    """

    calibration: NDArray[Any]
    choosing: Labeled = field(converter=_labeled)
    judging: Labeled = field(converter=_labeled)

    def __attrs_post_init__(self) -> None:
        if not len(self.calibration):
            raise DataError(
                "there are no calibration images; int8 needs training images for the ranges of the activations",
                "give data with a training split, or export with --format onnx",
            )
        for name in ("choosing", "judging"):
            if not len(getattr(self, name).labels):
                raise DataError(
                    f"there are no images for {name}; int8 needs images that are not for training, half of them to "
                    "choose its settings and half to state its loss",
                    "give data with a validation split, or export with --format onnx",
                )

    def calibration_images(self) -> NDArray[Any]:
        """Return at most 1,000 calibration images, spread evenly over all."""
        count = min(len(self.calibration), MOST_CALIBRATION_IMAGES)
        return self.calibration[np.arange(count) * len(self.calibration) // count]


@frozen
class Accuracy:
    """Represent a share of correctly classified images with its 95% interval (Wilson)."""

    value: float
    low: float
    high: float
    images: int

    @classmethod
    def of(cls, correct: Correct) -> "Accuracy":
        """Return the accuracy of images that are classified correctly or not `(N,)`."""
        return cls(float(correct.mean()), *wilson(int(correct.sum()), len(correct)), len(correct))


@frozen
class Loss:
    """Represent a loss of accuracy in points with its paired 95% interval; below 0, int8 is more accurate.

    Attributes:
        value: Accuracy of fp32 minus that of int8 on the same images, in points.
        low: Lower end of the interval.
        high: Upper end of the interval.
        images: Number of images.
    """

    value: float
    low: float
    high: float
    images: int

    @classmethod
    def of(cls, fp32: Correct, int8: Correct) -> "Loss":
        """Return the loss, given which images `(N,)` each graph classifies correctly."""
        found: Difference = difference([fp32], [int8])
        value, half = _POINTS * found.value, _POINTS * found.half_width()
        return cls(value, value - half, value + half, len(fp32))

    def resolves(self, limit: float) -> bool:
        """Return whether the whole interval is on one side of a limit in points."""
        return not self.low <= limit < self.high

    def images_to_resolve(self, limit: float) -> int:
        """Return the number of images whose interval would be on one side of the limit, if the loss stayed the same."""
        # An estimate at the limit itself is never resolved; a quarter of the limit is then taken as the distance.
        distance = max(abs(limit - self.value), limit / 4, 1 / self.images)
        return int(np.ceil(self.images * ((self.high - self.value) / distance) ** 2))

    def __str__(self) -> str:
        """Return the loss as text."""
        return f"{self.value:.2f} points (95% interval {self.low:.2f} to {self.high:.2f}, {self.images} images)"


@frozen
class LayerSensitivity:
    """Say what the quantization of one layer alone changes.

    Attributes:
        layer: Name of the convolution or linear layer.
        error: Mean square of the change of the logits, divided by their variance.
    """

    layer: str
    error: float


@frozen
class Attempt:
    """Hold the result of one setting on the choosing images.

    Attributes:
        types: Types of weights and activations.
        method: Method of the ranges.
        kept: Number of layers in fp32.
        accuracy: Accuracy on the device.
        divergence: Mean Kullback-Leibler divergence of the probabilities from those of fp32.
    """

    types: str
    method: str
    kept: int
    accuracy: float
    divergence: float


@frozen
class QuantizationSettings:
    """Hold the settings of an int8 graph.

    Attributes:
        method: Method of the ranges: "minmax", "entropy", "percentile" or "qat".
        types: Types of weights and activations.
        calibration_images: Number of calibration images.
        fast_in_fp32: Layers that are in fp32 because they are faster so.
        kept: The most sensitive layers, which are in fp32 for the sake of the accuracy, the most sensitive one first.
        layers: Number of all layers.
        attempts: What was tried.
    """

    method: str
    types: Types
    calibration_images: int
    fast_in_fp32: tuple[str, ...]
    kept: tuple[LayerSensitivity, ...]
    layers: int
    attempts: tuple[Attempt, ...]

    @property
    def reduce_range(self) -> bool:
        """Return whether the weights have 7 bits."""
        return self.types.reduce_range


@frozen(eq=False)
class QuantizedModel:
    """Hold an int8 graph with its loss of accuracy on the device.

    Attributes:
        model: Graph with the inputs and outputs of the fp32 graph.
        whole: Graph with the same settings in which no layer is in fp32 for the sake of the accuracy.
        settings: Settings of the graph.
        loss: Loss on the judging images.
        choosing_loss: Loss on the choosing images, which is too small where many settings were tried.
        accuracy_fp32: Accuracy of the fp32 graph on the judging images.
        accuracy_int8: Accuracy of this graph on the judging images.
        max_loss: Loss that is allowed, in points.
        notes: Sentences for the user.
    """

    model: onnx.ModelProto = field(repr=False)
    whole: onnx.ModelProto = field(repr=False)
    settings: QuantizationSettings
    loss: Loss
    choosing_loss: Loss
    accuracy_fp32: Accuracy
    accuracy_int8: Accuracy
    max_loss: float
    notes: tuple[str, ...]

    @property
    def resolved(self) -> bool:
        """Return whether the judging images are enough to say on which side of `max_loss` the loss is."""
        return self.loss.resolves(self.max_loss)

    @property
    def within(self) -> bool:
        """Return whether the estimated loss is at most `max_loss`."""
        return self.loss.value <= self.max_loss

    def as_json(self) -> dict[str, Any]:
        """Return everything but the graph as plain values."""
        settings = asdict(self.settings)
        return {
            "settings": settings,
            "loss": asdict(self.loss),
            "accuracy_fp32": asdict(self.accuracy_fp32),
            "accuracy_int8": asdict(self.accuracy_int8),
            "max_loss": self.max_loss,
            "resolved": self.resolved,
            "within": self.within,
            "notes": list(self.notes),
        }
