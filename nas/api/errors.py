"""Errors of packages that only some parts of `nas` need."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from nas.errors import MissingPackageError, NasError

# Import names of packages, and the extra of `hwnas` that installs each.
EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "onnx": "latency",
        "onnxruntime": "latency",
        "torch": "train",
        "kornia": "train",
        "safetensors": "pretrained",
        "huggingface_hub": "export",
    }
)


# Parts of the messages of torch, numpy and the system's loader. Their errors are of several classes.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "failed to map segment",
    "std::bad_alloc",
    "can't start new thread",
)


def missing_memory(error: BaseException) -> NasError | None:
    """Return an error that reports missing memory, or None if the error has another cause."""
    text = str(error).lower()
    if not isinstance(error, MemoryError) and not any(phrase in text for phrase in _NO_MEMORY):
        return None
    return NasError(
        "there is not enough memory for this command",
        "end other programs, raise the limit (`ulimit -v`), or give smaller images, fewer images or fewer --workers",
    )


def missing_package(error: BaseException) -> MissingPackageError | None:
    """Return an error that names the command to install a missing package, or None if no extra contains it."""
    extra = EXTRAS.get(error.name or "") if isinstance(error, ModuleNotFoundError) else None
    if extra is None or not isinstance(error, ModuleNotFoundError):
        return None
    return MissingPackageError(
        f"the package {error.name} is not installed", f"install it with `pip install 'hwnas[{extra}]'`"
    )


@contextmanager
def explain_missing() -> Iterator[None]:
    """Turn the import error of an optional package into an error with a remedy.

    Raises:
        MissingPackageError: The code inside needs a package of an extra that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        explained = missing_package(error)
        if explained is None:
            raise
        raise explained from error
