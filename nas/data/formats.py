"""Which files are images that can be decoded: by their names where these are usual, and else by their content."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import attrs

from nas.data.names import printable
from nas.errors import DataError

NO_IMAGE = ""
# Formats that Pillow recognizes although it cannot decode them, or only with a program or a library that can be absent.
_NOT_DECODED = frozenset({"AVIF", "BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MCIDAS", "MPEG", "WMF"})
_LONGEST_MARK = 16
# The first bytes of the usual formats that Pillow decodes: JPEG, PNG, GIF, BMP, TIFF, WebP, JPEG 2000 (a file, a bare
# stream), PPM and its relatives, Photoshop, DDS and QOI.
_DECODED = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|\0{3}\x0cjP  \r\n\x87\n|"
    rb"\xffO\xffQ|P[1-6][\s#]|8BPS\0\x01|DDS |qoif",
    re.DOTALL,
)
# Formats that phones write and that Pillow does not decode, or not with every installation.
_OTHERS: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
        "HEIC": re.compile(rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL),
        "JPEG XL": re.compile(rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n"),
    }
)


@attrs.frozen
class Sorted:
    """Hold the files of a folder by what they are.

    Attributes:
        pictures: Images, as far as their names or their first bytes show.
        others: Files that cannot be decoded as images, each with its format, or `NO_IMAGE` if it is no known image.
    """

    pictures: tuple[Path, ...]
    others: Mapping[Path, str]


def sort_files(root: Path, files: Iterable[Path]) -> Sorted:
    """Return which files are images; only files without a usual ending are opened, and none is decoded.

    Args:
        root: Folder that the paths start from.
        files: Regular files below it.

    Raises:
        DataError: A file without a usual ending cannot be read.
    """
    pictures, others = [], {}
    for path in files:
        unreadable = None if has_image_name(path) else _unreadable_format(root / path)
        if unreadable is None:
            pictures.append(path)
        else:
            others[path] = unreadable
    return Sorted(tuple(pictures), others)


def has_image_name(path: Path) -> bool:
    """Return whether a file's name ends as those of images do that Pillow always decodes."""
    return path.suffix.lower() in _image_suffixes()


@cache
def _image_suffixes() -> frozenset[str]:
    from PIL import Image

    decoded = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in decoded if name in Image.OPEN and name not in _NOT_DECODED)


def _unreadable_format(path: Path) -> str | None:
    """Return None if a file's first bytes are those of an image that Pillow decodes, or else its format."""
    from PIL import features

    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_MARK)
    except OSError as error:
        raise DataError(
            f"the file {printable(path)} cannot be read: {error.strerror}; every file must be readable",
            "restore its read permission, or move it elsewhere",
        ) from None
    other = next((name for name, mark in _OTHERS.items() if mark.match(start)), NO_IMAGE)
    decoded = _DECODED.match(start) or (other == "AVIF" and features.check("avif"))
    return None if decoded else other
