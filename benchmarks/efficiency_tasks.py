"""Tasks for comparing samplers: NAS-Bench-Macro with recorded accuracies, and larger spaces with synthetic ones."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.cost.target import parse_target
from nas.evaluate.base import Evaluator, HasMetadata
from nas.evaluate.table.evaluator import TableEvaluator, read_table
from nas.objective import limits
from nas.samplers.cost_range import ChoiceIndices, CostRange, make_cost_range
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.space.inverse import Inverse

Floats = NDArray[np.float64]


class Task(Protocol):
    """A search problem whose true accuracies are known."""

    @property
    def name(self) -> str:
        """Return the name in reports."""
        ...

    @property
    def space(self) -> SearchSpace:
        """Return the search space."""
        ...

    @property
    def target(self) -> str:
        """Return the target as it is written on the command line."""
        ...

    @property
    def band(self) -> float:
        """Return the lower bound of the cost range, as a share of the target."""
        ...

    @property
    def best(self) -> float:
        """Return the best true accuracy of a network that meets the target, in percent."""
        ...

    @property
    def ranks(self) -> Floats:
        """Return the true accuracies of networks that meet the target, the best first; empty if too many."""
        ...

    def evaluator(self, run: int) -> Evaluator:
        """Return the evaluator that a search uses."""
        ...

    def truth(self, arch: Architecture) -> float:
        """Return the accuracy without noise, in percent."""
        ...


def settings(task: Task, **given: Any) -> Settings:
    """Return the settings of a search; below the target only accuracy counts, as in published comparisons."""
    usual: dict[str, Any] = {"epochs": 1, "pruner": "none", "band": task.band, "objective": "hard"}
    return Settings([parse_target(task.target)], **(usual | given))


def feasible(task: Task, arch: Architecture) -> bool:
    """Return whether an architecture meets the target."""
    return MACS.estimate(arch).value <= parse_target(task.target).limit


@frozen(eq=False)
class Macro:
    """NAS-Bench-Macro under a limit of FLOPs: a search uses seed 0, and the truth is the mean of all seeds."""

    limit: str
    table: TableEvaluator = field(repr=False)
    space: SearchSpace = field(factory=lambda: find_space("nasbench_macro"), repr=False)

    @property
    def name(self) -> str:
        """See `Task`."""
        return f"NAS-Bench-Macro, {self.limit or 'no limit'}"

    @property
    def target(self) -> str:
        """See `Task`."""
        return f"flops={self.limit or '1G'}"

    @property
    def band(self) -> float:
        """See `Task`; 0 if there is no limit."""
        return 0.9 if self.limit else 0.0

    @cached_property
    def ranks(self) -> Floats:
        """See `Task`."""
        inside = [self.truth(arch) for arch in self.table.architectures() if feasible(self, arch)]
        return np.sort(np.array(inside))[::-1]

    @property
    def best(self) -> float:
        """See `Task`."""
        return float(self.ranks[0])

    def evaluator(self, run: int) -> Evaluator:  # noqa: ARG002 -- the same for all runs
        """See `Task`."""
        return UnrestrictedTable(self.table)

    def truth(self, arch: Architecture) -> float:
        """See `Task`."""
        return 100 * float(self.table.metadata(arch)["accuracy_mean"])


@frozen(eq=False)
class UnrestrictedTable:
    """Evaluate with a table of the whole space, without the interface that restricts samplers to its networks."""

    table: TableEvaluator

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """See `Evaluator`."""
        return self.table.evaluate(arch, budget)

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return self.table.describe()


def macro_tasks(names: Sequence[str]) -> list[Macro]:
    """Return a task for each limit of FLOPs; "" is no limit."""
    path = Path(os.environ["NAS_TEST_DATA"]) / "nasbench_macro.parquet"
    table = read_table(path, find_space("nasbench_macro"), "acc_seed0", ("op*",))
    assert isinstance(table, HasMetadata)
    return [Macro(limit, table) for limit in names]


# Shares of the variance in the cost range: single choices, pairs, triples, and the logarithm of the multiply-adds.
SHARES = {"single": 0.55, "pairs": 0.25, "triples": 0.1, "macs": 0.1}


@frozen(eq=False)
class SyntheticTask:
    """A synthetic accuracy: effects of single choices, interactions of two and three choices, size, and noise.

    It is computed from choice indices only, and not from the inputs of the model of accuracy. Some choices matter much
    more than others, because the variances of their effects are drawn from a gamma distribution. There are as many
    triples, and twice as many pairs, as choices. Error rates are log-normal; in the middle of the cost range they are
    10% with a standard deviation of 1.5 points.
    """

    of: str
    limit: str
    seed: int
    noise: float = 0.3
    band: float = 0.9
    space: SearchSpace = field(init=False, repr=False)
    inverse: Inverse = field(init=False, repr=False)
    parts: Mapping[str, list[tuple[tuple[int, ...], Floats]]] = field(init=False, repr=False)
    middle: Mapping[str, tuple[float, float]] = field(init=False, repr=False)
    best: float = field(init=False)

    @space.default
    def _space(self) -> SearchSpace:
        return find_space(self.of)

    @inverse.default
    def _inverse(self) -> Inverse:
        return Inverse(self.space)

    @parts.default
    def _parts(self) -> Mapping[str, list[tuple[tuple[int, ...], Floats]]]:
        rng = np.random.default_rng([self.seed, 7])
        sizes = [len(choice.values) for choice in self.space.all_choices]
        count = len(sizes)
        scales = np.sqrt(rng.gamma(0.7, 1, count))

        def effect(places: tuple[int, ...], scale: float = 1.0) -> tuple[tuple[int, ...], Floats]:
            return places, rng.normal(0, scale, [sizes[i] for i in places])

        pairs = [tuple(rng.choice(count, 2, replace=False).tolist()) for _ in range(2 * count)]
        triples = [tuple(rng.choice(count, 3, replace=False).tolist()) for _ in range(count)]
        return {
            "single": [effect((i,), float(scales[i])) for i in range(count)],
            "pairs": [effect(places) for places in pairs],
            "triples": [effect(places) for places in triples],
        }

    @middle.default
    def _middle(self) -> Mapping[str, tuple[float, float]]:
        networks = self.inside(np.random.default_rng([self.seed, 1]), 3000)
        return {name: (float(v.mean()), float(v.std())) for name, v in ((n, self._part(n, networks)) for n in SHARES)}

    @best.default
    def _best(self) -> float:
        """Return the best accuracy that a long local search without noise finds from 60 networks of the cost range."""
        rng = np.random.default_rng([self.seed, 2])
        found = self.inside(rng, 60)
        accuracies = self.many(found)
        for _ in range(3000):
            changed = found.copy()
            for _ in range(int(rng.integers(1, 4))):
                at = rng.integers(found.shape[1], size=len(found))
                changed[np.arange(len(found)), at] = self.space.sample(rng, len(found))[np.arange(len(found)), at]
            better = (self.many(changed) > accuracies) & (self.cost_range.excess(changed) == 0)
            found[better] = changed[better]
            accuracies = self.many(found)
        return max(self.truth(self.space.from_indices(indices.tolist())) for indices in found)

    @property
    def name(self) -> str:
        """See `Task`."""
        return f"made-up accuracy {self.seed} over {self.of}, {self.limit}"

    @property
    def target(self) -> str:
        """See `Task`."""
        return f"flops={self.limit}"

    @property
    def ranks(self) -> Floats:
        """See `Task`; there are too many networks to rank."""
        return np.zeros(0)

    @cached_property
    def cost_range(self) -> CostRange:
        """Return the cost range."""
        targets = [parse_target(self.target)]
        return make_cost_range(self.space, targets, limits(targets, band=self.band, objective="hard"))

    def inside(self, rng: np.random.Generator, count: int) -> ChoiceIndices:
        """Return choice indices of random networks of the cost range."""
        found: list[ChoiceIndices] = []
        while sum(map(len, found)) < count:
            networks = self.space.sample(rng, 5000)
            found.append(networks[self.cost_range.excess(networks) == 0])
        return np.concatenate(found)[:count]

    def many(self, indices: ChoiceIndices) -> Floats:
        """Return accuracies without noise, in percent, of choice indices `(N, choices)`."""
        total = np.zeros(len(indices))
        for name, share in SHARES.items():
            mean, spread = self.middle[name]
            total += np.sqrt(share) * (self._part(name, indices) - mean) / spread
        return np.asarray(100 - 10 * np.exp(-0.15 * total))

    def _part(self, name: str, indices: ChoiceIndices) -> Floats:
        if name == "macs":
            return np.log(MACS.many(self.cost_range.chain, self.space.forms(indices)))
        return np.asarray(sum(table[tuple(indices[:, list(places)].T)] for places, table in self.parts[name]))

    def truth(self, arch: Architecture) -> float:
        """See `Task`; equal networks have the same accuracy, whatever choices make them."""
        indices = self.inverse.indices(arch)
        assert indices is not None
        return float(self.many(np.array([indices]))[0])

    def evaluator(self, run: int) -> Evaluator:
        """See `Task`; the noise is different in every run."""
        return NoisyEvaluator(self, run)


@frozen(eq=False)
class NoisyEvaluator:
    """Evaluate with the true accuracy and noise, which is always the same for the same network."""

    task: SyntheticTask
    run: int

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there is one accuracy
        """See `Evaluator`."""
        digest = hashlib.sha256(format_text(canonical(arch)).encode()).digest()
        rng = np.random.default_rng([self.run, *digest[:8]])
        yield float(np.clip(self.task.truth(arch) + self.task.noise * rng.standard_normal(), 0, 100) / 100)

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return {"evaluator": "made up", "of": self.task.name, "run": self.run}
