"""The package's version, where everything inside can read it."""

__version__ = "0.1.0"
