"""Names that the command line shows without loading torch."""

# Names of the metrics that a training run can be scored by; the first one is the default.
METRIC_NAMES = ("accuracy", "balanced")

# Names of the recipes that are shipped, in `nas/train/recipes/presets`.
RECIPE_NAMES = ("finetune", "fast", "efficientnet", "bag-of-tricks", "timm-a2")
