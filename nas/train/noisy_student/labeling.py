"""Soft labels of unlabeled images, which a teacher gives once for each round and which are kept in a file."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from nas.data.augment import Scaling
from nas.errors import NasError
from nas.train.loader import val_batch_size
from nas.train.seeded import seeded
from nas.train.teachers import Teacher
from nas.train.tensor_file import FileKind

KIND = FileKind(
    content="pseudo-label",
    format=1,
    suffix=".pt",
    file_remedy="remove it, and the teacher labels the images again",
    folder_remedy="choose another folder with --out",
)
NAME = "pseudo-labels.pt"
_VALUES = "probabilities"


def soft_labels(teacher: Teacher, images: Tensor, device: str) -> Tensor:
    """Return the probabilities `(N, classes)` that a teacher gives images, in the host's memory.

    Args:
        teacher: The teacher.
        images: uint8 images `(N, C, H, W)`.
        device: Device that computes.
    """
    norm = teacher.task.normalization
    scaling = Scaling(norm.mean, norm.std, device)
    with seeded(0, device), torch.inference_mode():
        batches = [
            teacher(scaling(batch.to(device).contiguous(memory_format=torch.channels_last))).softmax(1).cpu()
            for batch in torch.split(images, val_batch_size(images.shape[-1]))
        ]
    # A copy, because tensors of the inference mode cannot be trained with.
    return torch.cat(batches).clone()


def kept_soft_labels(folder: Path, teacher: Teacher, images: Tensor, device: str) -> Tensor:
    """Return soft labels as `soft_labels` does, from the file of a round if an earlier process wrote it.

    A round that continues so has exactly the labels that it began with, also on a GPU, which may round differently.

    Args:
        folder: Folder of the round.
        teacher: The teacher.
        images: uint8 images `(N, C, H, W)`.
        device: Device that computes.

    Raises:
        NasError: The file is damaged, belongs to another teacher or to other images, or cannot be written.
    """
    path, norm = folder / NAME, teacher.task.normalization
    described = {
        "teacher": teacher.digest,
        "images": hashlib.sha256(images.contiguous().numpy().data).hexdigest()[:12],
        "classes": list(teacher.task.classes),
        "normalization": [list(norm.mean), list(norm.std)],
    }
    values = KIND.read(path, described)
    if values is None:
        computed = soft_labels(teacher, images, device)
        KIND.write(path, described, {_VALUES: computed})
        return computed
    labels: object = values.get(_VALUES)
    if not isinstance(labels, Tensor) or labels.shape != (len(images), len(teacher.task.classes)):
        raise NasError(f"{path} is damaged", KIND.file_remedy)
    return labels
