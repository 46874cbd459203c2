"""Where journals lie, and how lines come into them and out of them.

`nas.db` has the folder `nas-trials`, with a file `STUDY.jsonl` for every study. Databases on servers have backups of
their own and no journals.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.journal_text import LONGEST_LINE, Head, parse_line

ENDING = ".jsonl"
_PLAIN = re.compile(r"[A-Za-z0-9_+@=][\w.+@=-]{0,99}", re.ASCII)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def database_file(url: str) -> Path | None:
    """The file of a SQLite database; None where it is in memory or on a server."""
    try:
        known = make_url(url)
    except (SQLAlchemyError, ValueError):
        return None
    name = (known.database or "").removeprefix("file:")
    in_memory = name in ("", ":memory:") or known.query.get("mode") == "memory"
    return None if known.get_backend_name() != "sqlite" or in_memory else Path(name)


def journal_folder(url: str) -> Path | None:
    """Where the journals of a database are: `FILE-trials` beside `FILE.db`; None where it has none."""
    file = database_file(url)
    return None if file is None else file.with_name(f"{file.name.removesuffix('.db')}-trials")


def journals(url: str) -> tuple[Path, ...]:
    """The journals that are there beside a database, by name."""
    folder = journal_folder(url)
    return () if folder is None else tuple(sorted(folder.glob(f"*{ENDING}")))


def restore_command(url: str, told: str) -> str:
    """What takes the studies of a database from its journals into a new one beside it; `told` is its URL for people."""
    file = database_file(url)
    stem = "nas" if file is None else file.name.removesuffix(".db")
    names = (f"{stem}-restored{number}.db" for number in ("", *range(2, 1000)))
    beside = (Path(name) if file is None else file.with_name(name) for name in names)
    into = next(path for path in beside if not path.exists())
    at = () if url == DEFAULT_STORAGE else ("--storage", told)
    return shlex.join(("nas", "studies", "restore", *at, "--into", str(into)))


def journal_path(folder: Path, study: str) -> Path:
    """A study's file.

    A name that every file system takes stays as it is, so that people find it. Any other is brought into such a form,
    which two names may share, and so gets a digest of the whole name; so does one whose file is another study's, as
    `Demo` and `demo` are one file on a Mac.
    """
    plain = _PLAIN.fullmatch(study) and not _RESERVED.fullmatch(study) and not study.endswith(".")
    path = folder / f"{study}{ENDING}"
    if plain and _owner(path) in (study, None):
        return path
    digest = hashlib.sha256(study.encode(errors="surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^\w.+@=-]+", "-", study, flags=re.ASCII).lstrip(".-")[:80]
    return folder / f"{readable or 'study'}-{digest}{ENDING}"


def _owner(path: Path) -> str | None:
    """The study that a journal's first line names; None where there is none."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        head = parse_line(file.readline(LONGEST_LINE))
        return head.name if isinstance(head, Head) else None
    return None


def set_aside(path: Path) -> Path | None:
    """Give a journal a number behind its name; None where there is none.

    Raises:
        OSError: it cannot be renamed.
    """
    if not path.exists():
        return None
    number = 1
    while (other := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return path.rename(other)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, empty ones left out; one that is too long is cut, and still longer than allowed.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number, kept = number + 1, line
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            if kept.strip():
                yield number, kept.rstrip(b"\r\n")


def create(path: Path, lines: Sequence[bytes]) -> bool:
    """Make a file of these lines, whole or not at all; whether it was not there yet.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(b"\n".join(lines))
        _name(temporary, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            temporary.unlink()
    return True


def _name(temporary: Path, path: Path) -> None:
    """Give a file its name, which no file may have."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)


def append(path: Path, lines: Sequence[bytes]) -> bool:
    """Write lines at a file's end in one go, each behind a line break; whether the file is there.

    Raises:
        OSError: not all of them could be written.
    """
    data = b"".join(b"\n" + line for line in lines)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return False
    try:
        left = memoryview(data)
        while left:  # a disk that fills up takes a part, and tells why at the next try
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
    return True
