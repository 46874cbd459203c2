"""Defaults that the command line shows without loading Optuna."""

DEFAULT_STORAGE = "sqlite:///nas.db"
TRIALS = 20
EPOCHS = 3
BAND = 0.9
SAMPLER_NAMES = ("tpe", "nsga2", "nsga3", "random")
PRUNER_NAMES = ("median", "none")
