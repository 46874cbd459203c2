"""Files that an agent keeps for its requests: models, images and logits."""

import hashlib
import mmap
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from nas.device.messages import CHUNK_BYTES, MAX_FILE_BYTES
from nas.errors import DeviceError
from nas.files import open_regular

MOST_KEPT_BYTES = 4 * 2**30
MOST_KEPT_FILES = 1024


@define(eq=False)
class _Upload:
    """Hold a file of which some parts have come."""

    digest: str
    size: int
    file: IO[bytes]
    received: int = 0
    hashed: Any = field(factory=hashlib.sha256)


@define(eq=False)
class FileStore:
    """Keep files under the SHA-256 of their bytes, with limits on their number and size.

    The files are on disk and have no names, so that the operating system frees them however the process ends. Where a
    new file needs room, those that were unused for longest are dropped; the client then sends them again.

    Attributes:
        most_bytes: Largest number of bytes of all files together.
        most_files: Largest number of files.
    """

    most_bytes: int = MOST_KEPT_BYTES
    most_files: int = MOST_KEPT_FILES
    _files: "OrderedDict[str, tuple[int, IO[bytes]]]" = field(factory=OrderedDict, init=False)
    _upload: _Upload | None = field(default=None, init=False)

    def receive(self, digest: str, size: int, offset: int, data: bytes) -> int:
        """Take a part of a file and return how many bytes of it have come; the file is kept when it is complete.

        Raises:
            DeviceError: The part does not follow the one before, the file is not the one of the digest, or the disk is
                full.
        """
        if offset == 0:
            self._begin(digest, size)
        upload = self._upload
        if upload is None or (upload.digest, upload.size, upload.received) != (digest, size, offset):
            raise DeviceError(f"a part of a file at {offset:,} does not follow the one before", "send the file again")
        if not data or offset + len(data) > size:
            raise DeviceError(f"a part of {len(data):,} bytes at {offset:,} is not inside its file", "send another one")
        try:
            upload.file.write(data)
        except OSError as error:
            self._abandon()
            raise _no_room(error) from None
        upload.hashed.update(data)
        upload.received += len(data)
        if upload.received == size:
            self._finish(upload)
        return upload.received

    def keep_open(self, path: Path, digest: str, size: int) -> None:
        """Keep a regular file of this machine without copying it; it must not change any more.

        Raises:
            DeviceError: The file cannot be read, or is another one than that of the digest.
        """
        try:
            with open_regular(path) as file:
                is_same = os.fstat(file.fileno()).st_size == size and _digest(file) == digest
                if not is_same:
                    raise DeviceError("a file of this machine has other bytes than its digest", "send its bytes")
                self._make_room(size)
                # The file that was checked is kept: another one may have its path by now.
                kept = os.fdopen(os.dup(file.fileno()), "rb")
        except (OSError, ValueError) as error:
            raise DeviceError(f"a file of this machine cannot be read: {error}", "send its bytes") from None
        self._drop(digest)
        self._files[digest] = size, kept

    def _begin(self, digest: str, size: int) -> None:
        self._abandon()
        self._make_room(size)
        try:
            self._upload = _Upload(digest, size, tempfile.TemporaryFile(prefix="nas-"))  # noqa: SIM115 - it stays open as long as the file is kept
        except OSError as error:
            raise _no_room(error) from None

    def _finish(self, upload: _Upload) -> None:
        self._upload = None
        if upload.hashed.hexdigest() != upload.digest:
            upload.file.close()
            raise DeviceError("a file arrived with other bytes than were sent: its digest differs", "send it again")
        upload.file.flush()
        self._drop(upload.digest)
        self._files[upload.digest] = upload.size, upload.file

    def _abandon(self) -> None:
        if self._upload is not None:
            with suppress(OSError):  # Closing writes what is buffered, for which a full disk has no room.
                self._upload.file.close()
            self._upload = None

    def _make_room(self, size: int) -> None:
        if size > min(self.most_bytes, MAX_FILE_BYTES):
            raise DeviceError(
                f"a file has {size:,} bytes, and at most {min(self.most_bytes, MAX_FILE_BYTES):,} are kept",
                "give a smaller file",
            )
        while self._files and (self._bytes() + size > self.most_bytes or len(self._files) >= self.most_files):
            self._drop(next(iter(self._files)))

    def _bytes(self) -> int:
        return sum(size for size, _ in self._files.values())

    def _drop(self, digest: str) -> None:
        if digest in self._files:
            self._files.pop(digest)[1].close()

    def put(self, data: bytes) -> str:
        """Keep a file of this machine and return its digest.

        Raises:
            DeviceError: The file is too large, or the disk is full.
        """
        digest = hashlib.sha256(data).hexdigest()
        for start in range(0, len(data), CHUNK_BYTES):
            self.receive(digest, len(data), start, data[start : start + CHUNK_BYTES])
        return digest

    def missing(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Return the digests of the files that are not kept, and count the others as used."""
        wanted = list(digests)
        for digest in wanted:
            if digest in self._files:
                self._files.move_to_end(digest)
        return tuple(digest for digest in wanted if digest not in self._files)

    @contextmanager
    def content(self, digest: str) -> Iterator[memoryview]:
        """Provide the bytes of a file, without reading all of them into memory.

        Raises:
            DeviceError: The file is not kept.
        """
        if self.missing([digest]):
            raise DeviceError(f"the file {digest[:12]} is not kept", "send it again")
        size, file = self._files[digest]
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            yield view

    def close(self) -> None:
        """Drop all files."""
        self._abandon()
        for digest in list(self._files):
            self._drop(digest)


def _digest(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _no_room(error: OSError) -> DeviceError:
    return DeviceError(
        f"the device cannot keep a file among its temporary files: {error.strerror or error}",
        "free some space there, or set TMPDIR to a folder with more",
    )
