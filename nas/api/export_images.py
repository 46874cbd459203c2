"""Images of an export: the splits of a data source, as the network takes them and as they are stored."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from nas.api.export_request import ExportRequest
from nas.api.export_source import NamedNetwork, Say
from nas.errors import DataError
from nas.export.inputs import generated_images

if TYPE_CHECKING:
    from nas.data.base import ImageData, Images
    from nas.data.load import Split
    from nas.export.records import Accuracy
    from nas.weights.base import TrainedNetwork

# Images of their stored size. The first ones of each of the most frequent sizes suffice: the operators are the same.
STORED, STORED_SIZES = 64, 4
MOST_STORED_BYTES = 64_000_000  # of all images of one size


def find_data(
    request: ExportRequest, named: NamedNetwork, say: Say, known: "ExportData | None" = None
) -> "ExportData | None":
    """Return the images of a network, or None if none are given and its training run recorded none.

    Args:
        request: What is asked for.
        named: The network.
        say: Function that is called with notes about the images.
        known: Images of the exported network, for another one that is measured beside it.

    Raises:
        DataError: The classes of the images are not those of the network, or the source cannot be read.
    """
    source = known.source if known else request.data or named.data
    if not source:
        say("no images are given: the file is checked on generated images, and its accuracy is unknown")
        return None
    data = ExportData(source, named.network, request.validation_share, say)
    if known or request.data:
        data.check_classes()
        return data
    say(f"the images are those that the training run recorded: {source}")
    try:
        data.check_classes()
    except DataError as error:
        raise DataError(
            f"the images that the training run recorded cannot be used: {error.problem}",
            "name the images on which the network was trained, where they are now, with --data",
        ) from None
    return data


@frozen(eq=False, slots=False)
class ExportData:
    """Load the splits of a data source for a network, with labels that are indices of its logits.

    Attributes:
        source: Source of the images.
        network: The network.
        validation_share: Share of the images that validates; None takes the usual one.
        say: Function that is called with notes about the images.
    """

    source: str
    network: "TrainedNetwork"
    validation_share: float | None
    say: Say

    def check_classes(self) -> None:
        """Check that the classes are those of the network, before any image is decoded.

        Raises:
            DataError: The classes differ, or the source cannot be read.
        """
        from nas.data.load import class_names

        self._with_labels(generated_images(self.network, 0), class_names(self.source))

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes in the order of the logits; a network without names has those of the data."""
        return self.network.classes or self._test.classes

    @cached_property
    def val(self) -> "Images":
        """Return the validation split."""
        return self._labeled(self._val)

    @property
    def val_names(self) -> tuple[str, ...]:
        """Return the names of the validation images: paths within the source, or splits and row numbers."""
        return self._val.names

    @cached_property
    def test(self) -> "Images":
        """Return the test split."""
        return self._labeled(self._test)

    def train(self, count: int) -> "Images":
        """Return training images that are spread evenly over the split, all if there are fewer."""
        return self._labeled(self._split("train", count))

    def for_training(self) -> "ImageData":
        """Return the training split and the validation split with what a training run needs to know about them."""
        from nas.data.load import load_images

        arch = self.network.arch
        loaded = load_images(
            self.source,
            resolution=arch.resolution,
            channels=arch.in_channels,
            validation_share=self.validation_share,
        )
        train, val = (self._with_labels(each, loaded.classes) for each in (loaded.train, loaded.val))
        return evolve(loaded, train=train, val=val, classes=self.network.classes or loaded.classes)

    @cached_property
    def _val(self) -> "Split":
        return self._split("val")

    @cached_property
    def _test(self) -> "Split":
        return self._split("test")

    def accuracy(self, logits: NDArray[Any]) -> "Accuracy":
        """Return the accuracy of logits of the test split."""
        from nas.export.records import Accuracy, digest_images

        labels = self.test.labels.cpu().numpy()
        return Accuracy.of(
            logits.argmax(1) == labels,
            labels,
            self.network.arch.classes,
            data=self._test.name,
            split="test",
            images_digest=digest_images(self._test.names, labels),
        )

    def stored(self) -> Iterator[NDArray[np.uint8]]:
        """Yield validation images `(N, H, W, C)` of equal stored sizes other than the network's, for a few sizes."""
        from nas.data.load import load_stored

        arch = self.network.arch
        images = load_stored(
            self.source,
            "val",
            channels=arch.in_channels,
            images=STORED,
            validation_share=self.validation_share,
        )
        by_size: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
        for image in images:
            same = by_size.setdefault(image.shape, [])
            if sum(each.nbytes for each in same) + image.nbytes <= MOST_STORED_BYTES:
                same.append(image)
        others = [same for (height, width, _), same in by_size.items() if (height, width) != (arch.resolution,) * 2]
        others = [same for same in others if same]
        return map(np.stack, sorted(others, key=len, reverse=True)[:STORED_SIZES])

    def _split(self, split: str, images: int | None = None) -> "Split":
        from nas.data.load import load_split

        arch = self.network.arch
        loaded = load_split(
            self.source,
            split,
            resolution=arch.resolution,
            channels=arch.in_channels,
            images=images,
            validation_share=self.validation_share,
        )
        for note in loaded.notes:
            self.say(f"{loaded.name}, {split} split: {note}")
        return loaded

    def _labeled(self, split: "Split") -> "Images":
        return self._with_labels(split.images, split.classes)

    def _with_labels(self, images: "Images", classes: Sequence[str]) -> "Images":
        from nas.train.assessment.classifiers import with_labels_of

        return with_labels_of(images, classes, self.network.classes, self.network.arch.classes)
