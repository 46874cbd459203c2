"""Kinds of files that commands write: the endings of their names, and how an existing file of a kind is recognized.

A file of another kind is never overwritten: a path that was mistyped must not destroy a database.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from nas.errors import ArchitectureError, NasError, SpaceError
from nas.files import irregular_form, open_regular, standard_stream, write_atomically

HEAD_BYTES = 4096  # of an existing file, which are enough to recognize it


@frozen
class OutputKind:
    """Describe a kind of files.

    Attributes:
        name: Name of a file of the kind for messages, such as "a PNG image".
        endings: Endings of the names of the files.
        recognizes: Function that returns whether a file that begins with these bytes is of the kind.
        error: Class of the error for a path that cannot be written to.
    """

    name: str
    endings: tuple[str, ...]
    recognizes: Callable[[bytes], bool]
    error: type[NasError] = NasError


def _matcher(pattern: bytes) -> Callable[[bytes], bool]:
    expression = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda head: expression.match(head) is not None


_TEXT = rb"(?:\xef\xbb\xbf)?(?:\s|#[^\n]*\n)*"  # an optional byte-order mark, empty lines and comments
TRIALS = OutputKind("a table of trials", (".csv",), _matcher(rb"trial,state,"))
LATENCIES = OutputKind("a latency table", (".csv",), _matcher(rb"# format: nas-latency-table/"))
PAGE = OutputKind("an HTML page", (".html", ".htm"), _matcher(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype html|<html)"))
COMPARISON = OutputKind("a table of compared networks", (".csv",), _matcher(rb"network,origin,"))
PICTURE = OutputKind("a PNG image", (".png",), _matcher(rb"\x89PNG\r\n\x1a\n"))
DRAWING = OutputKind("an SVG drawing", (".svg",), _matcher(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<svg[\s>]"))
ARCHITECTURE = OutputKind(
    "an architecture",
    (".txt", ".json"),
    _matcher(_TEXT + rb'(?:net\s|\{.*"nas-architecture/)'),
    ArchitectureError,
)
# Both keys begin a line of every search space, in any order.
SPACE = OutputKind("a search space", (".yaml", ".yml"), _matcher(rb"(?=(?:.*\n)?net:)(?=(?:.*\n)?stem:)"), SpaceError)
# The first fields of a protocol buffer are the version of the format and the name of the program that wrote it.
NETWORK = OutputKind("an ONNX file that nas wrote", (".onnx",), _matcher(rb"\x08.\x12\x03nas"))
# A safetensors file begins with the length of its header, eight bytes, and the header, a JSON object.
WEIGHTS = OutputKind("a safetensors file", (".safetensors",), _matcher(rb".{6}\x00\x00\{"))
EVALUATION = OutputKind("an evaluation of a network", (".json",), _matcher(rb'\{\s*"format": "nas-evaluation/'))
_OTHERS = (OutputKind("a SQLite database", (), _matcher(rb"SQLite format 3\x00")),)
_KNOWN = (
    *(TRIALS, LATENCIES, COMPARISON, PAGE, PICTURE, DRAWING, ARCHITECTURE, SPACE, NETWORK, WEIGHTS, EVALUATION),
    *_OTHERS,
)


def check_output(path: Path, kind: OutputKind, *, makes_folder: bool = False) -> None:
    """Check that a file of a kind may be written to a path, before any work is done for it.

    `/dev/stdout` and `/dev/stderr` may be written to. A folder, a pipe, a socket and a device are not, and are not even
    opened.

    Args:
        path: Path of the file.
        kind: Kind of the file.
        makes_folder: Whether the folder of the file is made when it is missing.

    Raises:
        NasError: The name has another ending, the folder cannot be written to, the path is no regular file, or it is an
            existing file of another kind. An empty file is of every kind.
    """
    remedy = "choose another place"
    try:
        if standard_stream(path) is not None:
            return
        if form := irregular_form(path):
            raise kind.error(f"{path} is {form}, and {kind.name} is a regular file", "give the name of a file")
        if path.suffix.lower() not in kind.endings:
            raise kind.error(f"{path} has no known form", f"end the name in {' or '.join(kind.endings)}")
        if path.exists():
            with open_regular(path) as file:
                _check_head(path, file.read(HEAD_BYTES), kind)
        elif not makes_folder and not path.resolve().parent.is_dir():
            raise kind.error(f"{path} cannot be written: there is no folder {path.parent}", "make the folder first")
        elif not os.access(_existing_folder(path), os.W_OK | os.X_OK):
            raise kind.error(f"{path} cannot be written: its folder is protected against writing", remedy)
    except (OSError, ValueError) as error:  # A ValueError reports a null character in the path.
        raise kind.error(f"{path} cannot be written: {getattr(error, 'strerror', '') or error}", remedy) from None


def _check_head(path: Path, head: bytes, kind: OutputKind) -> None:
    if not head or kind.recognizes(head):
        return
    found = next((known.name for known in _KNOWN if known.recognizes(head)), "something else")
    raise kind.error(
        f"{path} holds {found} and not {kind.name}; a file of another kind is not overwritten",
        "choose another name, or remove the file first if nobody needs it",
    )


def _existing_folder(path: Path) -> Path:
    return next((folder for folder in path.resolve().parents if folder.exists()), Path())


def write_output(path: Path, data: bytes, kind: OutputKind) -> None:
    """Write a file of a kind; an existing file is replaced as a whole, if it is of the same kind.

    Raises:
        NasError: A file of this kind may not be written to this path, or the disk is full.
    """
    check_output(path, kind)
    write_atomically(path, data)
