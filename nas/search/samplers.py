"""Samplers by name."""

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType

import optuna
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from nas.errors import StudyError

# Small, so that even a default search of 20 trials has a second generation.
POPULATION = 8
SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = MappingProxyType(
    {
        "tpe": lambda seed: TPESampler(seed=seed),
        "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=POPULATION),
        "nsga3": lambda seed: NSGAIIISampler(seed=seed, population_size=POPULATION),
        "random": lambda seed: RandomSampler(seed=seed),
    }
)
PRUNERS: Mapping[str, Callable[[int], optuna.pruners.BasePruner]] = MappingProxyType(
    {
        # The first half of a one-cycle schedule says little about its end.
        "median": lambda epochs: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 2 + 1),
        "none": lambda _epochs: optuna.pruners.NopPruner(),
    }
)


def make_sampler(name: str, seed: int) -> BaseSampler:
    """A sampler by name.

    Raises:
        StudyError: no such name.
    """
    if name not in SAMPLERS:
        raise StudyError(f"unknown sampler {name!r}", f"use one of {', '.join(SAMPLERS)}")
    with warnings.catch_warnings():
        # NSGA-III is called experimental, once for every proposal.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed)


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """A pruner by name, for trials of `epochs` epochs.

    Raises:
        StudyError: no such name.
    """
    if name not in PRUNERS:
        raise StudyError(f"unknown pruner {name!r}", f"use one of {', '.join(PRUNERS)}")
    return PRUNERS[name](epochs)
