"""What the samplers are tried on: NAS-Bench-Macro as it was trained, and made-up accuracies over larger spaces."""

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
from nas.samplers.cost_range import CostRange, Picks, make_cost_range
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.space.inverse import Inverse

Floats = NDArray[np.float64]


class Task(Protocol):
    """A search problem whose truth is known."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        ...

    @property
    def target(self) -> str:
        """As on the command line."""
        ...

    @property
    def band(self) -> float:
        """Share of the target below which nothing is let in."""
        ...

    @property
    def best(self) -> float:
        """The best truth that meets the target, in percent."""
        ...

    @property
    def ranks(self) -> Floats:
        """All truths that meet the target, the best first; none where there are too many."""
        ...

    def evaluator(self, run: int) -> Evaluator:
        """What a search sees."""
        ...

    def truth(self, arch: Architecture) -> float:
        """The accuracy without noise, in percent."""
        ...


def settings(task: Task, **given: Any) -> Settings:
    """The search's: below the target accuracy alone counts, as in the tables of the field."""
    usual: dict[str, Any] = {"epochs": 1, "pruner": "none", "band": task.band, "objective": "hard"}
    return Settings([parse_target(task.target)], **(usual | given))


def feasible(task: Task, arch: Architecture) -> bool:
    """Whether the target is met."""
    return MACS.estimate(arch).value <= parse_target(task.target).limit


@frozen(eq=False)
class Macro:
    """NAS-Bench-Macro under a limit of FLOPs: the search sees seed 0, the truth is the mean of all seeds."""

    limit: str
    table: TableEvaluator = field(repr=False)
    space: SearchSpace = field(factory=lambda: find_space("nasbench_macro"), repr=False)

    @property
    def name(self) -> str:
        """For people."""
        return f"NAS-Bench-Macro, {self.limit or 'no limit'}"

    @property
    def target(self) -> str:
        """As on the command line."""
        return f"flops={self.limit or '1G'}"

    @property
    def band(self) -> float:
        """The usual one, and none where there is no limit."""
        return 0.9 if self.limit else 0.0

    @cached_property
    def ranks(self) -> Floats:
        """Mean accuracies of all feasible networks, the best first."""
        inside = [self.truth(arch) for arch in self.table.architectures() if feasible(self, arch)]
        return np.sort(np.array(inside))[::-1]

    @property
    def best(self) -> float:
        """The highest mean accuracy of a feasible network."""
        return float(self.ranks[0])

    def evaluator(self, run: int) -> Evaluator:  # noqa: ARG002 -- the same for all runs
        """See `Task`."""
        return Free(self.table)

    def truth(self, arch: Architecture) -> float:
        """See `Task`."""
        return 100 * float(self.table.metadata(arch)["accuracy_mean"])


@frozen(eq=False)
class Free:
    """A table that is not known to be limited: it holds all of the space anyway."""

    table: TableEvaluator

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """See `Evaluator`."""
        return self.table.evaluate(arch, budget)

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return self.table.describe()


def macro_tasks(names: Sequence[str]) -> list[Macro]:
    """One for each limit, "" for none; the table is read in place."""
    path = Path(os.environ["NAS_TEST_DATA"]) / "nasbench_macro.parquet"
    table = read_table(path, find_space("nasbench_macro"), "acc_seed0", ("op*",))
    assert isinstance(table, HasMetadata)
    return [Macro(limit, table) for limit in names]


# Shares of the variance in the band: single choices, pairs, triples, and the logarithm of the multiply-adds.
SHARES = {"single": 0.55, "pairs": 0.25, "triples": 0.1, "macs": 0.1}


@frozen(eq=False)
class MadeUp:
    """An accuracy that a space's choices decide: main effects, interactions of two and of three, and size; and noise.

    It is made of the numbers of options and knows nothing of what a model of accuracy looks at. Some choices matter
    much more than others (their effects' variances are drawn from a gamma distribution), there are as many triples and
    twice as many pairs as choices. Errors are 10% in the middle of the band and log-normal, 1.5 points apart.
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
        some = self.inside(np.random.default_rng([self.seed, 1]), 3000)
        return {name: (float(v.mean()), float(v.std())) for name, v in ((n, self._part(n, some)) for n in SHARES)}

    @best.default
    def _best(self) -> float:
        """The best that a long local search without noise finds, from 60 networks of the band."""
        rng = np.random.default_rng([self.seed, 2])
        found = self.inside(rng, 60)
        worth = self.many(found)
        for _ in range(3000):
            tried = found.copy()
            for _ in range(int(rng.integers(1, 4))):
                at = rng.integers(found.shape[1], size=len(found))
                tried[np.arange(len(found)), at] = self.space.sample(rng, len(found))[np.arange(len(found)), at]
            better = (self.many(tried) > worth) & (self.whole.excess(tried) == 0)
            found[better] = tried[better]
            worth = self.many(found)
        return max(self.truth(self.space.from_picks(picks.tolist())) for picks in found)

    @property
    def name(self) -> str:
        """For people."""
        return f"made-up accuracy {self.seed} over {self.of}, {self.limit}"

    @property
    def target(self) -> str:
        """As on the command line."""
        return f"flops={self.limit}"

    @property
    def ranks(self) -> Floats:
        """There are too many to rank."""
        return np.zeros(0)

    @cached_property
    def whole(self) -> CostRange:
        """The band."""
        targets = [parse_target(self.target)]
        return make_cost_range(self.space, targets, limits(targets, band=self.band, objective="hard"))

    def inside(self, rng: np.random.Generator, count: int) -> Picks:
        """Random networks of the band."""
        found: list[Picks] = []
        band = self.whole
        while sum(map(len, found)) < count:
            some = self.space.sample(rng, 5000)
            found.append(some[band.excess(some) == 0])
        return np.concatenate(found)[:count]

    def many(self, picks: Picks) -> Floats:
        """Accuracies without noise in percent."""
        total = np.zeros(len(picks))
        for name, share in SHARES.items():
            mean, spread = self.middle[name]
            total += np.sqrt(share) * (self._part(name, picks) - mean) / spread
        return np.asarray(100 - 10 * np.exp(-0.15 * total))

    def _part(self, name: str, picks: Picks) -> Floats:
        if name == "macs":
            return np.log(MACS.many(self.whole.chain, self.space.forms(picks)))
        return np.asarray(sum(table[tuple(picks[:, list(places)].T)] for places, table in self.parts[name]))

    def truth(self, arch: Architecture) -> float:
        """See `Task`; of options that make the same network always the same ones count."""
        picks = self.inverse.picks(arch)
        assert picks is not None
        return float(self.many(np.array([picks]))[0])

    def evaluator(self, run: int) -> Evaluator:
        """See `Task`; the noise is another one in every run."""
        return Noisy(self, run)


@frozen(eq=False)
class Noisy:
    """Reads a truth with noise; the same network reads the same."""

    task: MadeUp
    run: int

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there is one accuracy
        """See `Evaluator`."""
        digest = hashlib.sha256(format_text(canonical(arch)).encode()).digest()
        rng = np.random.default_rng([self.run, *digest[:8]])
        yield float(np.clip(self.task.truth(arch) + self.task.noise * rng.standard_normal(), 0, 100) / 100)

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return {"evaluator": "made up", "of": self.task.name, "run": self.run}
