"""Files of tensors that are written atomically, carry a description, and are read without running code from them."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from nas.errors import NasError
from nas.files import read_bytes, write_atomically
from nas.weights.tensor_files import load_values

# Keys of a file's format number and of its description, next to the keys of its values.
_FORMAT, _DESCRIBED = "format", "described"
MOST_BYTES = 8_000_000_000
_DIGEST = re.compile("[0-9a-f]{12,}")


@frozen
class FileKind:
    """Describe a kind of tensor files, and read and write files of this kind.

    Every file holds a description of what its values depend on. Reading compares it with the expected description, so
    that a renamed or copied file is not used for something else.

    Attributes:
        content: Name of what a file holds, for messages.
        format: Number of the format; files with another number are not read.
        suffix: Suffix of the file names.
        file_remedy: Remedy for a file that cannot be used.
        folder_remedy: Remedy for a folder that cannot be used.
    """

    content: str
    format: int
    suffix: str
    file_remedy: str
    folder_remedy: str

    def path(self, folder: Path, name: str, described: Mapping[str, Any]) -> Path:
        """Return the path of the file with this description; every description has a path of its own.

        Args:
            folder: Folder of the file.
            name: First part of the file's name; characters that could lead to another folder become "-".
            described: Description as plain JSON values.
        """
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
        safe = re.sub(r"[^\w.+=-]+", "-", name)
        return folder / f"{safe}-{digest}{self.suffix}"

    def make_folder(self, folder: Path) -> None:
        """Create a folder and its parents, unless they exist.

        Raises:
            NasError: The folder cannot be created.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NasError(
                f"folder {folder} cannot be created: {error.strerror or error}", self.folder_remedy
            ) from None

    def write(self, path: Path, described: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Write a file atomically: an existing file is replaced by the complete new one or not at all.

        Args:
            path: Path of the file; its folder is created.
            described: Description as plain JSON values.
            values: Values by name: tensors, numbers, texts, and lists and dicts of these.

        Raises:
            NasError: The folder cannot be created or written to, or the disk is full.
        """
        buffer = io.BytesIO()
        torch.save({_FORMAT: self.format, _DESCRIBED: json.dumps(described, sort_keys=True), **values}, buffer)
        self.make_folder(path.parent)
        write_atomically(path, buffer.getbuffer())

    def read(self, path: Path, described: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the values of a file by name, with tensors on the CPU, or None if there is no file.

        Args:
            path: Path of the file.
            described: Description that the file must have.

        Raises:
            NasError: The file cannot be read, is damaged, or has another description.
        """
        try:
            data = read_bytes(path, MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NasError(f"{path} cannot be read: {error.strerror or error}", self.folder_remedy) from None
        values = self._load(path, data)
        # JSON turns tuples into lists, so the expected description takes the same way before it is compared.
        expected = json.loads(json.dumps(described))
        if values[_DESCRIBED] != expected:
            raise NasError(
                f"{path} belongs to another {self.content}: {_difference(values[_DESCRIBED], expected)}",
                f"rename it back to its own name, or {self.folder_remedy}",
            )
        return values

    def _load(self, path: Path, data: bytes) -> dict[str, Any]:
        try:
            values: dict[str, Any] = load_values(data)
            is_known = values[_FORMAT] == self.format
            values[_DESCRIBED] = dict(json.loads(values[_DESCRIBED])) if is_known else {}
        except MemoryError:
            raise
        except Exception:  # damaged bytes may raise nearly any error
            raise NasError(
                f"{path} is not a complete {self.content} file: it is damaged, cut short, or a file of another kind",
                self.file_remedy,
            ) from None
        if not is_known:
            raise NasError(
                f"{path} has format {values[_FORMAT]}; this version reads format {self.format}", self.file_remedy
            )
        return values


def _difference(held: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return a text that names the first two entries in which two descriptions differ."""
    names = [name for name in {**expected, **held} if held.get(name) != expected.get(name)]
    return ", ".join(f"its {name} is {_contrast(held.get(name), expected.get(name))}" for name in names[:2])


def _contrast(held: object, expected: object) -> str:
    """Return a text with two values that differ; digests say nothing to a reader.

    >>> _contrast(1, 2), _contrast("0a62bed13c6c", "a36e9942efae")
    ('1 and not 2', 'another one')
    """
    is_digest = all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (held, expected))
    return "another one" if is_digest else f"{held!r} and not {expected!r}"
