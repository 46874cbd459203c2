"""The teacher of a search: the fine-tuned source network, whose outputs for the training images are kept in a file."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from nas.data.augment import Scaling
from nas.data.base import ImageData
from nas.errors import NasError
from nas.evaluate.base import Notify
from nas.train.distillation import FEATURE_TYPE, TeacherOutputs, pooled_features
from nas.train.first_weights import normalization_for
from nas.train.loader import make_loader, val_batch_size
from nas.train.lock import training_lock
from nas.train.memory import memory_errors_of_network
from nas.train.seeded import seeded
from nas.train.tensor_file import FileKind
from nas.weights.base import TrainedNetwork

KIND = FileKind(
    content="teacher",
    format=1,
    suffix=".teacher.pt",
    file_remedy="delete it to compute it again, or replace it by a complete copy",
    folder_remedy="choose another folder for the fine-tuned source network",
)


@frozen(eq=False)
class Teacher:
    """Provide the outputs of the fine-tuned source network for the training images.

    The outputs are computed once and kept in a file, which workers and later searches read.

    Attributes:
        described: Everything that the outputs depend on, as plain JSON values.
        folder: Folder of the file.
        train: Function that returns the fine-tuned source network and the duration of its training in seconds.
        notify: Callback for messages.
    """

    described: Mapping[str, Any]
    folder: Path
    train: Callable[[], tuple[TrainedNetwork, float]]
    notify: Notify

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return KIND.path(self.folder, "source", self.described)

    def seconds(self) -> float | None:
        """Return the duration of the training and of computing the outputs in seconds, or None if there is no file.

        Raises:
            NasError: The file cannot be read.
        """
        values = self._read()
        return None if values is None else values["seconds"]

    def outputs(self, data: ImageData, resolution: int, device: str) -> TeacherOutputs:
        """Return the outputs in the host's memory, which are read from the file or computed.

        Args:
            data: Data set whose training images the outputs belong to.
            resolution: Height and width of the images that the teacher receives, in pixels.
            device: Device that computes.

        Raises:
            NasError: The file cannot be read or written, or the training failed.
        """
        # Without the lock first: a complete file is never written again, and processes need not wait to read it.
        values = self._read()
        if values is None:
            with training_lock(self.path, KIND, self.notify):
                # The file is read again: another process may have written it until this one got the lock.
                values = self._read() or self._make(data, resolution, device)
        else:
            self.notify(f"the fine-tuned source network in {self.folder} is used again as the teacher")
        return TeacherOutputs(values["logits"], values["features"])

    def _read(self) -> dict[str, Any] | None:
        values = KIND.read(self.path, self.described)
        if values is not None and not all(isinstance(values.get(name), Tensor) for name in ("logits", "features")):
            raise NasError(f"{self.path} has no outputs of a teacher", KIND.file_remedy)
        return values

    def _make(self, data: ImageData, resolution: int, device: str) -> dict[str, Any]:
        network, seconds = self.train()
        began = time.monotonic()
        outputs = compute_outputs(network, data, resolution, device)
        seconds += time.monotonic() - began
        values = {"logits": outputs.logits, "features": outputs.features, "seconds": seconds}
        KIND.write(self.path, self.described, values)
        return values


@torch.no_grad()
def compute_outputs(network: TrainedNetwork, data: ImageData, resolution: int, device: str) -> TeacherOutputs:
    """Return the outputs of a network for all training images, and for the mirrored ones if the data allows them.

    Args:
        network: Network with a known normalization.
        data: Data set of the images.
        resolution: Height and width of the images that the network receives, in pixels.
        device: Device that computes.

    Raises:
        EvaluationError: Memory ran out.
    """
    model = network.module().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    norm = normalization_for(network, data.channels)
    scaling = Scaling(norm.mean, norm.std, device)
    loader = make_loader(data.train, device, resolution)
    size = val_batch_size(resolution)
    slices = [slice(start, start + size) for start in range(0, len(loader), size)]

    def outputs(*, mirrored: bool) -> tuple[Tensor, Tensor]:
        with pooled_features(model) as features:
            logits = [model(_images(loader.take(each)[0], scaling, mirrored=mirrored)).cpu() for each in slices]
        return torch.cat(logits), torch.cat([each.to("cpu", FEATURE_TYPE) for each in features])

    # No random number is drawn; the context makes cuDNN deterministic and switches TF32 off.
    with seeded(0, device), memory_errors_of_network("with the source network", "lower the resolution"):
        parts = [outputs(mirrored=mirrored) for mirrored in ((False, True) if data.flip else (False,))]
    logits, features = (torch.stack(values) for values in zip(*parts, strict=True))
    return TeacherOutputs(logits, features)


def _images(images: Tensor, scaling: Scaling, *, mirrored: bool) -> Tensor:
    return scaling((images.flip(3) if mirrored else images).contiguous(memory_format=torch.channels_last))
