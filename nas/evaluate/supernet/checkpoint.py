"""Files of shared weights: each holds the state of a supernet's training after an epoch, and what it depends on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from nas.errors import EvaluationError
from nas.evaluate.supernet.weights import WeightName
from nas.train.tensor_file import FileKind

KIND = FileKind(
    content="supernet",
    format=1,
    suffix=".supernet.pt",
    file_remedy="delete it to train the supernet again, or replace it by a complete copy",
    folder_remedy="give another --supernet-dir",
)


@frozen(eq=False)
class SupernetCheckpoint:
    """Hold the state of a supernet's training after an epoch.

    Attributes:
        described: Description of what the weights depend on, as plain JSON values.
        epoch: Number of finished epochs.
        seconds: Duration of these epochs in seconds.
        tensors: Weights by name, on the CPU.
        optimizer: State of the optimizer; None after the last epoch.
    """

    described: Mapping[str, Any]
    epoch: int
    seconds: float
    tensors: Mapping[WeightName, Tensor]
    optimizer: Mapping[str, Any] | None


def checkpoint_path(folder: Path, name: str, described: Mapping[str, Any]) -> Path:
    """Return the path of a supernet's file: one for each space, data, recipe and seed.

    Args:
        folder: Folder of the file.
        name: Name of the search space.
        described: Description of what the weights depend on, as plain JSON values.
    """
    return KIND.path(folder, name, described)


def write_checkpoint(path: Path, checkpoint: SupernetCheckpoint) -> None:
    """Write a checkpoint atomically: the former file stays until the new one is complete.

    Raises:
        NasError: The folder cannot be created or written to, or the disk is full.
    """
    # These keys and types are those of format 1. Other ones need another format number, since users have files.
    values = {
        "epoch": checkpoint.epoch,
        "seconds": checkpoint.seconds,
        "names": [list(name) for name in checkpoint.tensors],
        "tensors": [tensor.detach() for tensor in checkpoint.tensors.values()],
        "optimizer": checkpoint.optimizer,
    }
    KIND.write(path, checkpoint.described, values)


def read_checkpoint(path: Path, described: Mapping[str, Any]) -> SupernetCheckpoint | None:
    """Return the checkpoint in a file, or None if there is no file.

    Args:
        path: Path of the file.
        described: Description that the file must have.

    Raises:
        NasError: The file cannot be read, is damaged, or has another description.
    """
    values = KIND.read(path, described)
    if values is None:
        return None
    names = [(place, node, parameter) for place, node, parameter in values["names"]]
    tensors = dict(zip(names, values["tensors"], strict=True))
    return SupernetCheckpoint(values["described"], values["epoch"], values["seconds"], tensors, values["optimizer"])


def copy_weights(source: Mapping[WeightName, Tensor], target: Mapping[WeightName, Tensor]) -> None:
    """Copy the weights of a file into the weights of a supernet.

    Raises:
        EvaluationError: Names or shapes differ.
    """
    shapes = {name: tensor.shape for name, tensor in target.items()}
    if shapes != {name: tensor.shape for name, tensor in source.items()}:
        raise EvaluationError("the weights in the supernet's file do not fit its search space", KIND.file_remedy)
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])
