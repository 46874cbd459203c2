"""Defaults of a search, which the command line shows without loading Optuna."""

TRIALS = 20
EPOCHS = 3
BAND = 0.9
CONFIRM = 3
SCREENED = 100
RETRIES = 3
KEEP_WEIGHTS = 3
COST_TIMEOUT_S = 600.0
