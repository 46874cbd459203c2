"""The training set of a student: labeled images with their labels, and unlabeled ones with those of a teacher."""

import hashlib

import attrs
import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional

from nas.data.base import ImageData, Images
from nas.data.room import MEMORY_SHARE, find_room
from nas.train.noisy_student.selection import Selection


@frozen(eq=False)
class StudentSet:
    """Hold what a student is trained on.

    Attributes:
        data: Data set whose training split has the labeled images and behind them the selected unlabeled ones.
        targets: Probabilities `(images, classes)` of the training images, those of labeled images being 0 or 1.
    """

    data: ImageData
    targets: Tensor


def student_set(data: ImageData, unlabeled: Tensor, selection: Selection) -> StudentSet:
    """Return the training set of a student.

    Args:
        data: Labeled images; their validation and test split stay as they are.
        unlabeled: Unlabeled images, uint8 `(N, C, H, W)` of the same shape.
        selection: Images to train on, with their soft labels.

    Raises:
        DataError: The images do not fit into memory, nor into the temporary folder.
    """
    labeled, added = data.train, len(selection.images)
    shape = (len(labeled) + added, *labeled.images.shape[1:])
    room = find_room(torch.Size(shape).numel(), MEMORY_SHARE)
    images = room.make(shape)
    images[: len(labeled)] = labeled.images
    for place, image in enumerate(selection.images.tolist(), len(labeled)):  # one by one: a file may hold them
        images[place] = unlabeled[image]
    labels = torch.cat([labeled.labels, selection.targets.argmax(1)])
    known = functional.one_hot(labeled.labels, data.num_classes).float()
    train = Images(images, labels, mapped=room.mapped)
    fingerprint = _fingerprint(data.fingerprint, unlabeled, selection)
    return StudentSet(
        attrs.evolve(data, train=train, fingerprint=fingerprint), torch.cat([known, selection.targets.float()])
    )


def _fingerprint(labeled: str, unlabeled: Tensor, selection: Selection) -> str:
    digest = hashlib.sha256(labeled.encode())
    for tensor in (unlabeled, selection.images, selection.targets):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[: len(labeled)]
