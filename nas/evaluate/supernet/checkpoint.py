"""Shared weights on disk: a file that holds a training up to some epoch, and what it was a training of."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from filelock import FileLock, Timeout
from torch import Tensor

from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Notify
from nas.evaluate.supernet.weights import Name
from nas.train.tensor_file import FileKind

KIND = FileKind(
    content="supernet",
    format=1,
    suffix=".supernet.pt",
    file_remedy="delete it to train anew, or put a whole copy in its place",
    folder_remedy="give another --supernet-dir",
)


@frozen(eq=False)
class Checkpoint:
    """A training up to an epoch.

    Attributes:
        described: what it is a training of, as plain JSON values.
        epoch: how many are behind.
        seconds: that these took.
        tensors: the weights, on the CPU.
        optimizer: its state; None once the training is over.
    """

    described: Mapping[str, Any]
    epoch: int
    seconds: float
    tensors: Mapping[Name, Tensor]
    optimizer: Mapping[str, Any] | None


def checkpoint_path(folder: Path, name: str, described: Mapping[str, Any]) -> Path:
    """Where a training lies: one file for each space, data, recipe and seed."""
    return KIND.path(folder, name, described)


@contextmanager
def alone(path: Path, notify: Notify) -> Iterator[None]:
    """Keep other processes from training the same; waits while one does, and ends with this process at the latest.

    Raises:
        NasError: the folder cannot be made or written to.
    """
    KIND.make_folder(path.parent)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        _wait_for(lock, lambda: notify(f"another process trains the supernet of {path}; its weights are waited for"))
    except OSError as error:
        raise NasError(f"{path.parent} cannot be written to: {error.strerror or error}", KIND.folder_remedy) from None
    try:
        yield
    finally:
        lock.release()


def _wait_for(lock: FileLock, tell: Callable[[], None]) -> None:
    """Take a lock; tell where that has to wait."""
    with suppress(Timeout):
        lock.acquire(timeout=0)
        return
    tell()
    lock.acquire()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it, whole or not at all; what was there before stays until it is.

    Raises:
        NasError: the folder cannot be made or written to, or the disk is full.
    """
    values = {
        "epoch": checkpoint.epoch,
        "seconds": checkpoint.seconds,
        "names": [list(name) for name in checkpoint.tensors],
        "tensors": [tensor.detach() for tensor in checkpoint.tensors.values()],
        "optimizer": checkpoint.optimizer,
    }
    KIND.write(path, checkpoint.described, values)


def read_checkpoint(path: Path, described: Mapping[str, Any]) -> Checkpoint | None:
    """What lies at a path, None where nothing does.

    Args:
        path: of the file.
        described: what it has to be a training of.

    Raises:
        NasError: it cannot be read, is damaged, or is of something else.
    """
    held = KIND.read(path, described)
    if held is None:
        return None
    names = [(place, node, parameter) for place, node, parameter in held["names"]]
    tensors = dict(zip(names, held["tensors"], strict=True))
    return Checkpoint(held["described"], held["epoch"], held["seconds"], tensors, held["optimizer"])


def take_in(tensors: Mapping[Name, Tensor], held: Mapping[Name, Tensor]) -> None:
    """Copy weights of a file into those of a supernet.

    Raises:
        EvaluationError: they do not fit.
    """
    sizes = {name: tensor.shape for name, tensor in tensors.items()}
    if sizes != {name: tensor.shape for name, tensor in held.items()}:
        raise EvaluationError("the supernet's weights have other shapes than its space", KIND.file_remedy)
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(held[name])
