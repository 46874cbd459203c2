"""Samplers and pruners of Optuna, by the names that the command line accepts."""

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType

import optuna
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from nas.errors import StudyError
from nas.samplers.defaults import SURROGATE
from nas.samplers.evolution import RegularizedEvolutionSampler

# Small, so that even a default search of 20 trials has a second generation.
POPULATION = 8
SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = MappingProxyType(
    {
        "tpe": lambda seed: TPESampler(seed=seed),
        "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=POPULATION),
        "nsga3": lambda seed: NSGAIIISampler(seed=seed, population_size=POPULATION),
        "evolution": lambda seed: RegularizedEvolutionSampler(seed=seed),
        "random": lambda seed: RandomSampler(seed=seed),
    }
)
# Prefix of the name of a class in `optuna.samplers`.
OPTUNA = "optuna:"
PRUNERS: Mapping[str, Callable[[int], optuna.pruners.BasePruner]] = MappingProxyType(
    {
        # The first half of a one-cycle schedule says little about its end.
        "median": lambda epochs: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 2 + 1),
        # Half of the trials continue at each rung (arXiv 1810.05934).
        "halving": lambda epochs: optuna.pruners.SuccessiveHalvingPruner(_first_rung(epochs), reduction_factor=2),
        # Brackets that start to halve at the first rung, at the second, and so on (arXiv 1603.06560).
        "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(_first_rung(epochs), epochs, reduction_factor=2),
        "none": lambda _epochs: optuna.pruners.NopPruner(),
    }
)


def _first_rung(epochs: int) -> int:
    """Return the epoch after which trials are first compared: a quarter of all epochs, and at least one."""
    return max(1, epochs // 4)


def find_sampler(name: str) -> Callable[[int], BaseSampler]:
    """Return a function that builds a sampler from a seed.

    Raises:
        StudyError: The name is unknown, or the sampler needs more than a seed.
    """
    if name in SAMPLERS:
        return lambda seed: _quietly(SAMPLERS[name], seed)
    if not name.startswith(OPTUNA):
        names = ", ".join([SURROGATE, *SAMPLERS])
        raise StudyError(
            f"unknown sampler {name!r}", f"use one of {names}, or {OPTUNA}CLASS for a class of optuna.samplers"
        )
    return _by_class(name.removeprefix(OPTUNA))


def _by_class(name: str) -> Callable[[int], BaseSampler]:
    known = [each for each in optuna.samplers.__all__ if each.endswith("Sampler") and not each.startswith("Base")]
    if name not in known:
        raise StudyError(f"Optuna has no sampler {name!r}", f"it has {', '.join(known)}")
    made = getattr(optuna.samplers, name)
    try:
        _quietly(lambda seed: made(seed=seed), 0)
    except (TypeError, ImportError) as error:
        raise StudyError(
            f"{OPTUNA}{name} cannot be built from a seed alone: {error}", "choose another sampler"
        ) from None
    return lambda seed: _quietly(lambda seed: made(seed=seed), seed)


def _quietly(make: Callable[[int], BaseSampler], seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        # Some samplers are experimental and would warn at every suggestion.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make(seed)


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Return a pruner by name, for trials of so many epochs.

    Raises:
        StudyError: The name is unknown.
    """
    if name not in PRUNERS:
        raise StudyError(f"unknown pruner {name!r}", f"use one of {', '.join(PRUNERS)}")
    return PRUNERS[name](epochs)
