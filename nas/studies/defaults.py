"""Defaults of storages, which the command line shows without loading Optuna."""

DEFAULT_STORAGE = "sqlite:///nas.db"
