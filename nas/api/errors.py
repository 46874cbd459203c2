"""Errors of packages that only some parts of `nas` need."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from nas.errors import MissingPackageError

# Import names of packages, and the extra of `hwnas` that installs each.
EXTRAS: Mapping[str, str] = MappingProxyType({"onnx": "latency", "onnxruntime": "latency", "torch": "train"})


def missing_package(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Return an error that names the command to install a missing package, or None if no extra contains it."""
    extra = EXTRAS.get(error.name or "")
    if extra is None:
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
