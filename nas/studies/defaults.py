"""Defaults of storages, in a module of their own so that the command line shows them without loading Optuna."""

DEFAULT_STORAGE = "sqlite:///nas.db"
