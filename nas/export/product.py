"""The folder of an exported network: its model files, `metrics.json`, and what users need beside them."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import attrs

from nas.errors import NasError
from nas.export.card import auxiliary_files
from nas.export.product_json import METRICS_FILE, format_product, parse_product
from nas.export.records import Accuracy, Baseline, FileRecord, Latency, ModelRecord, Product, digest_images
from nas.files import open_regular, read_text, write_atomically

__all__ = [
    "METRICS_FILE",
    "Accuracy",
    "Baseline",
    "FileRecord",
    "Latency",
    "ModelRecord",
    "Product",
    "changed_files",
    "check_product_folder",
    "digest_images",
    "read_product",
    "write_product",
]

MOST_BYTES = 32 * 2**20
_PIECE = 2**20  # bytes of a file that are in memory at a time
# A process that is killed while it writes leaves a folder of this name, which is none of the user's files.
_STAGE = ".nas-export-"
_REMEDY = "give a new folder with --out, or move the other files away"


def check_product_folder(folder: Path) -> tuple[str, ...]:
    """Check that a product may be written to a folder, before any work is done for it.

    Returns:
        The names of the files of an earlier product in it, which `write_product` replaces.

    Raises:
        NasError: The path is not a folder, cannot be written to, or holds anything else than an unchanged product.
    """
    with _writing(folder):
        existing = next(path for path in (folder, *folder.resolve().parents) if os.path.lexists(path))
        if not existing.is_dir():
            raise NasError(f"{existing} is not a folder, and a product is a folder", _REMEDY)
        if not os.access(existing, os.W_OK | os.X_OK):
            raise NasError(f"folder {folder} cannot be written to: its permissions forbid it", "choose another place")
        found = [path.name for path in folder.iterdir()] if folder.exists() else []
    names = sorted(name for name in found if not name.startswith(_STAGE))
    if names:
        _check_unchanged(folder, names)
    return tuple(names)


def _check_unchanged(folder: Path, names: list[str]) -> None:
    try:
        product = read_product(folder)
    except NasError:
        shown = ", ".join(map(ascii, names[:3]))
        raise NasError(f"folder {folder} has other files, such as {shown}; none of them is replaced", _REMEDY) from None
    foreign = next((name for name in names if name not in (METRICS_FILE, *product.digests)), None)
    if foreign is not None:
        raise NasError(f"folder {folder} has a file {foreign!a} that is not part of the product in it", _REMEDY)
    changed = {name: why for name, why in changed_files(product, folder).items() if name in names}
    for name, why in changed.items():
        raise NasError(f"{name} in folder {folder} {why}, and it is not replaced", _REMEDY)


def write_product(product: Product, files: Mapping[str, bytes], folder: Path) -> Product:
    """Write the folder of a product; an unchanged earlier product in it is replaced.

    Args:
        product: What is known about the network. Each of its models is in `files`.
        files: Model files by their names in the folder.
        folder: Folder, which is made if there is none.

    Returns:
        The product as it is written, with the digests of all files.

    Raises:
        NasError: The folder holds anything else, or cannot be written to, or a value of the product breaks a rule.
        MissingPackageError: The package huggingface-hub is not installed.
    """
    earlier = check_product_folder(folder)
    # Reading checks every value.
    checked = parse_product(format_product(attrs.evolve(product, files=())))
    _check_models(checked, files)
    others = auxiliary_files(checked)
    records = tuple(FileRecord(name, _digest(data), len(data)) for name, data in others.items())
    written = attrs.evolve(checked, files=records)
    text = format_product(written)
    # The metrics come first: whatever a killed process leaves then is a part of the product that they describe.
    _replace_all({METRICS_FILE: text.encode(), **files, **others}, earlier, folder)
    return written


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_models(product: Product, files: Mapping[str, bytes]) -> None:
    stated = {model.file: (model.sha256, model.size_bytes) for model in product.models}
    given = {name: (_digest(data), len(data)) for name, data in files.items()}
    if stated != given:
        names = sorted(name for name in {*stated, *given} if stated.get(name) != given.get(name))
        raise NasError(f"the records of {', '.join(names)} do not fit the files", "give each file its own record")


def _replace_all(files: Mapping[str, bytes], earlier: Sequence[str], folder: Path) -> None:
    """Write all files, or none of them if the disk is full."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_STAGE}*"):
            shutil.rmtree(left, ignore_errors=True)
        stage = Path(mkdtemp(prefix=_STAGE, dir=folder))
        try:
            for name, data in files.items():
                write_atomically(stage / name, data)
            for name in sorted(earlier, key=lambda name: name == METRICS_FILE):
                (folder / name).unlink()
            for name in files:
                (stage / name).rename(folder / name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Report errors of the file system as one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError reports a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise NasError(f"folder {folder} cannot be written to: {reason}", "choose another place") from None


def read_product(folder: Path) -> Product:
    """Return the product of a folder from its `metrics.json`; the digests of its files are not checked.

    Raises:
        NasError: The file is missing, a link, too large, of another format or damaged.
    """
    path = folder / METRICS_FILE
    remedy = "give the complete folder that `nas export` wrote"
    try:
        _check_no_link(path)
        return parse_product(read_text(path, MOST_BYTES))
    except (OSError, ValueError) as error:
        raise NasError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", remedy) from None
    except NasError as error:
        raise NasError(f"{path} is not the description of a product: {error.problem}", remedy) from None


def changed_files(product: Product, folder: Path) -> Mapping[str, str]:
    """Return the files of a product that are missing or changed, each with the end of a sentence that says so."""
    found = {name: _difference(folder / name, digest) for name, digest in product.digests.items()}
    return {name: why for name, why in found.items() if why}


def _difference(path: Path, digest: str) -> str:
    found = hashlib.sha256()
    try:
        _check_no_link(path)
        with open_regular(path) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if found.hexdigest() == digest else "was changed after it was written"


def _check_no_link(path: Path) -> None:
    """Raise an OSError for a symbolic link, through which a folder from elsewhere would show any file of the reader."""
    if path.is_symlink():
        raise OSError("it is a symbolic link, and a product holds its files themselves; copy it with `cp -rL`")
