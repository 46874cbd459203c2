"""Files of tensors: whole or not there, told apart by what they are of, and read without running what they hold."""

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from nas.errors import NasError
from nas.files import write_atomically

# What a file says of itself, beside its values.
_FORMAT, _DESCRIBED = "format", "described"


@frozen
class FileKind:
    """What files are of.

    Attributes:
        word: for one of what they hold.
        format: another number, other values inside.
        ending: of their names.
        remedy: for a file that cannot be used.
        elsewhere: the remedy for a folder that cannot.
    """

    word: str
    format: int
    ending: str
    remedy: str
    elsewhere: str

    def path(self, folder: Path, name: str, described: Mapping[str, Any]) -> Path:
        """A file for each description, which is plain JSON values."""
        mark = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
        return folder / f"{name}-{mark}{self.ending}"

    def make_folder(self, folder: Path) -> None:
        """Make it, unless it is there.

        Raises:
            NasError: it cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NasError(f"{folder} cannot be made: {error.strerror or error}", self.elsewhere) from None

    def write(self, path: Path, described: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Write values by name, whole or not at all; what was there before stays until they are.

        Args:
            path: of the file; its folder is made.
            described: what they are of.
            values: tensors, numbers, text, and lists and dicts of these.

        Raises:
            NasError: the folder cannot be made or written to, or the disk is full.
        """
        buffer = io.BytesIO()
        torch.save({_FORMAT: self.format, _DESCRIBED: json.dumps(described, sort_keys=True), **values}, buffer)
        self.make_folder(path.parent)
        write_atomically(path, buffer.getbuffer())

    def read(self, path: Path, described: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values of a file, tensors on the CPU; None where there is none.

        Args:
            path: of the file.
            described: what they have to be of.

        Raises:
            NasError: it cannot be read, is damaged, or is of something else.
        """
        try:
            whole = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NasError(f"{path} cannot be read: {error.strerror or error}", self.elsewhere) from None
        held = self._load(path, whole)
        own = json.loads(json.dumps(described))
        if held[_DESCRIBED] != own:
            raise NasError(
                f"{path} is of another {self.word}: {_difference(held[_DESCRIBED], own)}",
                f"put it back under its own name, or {self.elsewhere}",
            )
        return held

    def _load(self, path: Path, whole: bytes) -> dict[str, Any]:
        try:
            held: dict[str, Any] = _checked(whole)
            known = held[_FORMAT] == self.format
            held[_DESCRIBED] = dict(json.loads(held[_DESCRIBED])) if known else {}
        except MemoryError:
            raise
        except Exception:  # bytes can be wrong in any way
            raise NasError(
                f"{path} holds no whole {self.word}: it was cut short or is of something else", self.remedy
            ) from None
        if not known:
            raise NasError(f"{path} is of format {held[_FORMAT]}, and {self.format} is known", self.remedy)
        return held


def _checked(whole: bytes) -> Any:
    """What bytes hold; torch itself does not compare checksums."""
    with zipfile.ZipFile(io.BytesIO(whole)) as parts:
        if (damaged := parts.testzip()) is not None:
            raise zipfile.BadZipFile(damaged)
    with warnings.catch_warnings():  # of what torch refuses anyway
        warnings.simplefilter("ignore")
        return torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)


def _difference(held: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What differs, by name."""
    names = [name for name in {**own, **held} if held.get(name) != own.get(name)]
    return ", ".join(f"its {name} is {held.get(name)!r} and not {own.get(name)!r}" for name in names[:2])
