"""Records of an exported network and its files, as frozen values without torch and without ONNX Runtime."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.device.machine import Machine
from nas.device.spec import Device
from nas.device.timing import Timing, Turns
from nas.noise import Correct, pack, unpack, wilson


@frozen
class Accuracy:
    """Hold on which labeled images a network was measured, and how many it classified correctly.

    Attributes:
        data: Name of the source of the images, as the user typed it.
        split: Split of the source: "train", "val" or "test".
        by_class: Number of correct images and number of images of each class, in the order of the logits.
        images_digest: SHA-256 of the names and the labels of the images; "" if it is not known.
        packed: Which images are correct, as `nas.noise.pack` writes it; "" if it is not known.

    >>> found = Accuracy.of(np.array([True, False, True]), np.array([0, 0, 1]), 2, data="digits", split="test")
    >>> found.images, round(found.value, 3), found.by_class, found.correct.tolist()
    (3, 0.667, ((1, 2), (1, 1)), [True, False, True])
    """

    data: str
    split: str
    by_class: tuple[tuple[int, int], ...]
    images_digest: str = ""
    packed: str = ""

    @classmethod
    def of(
        cls,
        correct: Correct,
        labels: NDArray[np.integer[Any]],
        classes: int,
        *,
        data: str,
        split: str,
        images_digest: str = "",
    ) -> Self:
        """Return the accuracy of a network.

        Args:
            correct: Whether each image is classified correctly, `(N,)`.
            labels: Label of each image as the index of its logit, `(N,)`.
            classes: Number of classes.
            data: Name of the source of the images.
            split: Split of the source.
            images_digest: Digest of the images, as `digest_images` returns it.
        """
        counts = (np.bincount(labels[correct], minlength=classes), np.bincount(labels, minlength=classes))
        by_class = tuple((int(right), int(all_)) for right, all_ in zip(*counts, strict=True))
        return cls(data, split, by_class, images_digest, pack(correct))

    @property
    def images(self) -> int:
        """Return the number of images."""
        return sum(images for _, images in self.by_class)

    @property
    def value(self) -> float:
        """Return the share of correct images."""
        return sum(right for right, _ in self.by_class) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the accuracy (Wilson)."""
        return wilson(sum(right for right, _ in self.by_class), self.images)

    @property
    def correct(self) -> Correct | None:
        """Return whether each image is classified correctly, `(N,)`, or None if only the sums are known."""
        return unpack(self.packed) if self.packed else None


@frozen
class Latency:
    """Hold the latency of one batch on a device, measured in turn with the reference network.

    Attributes:
        device: How the network ran: provider, threads, batch, precision.
        machine: Machine that it ran on.
        timing: Times of the network.
        reference: Times of the reference network.
        noise: Half the interquartile range of the reference's times, as a share of their median.
        warmups: Number of runs before the measurement that do not count.
    """

    device: Device
    machine: Machine
    timing: Timing
    reference: Timing
    noise: float
    warmups: int

    @classmethod
    def of(cls, turns: Turns, index: int, device: Device, machine: Machine) -> Self:
        """Return the latency of one of the candidates that were measured in turn."""
        return cls(device, machine, turns.timings[index], turns.reference, turns.noise, turns.warmups)

    @property
    def milliseconds(self) -> float:
        """Return the latency in milliseconds: the ratio to the reference, times the median time of the reference."""
        return self.timing.ratio * self.reference.median_ms

    @property
    def spread_ms(self) -> float:
        """Return the standard error of the latency in milliseconds."""
        return self.timing.spread * self.milliseconds


@frozen
class ModelRecord:
    """Hold what is known about one model file.

    Attributes:
        file: Name of the file in the folder of the product.
        form: "onnx"; "timm", a safetensors file of timm's tensors; or "torch", a weights file of this package.
        precision: "fp32" or "int8".
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        size_bytes: Size of the file.
        params: Number of parameters of the network.
        macs: Number of multiply-adds for one image.
        accuracy: Accuracy of the file itself; None if it was not measured.
        latency: Latency of the file on the device; None if it was not measured.
        peak_bytes: Growth of the peak memory of a fresh process by loading the file and running it once, the smallest
            of several processes; None if it was not measured.
        agreement: JSON values of the comparison with the trained network; None if there was none.
        graph: Operator set and operator variants of the file; "" if it has none.
    """

    file: str
    form: str
    precision: str
    sha256: str
    size_bytes: int
    params: int
    macs: int
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    peak_bytes: int | None = None
    agreement: Mapping[str, Any] | None = None
    graph: str = ""


@frozen
class Baseline:
    """Hold what is known about another network, on the same images and the same device.

    Attributes:
        name: Name of the network.
        params: Number of parameters.
        macs: Number of multiply-adds for one image.
        size_bytes: Size of its ONNX file; None if there was none.
        accuracy: Its accuracy; None if it was not measured.
        latency: Its latency; None if it was not measured.
        peak_bytes: As in `ModelRecord`.
    """

    name: str
    params: int
    macs: int
    size_bytes: int | None = None
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    peak_bytes: int | None = None


@frozen
class FileRecord:
    """Hold the digest of a file of the product that is not a model.

    Attributes:
        file: Name of the file in the folder of the product.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        size_bytes: Size of the file.
    """

    file: str
    sha256: str
    size_bytes: int


@frozen
class Product:
    """Hold everything that `metrics.json` stores about an exported network.

    Attributes:
        name: Name of the network, one line.
        architecture: Text form of the architecture.
        classes: Names of the classes in the order of the logits; None if they are unknown.
        mean: Mean of each channel, where a pixel of 255 is 1.
        std: Standard deviation of each channel, where a pixel of 255 is 1.
        resolution: Height and width of the images that the network takes, in pixels.
        channels: Number of channels of the images.
        outputs: Number of classes.
        batch: Number of images of one run; None if it is open.
        preprocessing: Whether the ONNX files take uint8 images of any size, and crop, resize and normalize them.
        models: The model files.
        baseline: Another network that was measured beside this one; None if there is none.
        int8: JSON values of the report on int8; None if there is none.
        notes: Sentences for the user.
        provenance: Texts about the origin of the weights, by their names.
        versions: Versions of the programs that made the files, by their names.
        files: The other files except `metrics.json`; `write_product` fills this in.
    """

    name: str
    architecture: str
    classes: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resolution: int
    channels: int
    outputs: int
    batch: int | None
    preprocessing: bool
    models: tuple[ModelRecord, ...]
    baseline: Baseline | None = None
    int8: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(factory=dict)
    versions: Mapping[str, str] = field(factory=dict)
    files: tuple[FileRecord, ...] = ()

    @property
    def digests(self) -> Mapping[str, str]:
        """Return the SHA-256 of each file except `metrics.json`, by its name."""
        return {model.file: model.sha256 for model in self.models} | {file.file: file.sha256 for file in self.files}


def digest_images(names: Sequence[str], labels: NDArray[np.integer[Any]]) -> str:
    """Return a SHA-256 of the names and the labels of images, which tells whether two measurements used the same ones.

    Pixels are left out, because another version of a decoder may change them, and that is what is compared.

    >>> digest_images(["a.png"], np.array([1]))[:8]
    '19e23588'
    """
    lines = "\n".join(f"{label} {name}" for name, label in zip(names, labels.tolist(), strict=True))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
