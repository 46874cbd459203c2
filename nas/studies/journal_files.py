"""Files of journals: where they are, and how lines are appended and read.

Beside `nas.db` is the folder `nas-trials`, with a file `STUDY.jsonl` for every study. Databases on servers have no
journals: servers have backups of their own.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nas.files import open_regular
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.journal_text import MAX_LINE_BYTES, Head, parse_line
from nas.studies.urls import is_in_memory, read_url

SUFFIX = ".jsonl"
MAX_BYTES = 1_000_000_000
_PLAIN = re.compile(r"[A-Za-z0-9_+@=][\w.+@=-]{0,99}", re.ASCII)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def database_file(url: str) -> Path | None:
    """Return the file of a SQLite database, or None if the database is in memory or on a server."""
    known = read_url(url)
    if known is None or known.get_backend_name() != "sqlite" or is_in_memory(url):
        return None
    return Path((known.database or "").removeprefix("file:"))


def journal_folder(url: str) -> Path | None:
    """Return the folder of a database's journals, `FILE-trials` beside `FILE.db`, or None if it has no journals."""
    file = database_file(url)
    return None if file is None else file.with_name(f"{file.name.removesuffix('.db')}-trials")


def journals(url: str) -> tuple[Path, ...]:
    """Return the journals that exist beside a database, by name."""
    folder = journal_folder(url)
    return () if folder is None else tuple(sorted(folder.glob(f"*{SUFFIX}")))


def restore_command(url: str, shown_url: str) -> str:
    """Return the command that restores the studies of a database from its journals into a new file beside it.

    Args:
        url: URL of the database.
        shown_url: The same without passwords, for the command.
    """
    file = database_file(url)
    stem = "nas" if file is None else file.name.removesuffix(".db")
    names = (f"{stem}-restored{number}.db" for number in ("", *range(2, 1000)))
    beside = (Path(name) if file is None else file.with_name(name) for name in names)
    into = next(path for path in beside if not path.exists())
    at = () if url == DEFAULT_STORAGE else ("--storage", shown_url)
    return shlex.join(("nas", "studies", "restore", *at, "--into", str(into)))


def journal_path(folder: Path, study: str) -> Path:
    """Return the file for a study's journal.

    A name that every file system accepts stays as it is, so that people find it. Any other name is changed into one
    that is accepted. Two names may become the same one, so a hash of the whole name is added. It is also added where
    the file belongs to another study already: `Demo` and `demo` are one file on a Mac.
    """
    plain = _PLAIN.fullmatch(study) and not _RESERVED.fullmatch(study) and not study.endswith(".")
    path = folder / f"{study}{SUFFIX}"
    if plain and _owner(path) in (study, None):
        return path
    digest = hashlib.sha256(study.encode(errors="surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^\w.+@=-]+", "-", study, flags=re.ASCII).lstrip(".-")[:80]
    return folder / f"{readable or 'study'}-{digest}{SUFFIX}"


def _owner(path: Path) -> str | None:
    """Return the study that a journal's first line names, or None if there is no such line."""
    with suppress(OSError, ValueError), open_regular(path) as file:
        head = parse_line(file.readline(MAX_LINE_BYTES))
        return head.name if isinstance(head, Head) else None
    return None


def set_aside(path: Path) -> Path | None:
    """Rename a journal by adding a number to its name, and return the new path, or None if there is no journal.

    Raises:
        OSError: The file cannot be renamed.
    """
    if not path.exists():
        return None
    number = 1
    while (other := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return path.rename(other)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their numbers, without empty ones.

    A line that is too long is cut to one byte more than is allowed, so that memory stays bounded and the reader still
    sees that the line is too long.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is too large.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise OSError(f"it is larger than {MAX_BYTES:,} bytes, the largest size that is read")
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number, kept = number + 1, line
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            if kept.strip():
                yield number, kept.rstrip(b"\r\n")


def create(path: Path, lines: Sequence[bytes]) -> bool:
    """Make a file of these lines, as a whole or not at all; return False if the file exists already.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process number keeps apart processes that create the same journal at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(b"\n".join(lines))
        move_to_new(temporary, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            temporary.unlink()
    return True


def move_to_new(temporary: Path, path: Path) -> None:
    """Give a temporary file its final name, which no other file may have.

    A rename would replace a file that another process has just made. A hard link fails instead.

    Raises:
        FileExistsError: There is a file of that name.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, where two processes at the same moment may both succeed
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)


def append(path: Path, lines: Sequence[bytes]) -> bool:
    """Append lines to a file, each after a line break; return False if there is no such file.

    All lines are one write, which POSIX puts at the end of the file as a whole, so lines of processes that append at
    the same time do not mix.

    Raises:
        OSError: Not all of the lines could be written.
    """
    data = b"".join(b"\n" + line for line in lines)
    try:
        # Without the last flag, which not every system has, opening a named pipe waits for a reader.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return False
    try:
        left = memoryview(data)
        while left:  # a disk that fills up accepts a part; the next write raises the reason
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
    return True
