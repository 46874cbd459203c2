"""The figures of an exported network, measured again on a device."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.api.latency import SECONDS, SPREAD, make_aim
from nas.data.base import Images
from nas.data.load import Split, load_split
from nas.device.connection import Connection
from nas.device.model_file import ModelFile
from nas.device.timing import Turns
from nas.errors import DataError, DeviceError, NasError
from nas.export.inputs import as_inputs, image_parts, random_images
from nas.export.records import Accuracy, Latency, ModelRecord, Product, digest_images
from nas.export.target import smallest_peak
from nas.export.verification import (
    ACCURACY,
    LATENCY,
    MEMORY,
    NOT_COMPARED,
    NOT_MEASURED,
    Check,
    compare_accuracy,
    compare_latency,
    compare_memory,
    stated_figure,
)
from nas.train.assessment.classifiers import with_labels_of

PART = 512  # images that are sent to the device at a time
TEST = "test"


@frozen(eq=False)
class Figures:
    """Measure the ONNX files of a product on a device.

    A figure that this device or these images cannot give is reported, and the others are measured.

    Attributes:
        product: What the folder states.
        files: ONNX files that passed the check, by name.
        connection: Connection to the device.
        say: Function that is called with sentences about the progress.
    """

    product: Product
    files: Mapping[str, ModelFile]
    connection: Connection
    say: Callable[[str], None]

    @property
    def _models(self) -> list[ModelRecord]:
        return [model for model in self.product.models if model.file in self.files]

    def checks(self, data: str | None, skip: Collection[str]) -> Iterator[Check]:
        """Yield the comparison of each figure that is not skipped; see `nas.api.verification.verify_product`."""
        if ACCURACY not in skip:
            yield from self.accuracies(data)
        if MEMORY not in skip:
            yield from self.memory()
        if LATENCY not in skip:
            yield from self.latencies()

    def accuracies(self, data: str | None) -> Iterator[Check]:
        """Yield the comparison of each accuracy that is stated, or of all files where images are given.

        Args:
            data: Source of the images; None takes the one that the product names, if it is on this machine.

        Raises:
            DataError: The given images cannot be used.
        """
        models = [model for model in self._models if model.accuracy or data]
        if not models:
            return
        try:
            split = self._split(data, next((model.accuracy for model in models if model.accuracy), None))
        except DataError as error:
            if data is not None:
                raise
            yield from (_not_measured(model, ACCURACY, error) for model in models)
            return
        for model in models:
            yield _checked(model, ACCURACY, partial(self._accuracy, model, split))
        for model in self.product.models:
            if model.form != "onnx" and model.accuracy:
                note = "the file has tensors for torch, which are not run here"
                yield Check(model.file, ACCURACY, NOT_COMPARED, model.accuracy.value, note=note)

    def _split(self, data: str | None, stated: Accuracy | None) -> Split:
        source = data or (stated.data if stated and _is_here(stated.data) else None)
        if source is None:
            raise DataError("the images that metrics.json names are not on this machine; give them with --data")
        product = self.product
        name = stated.split if stated else TEST
        split = load_split(source, name, resolution=product.resolution, channels=product.channels)
        images = with_labels_of(split.images, split.classes, product.classes, product.outputs)
        self.say(f"accuracy: {len(images):,} images of the {name} split of {split.name}")
        return attrs.evolve(split, images=images)

    def _accuracy(self, model: ModelRecord, split: Split) -> Check:
        labels = split.images.labels.cpu().numpy()
        found = Accuracy.of(
            self._predictions(self.files[model.file], split.images) == labels,
            labels,
            self.product.outputs,
            data=split.name,
            split=model.accuracy.split if model.accuracy else TEST,
            images_digest=digest_images(split.names, labels),
        )
        return compare_accuracy(model.file, model.accuracy, found)

    def _predictions(self, file: ModelFile, images: Images) -> NDArray[np.int64]:
        parts = map(self._inputs, image_parts(images, PART))
        return np.concatenate([self.connection.logits(file, part).logits.argmax(1) for part in parts])

    def _inputs(self, images: Images) -> NDArray[Any]:
        """Return images of the network's size as the files take them."""
        return as_inputs(images, self.product.mean, self.product.std, preprocess=self.product.preprocessing)

    def memory(self) -> Iterator[Check]:
        """Yield the comparison of each peak of memory that is stated."""
        for model in self._models:
            if model.peak_bytes is not None:
                yield _checked(model, MEMORY, partial(self._memory, model))

    def _memory(self, model: ModelRecord) -> Check:
        device, side = self.connection.device, self.product.resolution
        images = random_images(device.batch, self.product.channels, side)
        found = smallest_peak(self.connection, self.files[model.file], self._inputs(images))
        stated = model.latency and (model.latency.device, model.latency.machine.kind)
        is_same = stated == (device, self.connection.machine.kind)
        return compare_memory(model.file, model.peak_bytes, found, same_device=is_same)

    def latencies(self) -> Iterator[Check]:
        """Yield the comparison of each latency; the files are measured in turn with each other."""
        models, device = self._models, self.connection.device
        if not models:
            return
        self.say(f"latency: {', '.join(model.file for model in models)} on {device.short}")
        try:
            turns = self.connection.measure([self.files[model.file] for model in models], make_aim(SPREAD, SECONDS))
        except DeviceError as error:
            yield from (_not_measured(model, LATENCY, error) for model in models)
            return
        yield from (self._latency(model, turns, index) for index, model in enumerate(models))

    def _latency(self, model: ModelRecord, turns: Turns, index: int) -> Check:
        found = Latency.of(turns, index, self.connection.device, self.connection.machine)
        return compare_latency(model.file, model.latency, found)


def _checked(model: ModelRecord, what: str, measure: Callable[[], Check]) -> Check:
    try:
        return measure()
    except (DataError, DeviceError) as error:
        return _not_measured(model, what, error)


def _not_measured(model: ModelRecord, what: str, error: NasError) -> Check:
    return Check(model.file, what, NOT_MEASURED, stated_figure(model, what), note=error.problem)


def _is_here(source: str) -> bool:
    """Return whether images are on this machine: a folder from elsewhere must not start a download."""
    try:
        return source == "digits" or Path(source).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # no path at all, such as one with a null character
        return False
