"""Defaults that the command line shows without loading Optuna."""

DEFAULT_STORAGE = "sqlite:///nas.db"
TRIALS = 20
EPOCHS = 3
BAND = 0.9
CONFIRM = 3
SCREENED = 100
RETRIES = 3
# The sampler made for this problem.
SURROGATE = "surrogate"
SAMPLER_NAMES = (SURROGATE, "tpe", "nsga2", "nsga3", "evolution", "random")
PRUNER_NAMES = ("median", "halving", "hyperband", "none")
