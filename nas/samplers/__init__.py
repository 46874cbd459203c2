"""What to try next: cost range, candidates, the model of accuracy, and the bridge to Optuna's samplers."""
