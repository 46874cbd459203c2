"""The optional packages that reading images needs, asked for when they are needed."""

import importlib

from nas.errors import MissingPackageError


def require(*names: str) -> None:
    """Check that packages can be imported.

    Args:
        names: import names, such as `datasets`.

    Raises:
        MissingPackageError: the first one that cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingPackageError(
                f"reading images needs the package {name}, which cannot be imported: {error}",
                "pip install 'hwnas[train]'",
            ) from error
