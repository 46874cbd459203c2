"""A check for the optional packages that reading images needs."""

import importlib

from nas.errors import MissingPackageError


def require(*names: str) -> None:
    """Check that packages can be imported.

    Args:
        names: Import names, such as `datasets`.

    Raises:
        MissingPackageError: A package cannot be imported; the error names the first one.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingPackageError(
                f"the package {name} cannot be imported, and reading images needs it: {error}",
                "pip install 'hwnas[train]'",
            ) from error
