"""Names of samplers and pruners, which the command line shows without loading Optuna."""

# The project's own sampler: a Gaussian process over architectures.
SURROGATE = "surrogate"
SAMPLER_NAMES = (SURROGATE, "tpe", "nsga2", "nsga3", "evolution", "random")
PRUNER_NAMES = ("median", "halving", "hyperband", "none")
