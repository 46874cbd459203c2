"""Samplers of SMAC3 and BoTorch behind the interface of the project's samplers, for comparisons only.

Both libraries are optional and are imported when a sampler is made. Their samplers maximize the acquisition function
inside the cost range only, because costs are exact and free; `nas.samplers.filtered` rejects all other suggestions.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from nas.errors import MissingPackageError
from nas.samplers.base import Sampler, Suggestion
from nas.samplers.candidates import distinct, make_candidates
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.history import TrialHistory

Floats = NDArray[np.float64]
# Every sampler starts from the same random networks of the cost range, as many as the samplers of Optuna take.
FIRST = 10
PARENTS, STARTS, STEPS = 10, 5, 100


@define(eq=False)
class BoTorchSampler:
    """Suggests with a Gaussian process with BoTorch's kernel for categories, and its log expected improvement.

    The inputs are the choice indices, all of them categories with a length scale of their own. Outcomes are
    standardized; everything else is as `MixedSingleTaskGP` and `fit_gpytorch_mll` do it. The improvement is over the
    best posterior mean, because accuracies are noisy. It is maximized over the candidates of the project's own sampler,
    and then by steepest ascent over single changes inside the cost range from the best of them.

    Attributes:
        cost_range: Costs that are accepted.
        listing: Choice indices of all architectures inside the cost range, where they can be listed.
    """

    cost_range: CostRange
    listing: ChoiceIndices | None
    _history: TrialHistory = field(init=False)

    @_history.default
    def _empty_history(self) -> TrialHistory:
        return TrialHistory(self.cost_range.space)

    def learn(self, trial: FrozenTrial) -> None:
        """See `Sampler`."""
        self._history.add(trial)

    def forget(self, number: int) -> None:
        """See `Sampler`."""
        self._history.forget(number)

    def outlook(self) -> None:
        """See `Sampler`; nothing is said of what is still to be expected."""

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """See `Sampler`; random suggestions follow the ranked candidates."""
        history = self._history.history()
        if history.measured.sum() >= FIRST:
            ranked = self._ranked(history.indices[history.measured], history.accuracies[history.measured], rng)
            yield from map(Suggestion, ranked)
        yield from random_suggestions(self.cost_range, rng)

    def _ranked(self, indices: ChoiceIndices, accuracies: Floats, rng: np.random.Generator) -> ChoiceIndices:
        """Return candidates, the one with the largest acquisition first."""
        acquisition, means = fit(self._inputs(indices), accuracies)
        parents = indices[np.argsort(-means, kind="stable")[:PARENTS]]
        found = make_candidates(self.cost_range, parents, self.listing, rng)
        values = acquisition(self._inputs(found))
        order = np.argsort(-values, kind="stable")
        if self.listing is not None:
            return np.asarray(found[order])
        ends = [self._climbed(found[i], values[i], acquisition) for i in order[:STARTS]]
        best_first = sorted(ends, key=lambda end: -end[1])
        return distinct(np.concatenate([np.array([end for end, _ in best_first]), found[order]]))

    def _climbed(
        self, start: ChoiceIndices, value: float, acquisition: Callable[[Floats], Floats]
    ) -> tuple[ChoiceIndices, float]:
        """Return the end of steepest ascent on the acquisition function inside the cost range, and its value."""
        for _ in range(STEPS):
            around = self.cost_range.neighbours(start)
            around = around[self.cost_range.excess(around) == 0]
            values = acquisition(self._inputs(around)) if len(around) else np.zeros(0)
            if not len(values) or values.max() <= value:
                break
            start, value = around[values.argmax()], float(values.max())
        return start, value

    def _inputs(self, indices: ChoiceIndices) -> Floats:
        """Return the choice indices of the choices with several options, as numbers."""
        several = [len(choice.values) > 1 for choice in self.cost_range.space.all_choices]
        return indices[:, several].astype(float)


def fit(inputs: Floats, accuracies: Floats) -> tuple[Callable[[Floats], Floats], Floats]:
    """Fit BoTorch's Gaussian process; return its log expected improvement, and its means at the inputs."""
    import torch
    from botorch.acquisition import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(len(accuracies))
    known, outcomes = torch.from_numpy(inputs), torch.from_numpy(accuracies)[:, None]
    categories = list(range(inputs.shape[1]))
    model = MixedSingleTaskGP(known, outcomes, categories, outcome_transform=Standardize(m=1))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    with torch.no_grad():
        means = model.posterior(known).mean[:, 0]
    improvement = LogExpectedImprovement(model, best_f=means.max())

    def acquisition(networks: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(improvement(torch.from_numpy(networks)[:, None]).numpy())

    return acquisition, np.asarray(means.numpy())


@define(eq=False)
class SmacSampler:
    """Suggests with SMAC3: a random forest, expected improvement of the log error, and SMAC3's own local search.

    Everything is as in the facade for hyperparameters, with two exceptions: the forest is trained before each
    suggestion and not before every eighth, and the initial design is the caller's. Outside the cost range the
    acquisition function is the negative distance to it, so that SMAC3's local search walks into the range and stays.

    Attributes:
        cost_range: Costs that are accepted.
        seed: Seed of SMAC3.
    """

    cost_range: CostRange
    seed: int
    _told: set[int] = field(factory=set, init=False)
    _facade: Any = field(init=False)
    _selector: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._facade, self._selector = make_facade(self.cost_range, self.seed)

    def learn(self, trial: FrozenTrial) -> None:
        """See `Sampler`; SMAC3 minimizes the error rate."""
        from ConfigSpace import Configuration
        from smac.runhistory.dataclasses import TrialInfo, TrialValue

        if trial.values is None or trial.number in self._told:
            return
        self._told.add(trial.number)
        indices = self.cost_range.space.indices(trial.params)
        values = {
            name_of(i): index for i, index in enumerate(indices) if name_of(i) in self._facade.scenario.configspace
        }
        configuration = Configuration(self._facade.scenario.configspace, values=values)
        self._facade.tell(TrialInfo(configuration, seed=0), TrialValue(cost=1 - trial.values[0]), save=False)

    def forget(self, number: int) -> None:
        """See `Sampler`; SMAC3 reads no running trials here."""

    def outlook(self) -> None:
        """See `Sampler`; nothing is said of what is still to be expected."""

    def suggestions(self, rng: np.random.Generator) -> Iterator[Suggestion]:
        """See `Sampler`."""
        if len(self._told) < FIRST:
            yield from random_suggestions(self.cost_range, rng)
        for configuration in in_one_thread(iter(self._selector)):
            yield Suggestion(to_indices(self.cost_range, configuration.get_array()[None])[0])


def in_one_thread(items: Iterator[Any]) -> Iterator[Any]:
    """Yield items that are computed without the threads of joblib, which cost more than they save in a small forest."""
    from joblib import parallel_config

    while True:
        with parallel_config(backend="sequential"):
            item = next(items)
        yield item


def make_facade(cost_range: CostRange, seed: int) -> tuple[Any, Any]:
    """Return SMAC3's facade for hyperparameters, and its selector of configurations."""
    from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.acquisition.function import EI

    class InsideRange(EI):  # type: ignore[misc]  # the library may be missing, and then its classes have no type
        def _compute(self, X: Floats) -> Floats:  # noqa: N803 -- the name is the library's
            excess = cost_range.excess(to_indices(cost_range, X))[:, None]
            return np.where(excess > 0, -excess, super()._compute(X))

    choices = cost_range.space.all_choices
    names = {name_of(i): range(len(choice.values)) for i, choice in enumerate(choices) if len(choice.values) > 1}
    space = ConfigurationSpace(seed=seed)
    space.add(CategoricalHyperparameter(name, list(options)) for name, options in names.items())
    # SMAC3 writes its settings into a folder; later it writes nothing, because `learn` saves nothing.
    with tempfile.TemporaryDirectory(prefix="smac") as folder:
        facade = HyperparameterOptimizationFacade
        scenario = Scenario(space, deterministic=True, n_trials=10_000, seed=seed, output_directory=Path(folder))
        selector = facade.get_config_selector(scenario, retrain_after=1)
        made = facade(
            scenario,
            lambda _configuration, seed=0: float(seed),  # SMAC3 needs a function, which it does not call here
            initial_design=facade.get_initial_design(scenario, n_configs=0),
            acquisition_function=InsideRange(log=True),
            config_selector=selector,
            logging_level=40,
            overwrite=True,
        )
    return made, selector


def name_of(choice: int) -> str:
    """Return the name of a choice in SMAC3; it sorts as the choices are ordered."""
    return f"choice{choice:03}"


def to_indices(cost_range: CostRange, array: Floats) -> ChoiceIndices:
    """Return choice indices `(N, choices)` of SMAC3's arrays, which have no column for choices of a single option."""
    several = [len(choice.values) > 1 for choice in cost_range.space.all_choices]
    indices = np.zeros((len(array), len(several)), dtype=np.intp)
    indices[:, several] = array.astype(np.intp)
    return indices


def random_suggestions(cost_range: CostRange, rng: np.random.Generator) -> Iterator[Suggestion]:
    """Yield random networks of the cost range without end."""
    while True:
        networks = cost_range.space.sample(rng, 500)
        yield from map(Suggestion, networks[cost_range.excess(networks) == 0])


@frozen
class Library:
    """An optional library: its name, the package that is imported, and a function that makes its sampler.

    Attributes:
        name: Name of the library.
        package: Package that is imported.
        make: Function that makes the sampler for a cost range, a listing of it if there is one, and a seed.
    """

    name: str
    package: str
    make: Callable[[CostRange, ChoiceIndices | None, int], Sampler]

    def check(self) -> None:
        """Check that the library is installed.

        Raises:
            MissingPackageError: It is not.
        """
        if find_spec(self.package) is None:
            raise MissingPackageError(
                f"{self.name} is not installed, and this sampler needs it",
                "run `pip install -r benchmarks/other_samplers.txt` in an environment of its own",
            )


LIBRARIES: Mapping[str, Library] = MappingProxyType(
    {
        "botorch": Library(
            "BoTorch", "botorch", lambda cost_range, listing, _seed: BoTorchSampler(cost_range, listing)
        ),
        "smac": Library("SMAC3", "smac", lambda cost_range, _listing, seed: SmacSampler(cost_range, seed)),
    }
)
