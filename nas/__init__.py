"""Hardware-aware neural architecture search."""

from nas.version import __version__

__all__ = ["__version__"]
