"""Shared weights on disk: a file that holds a training up to some epoch, and what it was a training of."""

import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from filelock import FileLock, Timeout
from torch import Tensor

from nas.errors import EvaluationError, NasError
from nas.evaluate.supernet_weights import Name
from nas.files import write_atomically

FORMAT = 1
ENDING = ".supernet.pt"
_ELSEWHERE = "give another --supernet-dir"
_REMEDY = "delete it to train anew, or put a whole copy in its place"


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
    mark = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{name}-{mark}{ENDING}"


@contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from training the same; waits while one does, and ends with this process at the latest.

    Raises:
        NasError: the folder cannot be made or written to.
    """
    _make_folder(path.parent)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        _wait_for(lock, lambda: say(f"another process trains the supernet of {path}; its weights are waited for"))
    except OSError as error:
        raise NasError(f"{path.parent} cannot be written to: {error.strerror or error}", _ELSEWHERE) from None
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(f"{folder} cannot be made: {error.strerror or error}", _ELSEWHERE) from None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it, whole or not at all; what was there before stays until it is.

    Raises:
        NasError: the folder cannot be made or written to, or the disk is full.
    """
    buffer = io.BytesIO()
    torch.save(_plain(checkpoint), buffer)
    _make_folder(path.parent)
    write_atomically(path, buffer.getvalue())


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """As values that can be read without running anything."""
    return {
        "format": FORMAT,
        "described": json.dumps(checkpoint.described, sort_keys=True),
        "epoch": checkpoint.epoch,
        "seconds": checkpoint.seconds,
        "names": [list(name) for name in checkpoint.tensors],
        "tensors": [tensor.detach() for tensor in checkpoint.tensors.values()],
        "optimizer": checkpoint.optimizer,
    }


def read_checkpoint(path: Path, described: Mapping[str, Any]) -> Checkpoint | None:
    """What lies at a path, None where nothing does.

    Args:
        path: of the file.
        described: what it has to be a training of.

    Raises:
        NasError: it cannot be read, is damaged, or is of something else.
    """
    if not path.exists():
        return None
    held = _load(path)
    own = json.loads(json.dumps(described))
    if held["described"] != own:
        raise NasError(
            f"{path} is the training of another supernet: {_difference(held['described'], own)}",
            f"put it back under its own name, or {_ELSEWHERE}",
        )
    names = [(place, node, parameter) for place, node, parameter in held["names"]]
    tensors = dict(zip(names, held["tensors"], strict=True))
    return Checkpoint(own, held["epoch"], held["seconds"], tensors, held["optimizer"])


def _unpickle(whole: bytes) -> dict[str, Any]:
    """Tensors and plain values; torch refuses what would run code, and warns of what it has not seen before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held: dict[str, Any] = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    return held


def _load(path: Path) -> dict[str, Any]:
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise NasError(f"{path} cannot be read: {error.strerror or error}", _ELSEWHERE) from None
    try:
        held = _unpickle(whole)
        if held["format"] != FORMAT:
            raise NasError(f"{path} is of format {held['format']}, and {FORMAT} is known", _REMEDY)
        held["described"] = json.loads(held["described"])
    except (
        RuntimeError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.UnpicklingError,
    ):
        raise NasError(f"{path} holds no whole supernet: it was cut short or is of something else", _REMEDY) from None
    return held


def _difference(held: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What differs, by name."""
    names = [name for name in own if held.get(name) != own[name]]
    return ", ".join(f"its {name} is {held.get(name)!r} and not {own[name]!r}" for name in names[:2])


def take_in(tensors: Mapping[Name, Tensor], held: Mapping[Name, Tensor]) -> None:
    """Copy weights of a file into those of a supernet.

    Raises:
        EvaluationError: they do not fit.
    """
    sizes = {name: tensor.shape for name, tensor in tensors.items()}
    if sizes != {name: tensor.shape for name, tensor in held.items()}:
        raise EvaluationError("the supernet's weights have other shapes than its space", _REMEDY)
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(held[name])
