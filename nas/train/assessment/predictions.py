"""Predictions for single image files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nas.data.base import Images
from nas.data.image_files import read_image
from nas.data.names import printable
from nas.errors import DataError
from nas.train.assessment.classifiers import Classifier
from nas.train.assessment.prediction import Prediction
from nas.train.loader import val_batch_size


def classify_files(classifier: Classifier, paths: Sequence[Path], top: int = 1) -> Iterator[Prediction]:
    """Yield the prediction for each file in order; a file that cannot be decoded is reported, and the others go on.

    Only the images of one batch are in memory.

    Args:
        classifier: The classifier.
        paths: Image files.
        top: Number of classes to report.
    """
    resolution, _ = classifier.form
    size = val_batch_size(resolution)
    for some in (paths[start : start + size] for start in range(0, len(paths), size)):
        read = [_read(path, classifier) for path in some]
        images = [each for each in read if isinstance(each, Tensor)]
        rows = iter(_probabilities(classifier, images))
        for path, each in zip(some, read, strict=True):
            if isinstance(each, str):
                yield Prediction(printable(path), problem=each)
            else:
                yield _prediction(path, next(rows), classifier.classes, top)


def _read(path: Path, classifier: Classifier) -> Tensor | str:
    try:
        return read_image(path, *classifier.form)
    except DataError as error:
        return error.problem


def _probabilities(classifier: Classifier, images: Sequence[Tensor]) -> Tensor:
    if not images:
        return torch.empty(0, 0)
    whole = torch.stack(list(images))
    return classifier.logits(Images(whole, torch.zeros(len(whole), dtype=torch.int64))).double().softmax(1)


def _prediction(path: Path, probabilities: Tensor, names: Sequence[str] | None, top: int) -> Prediction:
    best = probabilities.topk(min(top, len(probabilities)))
    classes = [str(number) if names is None else names[number] for number in best.indices.tolist()]
    return Prediction(printable(path), tuple(classes), tuple(best.values.tolist()))
