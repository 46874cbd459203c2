"""Accuracies of the networks of a comparison, all on the same labeled images and on the same device."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nas.api.comparison_entries import Entry
from nas.api.comparison_records import AccuracyPair, MeasuredAccuracy
from nas.data.load import Split, load_split
from nas.errors import DataError
from nas.export.inputs import as_inputs, image_parts
from nas.noise import Correct, difference, wilson
from nas.train.assessment.classifiers import with_labels_of

if TYPE_CHECKING:
    from nas.device.connection import Connection

Say = Callable[[str], None]
PART = 512  # images that are sent to the device at a time


@frozen(eq=False)
class Predictions:
    """Hold which images each file classified correctly.

    Attributes:
        correct: For each file, by network and precision, whether each image is correct `(N,)`.
        problems: Why the accuracy of a network was not measured, by its name.
        notes: Sentences about the images.
    """

    correct: dict[tuple[str, str], Correct]
    problems: dict[str, str]
    notes: tuple[str, ...]

    def accuracies(self, name: str) -> tuple[MeasuredAccuracy, ...]:
        """Return the accuracies of the files of a network."""
        return tuple(
            MeasuredAccuracy(precision, float(row.mean()), *wilson(int(row.sum()), len(row)), len(row))
            for (network, precision), row in self.correct.items()
            if network == name
        )

    def pairs(self) -> Iterator[AccuracyPair]:
        """Yield the comparisons of all networks in each precision, and of the precisions of each network."""
        pairs = [
            (one, other)
            for one, other in itertools.combinations(self.correct, 2)
            if one[1] == other[1] or one[0] == other[0]
        ]
        for one, other in pairs:
            found = difference([self.correct[one]], [self.correct[other]])
            half = found.half_width(len(pairs))
            ends = (max(-1.0, found.value - half), min(1.0, found.value + half))
            yield AccuracyPair(one[0], other[0], one[1], other[1], found.value, *ends)


def predict_all(connection: "Connection", entries: Sequence[Entry], data: str, split: str, say: Say) -> Predictions:
    """Return which images of a split each trained network classifies correctly, in the form in which it is measured.

    The files run on the device of the comparison. A network to which the images cannot be given is left out with a
    reason.

    Args:
        connection: Connection to the device.
        entries: The networks.
        data: Source of the images.
        split: Split of the source.
        say: Function that is called with sentences about the progress.

    Raises:
        DataError: The images cannot be read.
        DeviceError: The device fails.
    """
    correct: dict[tuple[str, str], Correct] = {}
    problems: dict[str, str] = {}
    loaded: dict[tuple[int, int], Split] = {}
    for entry in entries:
        network = entry.network
        try:
            if entry.form is None:
                raise DataError(entry.why_not)
            if network.resolution[0] != network.resolution[1]:
                raise DataError("it takes images that are not square")
            form = (network.resolution[0], network.channels)
            if form not in loaded:
                loaded[form] = load_split(data, split, resolution=form[0], channels=form[1])
            rows = _correct(connection, entry, loaded[form], say)
        except DataError as error:
            if entry.form is not None and not loaded:
                raise  # The images themselves cannot be read.
            problems[network.name] = error.problem
        else:
            correct |= {(network.name, precision): row for precision, row in rows.items()}
    notes = next((each.notes for each in loaded.values()), ())
    return Predictions(correct, problems, notes)


def _correct(connection: "Connection", entry: Entry, split: Split, say: Say) -> dict[str, Correct]:
    assert entry.form is not None  # noqa: S101 -- the caller has checked it
    images = with_labels_of(split.images, split.classes, entry.form.classes, entry.network.classes)
    labels = images.labels.cpu().numpy()
    mean, std = entry.form.normalization or ((), ())
    rows = {}
    for precision in entry.judged:
        if precision not in entry.files:
            continue
        say(f"{entry.network.name} ({precision}): {len(images):,} images of {split.name}")
        file = entry.model_file(precision)
        parts = (
            as_inputs(part, mean, std, preprocess=entry.form.normalization is None)
            for part in image_parts(images, PART)
        )
        predicted: NDArray[np.int64] = np.concatenate(
            [connection.logits(file, part).logits.argmax(1) for part in parts]
        )
        rows[precision] = predicted == labels
    return rows
