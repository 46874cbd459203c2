"""Made-up accuracies over large spaces, from smooth to hard, and the best networks that are known of them.

    python benchmarks/made_up_accuracies.py --best benchmarks/best_known.json

finds the best known networks again. The landscapes and their seeds were fixed before the sampler was changed: it was
tuned on those of `CHOOSING`, and is reported on those of `REPORTING`.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.api.spaces import load_space
from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.cost.target import parse_target
from nas.evaluate.base import Evaluator
from nas.objective import limits
from nas.samplers.cost_range import ChoiceIndices, CostRange, make_cost_range
from nas.samplers.encoding import Encoder
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse

Floats = NDArray[np.float64]
# A table of effects over the options of some choices, or over the halves of their options.
Effect = tuple[tuple[int, ...], Floats]

# Shares of the variance in the cost range: single choices, pairs, triples, trees of four choices, and the logarithm of
# the multiply-adds.
RUGGEDNESS: Mapping[str, Mapping[str, float]] = {
    "smooth": {"single": 0.8, "pairs": 0.1, "macs": 0.1},
    "medium": {"single": 0.55, "pairs": 0.25, "triples": 0.1, "macs": 0.1},
    "rugged": {"single": 0.3, "pairs": 0.4, "triples": 0.2, "macs": 0.1},
    "forest": {"trees": 0.9, "macs": 0.1},
    "skewed": {"single": 0.3, "pairs": 0.4, "triples": 0.2, "macs": 0.1},
}
# Skewness: many networks are nearly as accurate as the best, and some are far worse.
SKEWED = 0.5
SPACES = (("mnasnet", "400M"), ("mobilenetv3", "250M"), ("around:efficientnet-lite0", "250M"))
CHOOSING = (11, 12, 13, 14)
REPORTING = (101, 102, 103, 104, 105)
TREES, DEPTH = 80, 4
BEST_KNOWN = Path(__file__).with_name("best_known.json")
SEARCHES, CHAINS, STEPS, ENDS = 3, 300, 2500, 10


@frozen(eq=False)
class SyntheticTask:
    """A made-up accuracy: effects of single choices, interactions of two, three and four choices, size, and noise.

    It is computed from choice indices only, and not from the inputs of the model of accuracy; of all choice indices
    that make one network, the first are taken. Some choices matter much
    more than others, because the variances of their effects are drawn from a gamma distribution. There are as many
    triples, and twice as many pairs, as choices. A tree halves the options of four choices at random and has an effect
    for each of the 16 combinations; it prefers important choices, and later trees have smaller effects. Error rates are
    log-normal; in the middle of the cost range they are 10% with a standard deviation of 1.5 points. Skewed accuracies
    are the rugged ones under a concave function, so that the worst networks are far below the rest.
    """

    of: str
    limit: str
    seed: int
    ruggedness: str = "medium"
    noise: float = 0.3
    band: float = 0.9
    space: SearchSpace = field(init=False, repr=False)
    inverse: Inverse = field(init=False, repr=False)
    encoder: Encoder = field(init=False, repr=False)
    parts: Mapping[str, list[Effect]] = field(init=False, repr=False)
    middle: Mapping[str, tuple[float, float]] = field(init=False, repr=False)

    @space.default
    def _space(self) -> SearchSpace:
        return load_space(self.of)

    @inverse.default
    def _inverse(self) -> Inverse:
        return Inverse(self.space)

    @encoder.default
    def _encoder(self) -> Encoder:
        return Encoder(self.space, {})

    @parts.default
    def _parts(self) -> Mapping[str, list[Effect]]:
        rng = np.random.default_rng([self.seed, 7])
        sizes = [len(choice.values) for choice in self.space.all_choices]
        count = len(sizes)
        scales = np.sqrt(rng.gamma(0.7, 1, count))

        def effect(places: tuple[int, ...], scale: float = 1.0) -> Effect:
            return places, rng.normal(0, scale, [sizes[i] for i in places])

        def tree(number: int) -> Effect:
            open_choices = np.array(sizes) > 1
            chance = scales * open_choices / (scales * open_choices).sum()
            places = tuple(rng.choice(count, DEPTH, replace=False, p=chance).tolist())
            leaves = rng.normal(0, 0.97**number, [2] * DEPTH)
            halves = [rng.permutation(sizes[i]) % 2 for i in places]
            return places, leaves[np.ix_(*halves)]

        pairs = [tuple(rng.choice(count, 2, replace=False).tolist()) for _ in range(2 * count)]
        triples = [tuple(rng.choice(count, 3, replace=False).tolist()) for _ in range(count)]
        return {
            "single": [effect((i,), float(scales[i])) for i in range(count)],
            "pairs": [effect(places) for places in pairs],
            "triples": [effect(places) for places in triples],
            "trees": [tree(number) for number in range(TREES)],
        }

    @middle.default
    def _middle(self) -> Mapping[str, tuple[float, float]]:
        networks = self.inside(np.random.default_rng([self.seed, 1]), 3000)
        parts = ((name, self.part(name, *self.canonical(networks))) for name in self.shares)
        return {name: (float(part.mean()), float(part.std())) for name, part in parts}

    @property
    def shares(self) -> Mapping[str, float]:
        """Return the shares of the variance of all parts."""
        return RUGGEDNESS[self.ruggedness]

    @cached_property
    def best(self) -> float:
        """Return the accuracy of the best known network; see `find_best`."""
        known = _best_known()
        return known[self.name] if self.name in known else find_best(self)

    @property
    def name(self) -> str:
        """See `Task`."""
        return f"made-up accuracy {self.seed} ({self.ruggedness}) over {self.of}, {self.limit}"

    @property
    def cell(self) -> str:
        """Return the name of all tasks that differ by their seeds only."""
        return f"{self.ruggedness}, {self.of}, {self.limit}"

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
        first, forms = self.canonical(indices)
        total = np.zeros(len(indices))
        for name, share in self.shares.items():
            mean, spread = self.middle[name]
            total += np.sqrt(share) * (self.part(name, first, forms) - mean) / spread
        if self.ruggedness == "skewed":
            # The bound keeps error rates below 1, also of networks far outside the cost range.
            total = np.maximum((1 - np.exp(-SKEWED * total)) / SKEWED, -15)
        return np.asarray(100 - 10 * np.exp(-0.15 * total))

    def canonical(self, indices: ChoiceIndices) -> tuple[ChoiceIndices, NDArray[np.intp]]:
        """Return the first choice indices, and the indices of the forms, of each network."""
        forms = self.encoder.canonical_forms(indices)
        return np.concatenate([table[forms[:, i]] for i, table in enumerate(self._first_indices)], axis=1), forms

    @cached_property
    def _first_indices(self) -> list[ChoiceIndices]:
        """Return for each part the first choice indices that make each of its forms."""
        return [
            np.array([next(i for i in part.indices() if part.part(i) == form) for form in part.forms], dtype=np.intp)
            for part in self.space.parts
        ]

    def part(self, name: str, indices: ChoiceIndices, forms: NDArray[np.intp]) -> Floats:
        """Return one part of the landscape, `(N,)`, before it is scaled; see `canonical`."""
        if name == "macs":
            return np.log(MACS.many(self.cost_range.chain, forms))
        return np.asarray(sum(table[tuple(indices[:, list(places)].T)] for places, table in self.parts[name]))

    def truth(self, arch: Architecture) -> float:
        """See `Task`."""
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


def made_up_tasks(seeds: tuple[int, ...]) -> list[SyntheticTask]:
    """Return the tasks of every space and every ruggedness with some seeds."""
    return [
        SyntheticTask(of, limit, seed, ruggedness)
        for ruggedness in RUGGEDNESS
        for of, limit in SPACES
        for seed in seeds
    ]


def find_best(task: SyntheticTask) -> float:
    """Return the best accuracy, in percent, that several long searches without noise find."""
    return max(_search(task, np.random.default_rng([task.seed, 2, number])) for number in range(SEARCHES))


def _search(task: SyntheticTask, rng: np.random.Generator) -> float:
    """Return the best accuracy that one long search without noise finds.

    Chains that begin at random networks of the cost range are changed, and crossed with each other, wherever this is
    better; then the best of them are improved by every pair of changes until none is left that helps.
    """
    found = task.inside(rng, CHAINS)
    accuracies = task.many(found)
    for _ in range(STEPS):
        others = changed(task.space, found, rng)
        reached = np.where(task.cost_range.excess(others) == 0, task.many(others), -np.inf)
        better = reached > accuracies
        found[better], accuracies[better] = others[better], reached[better]
    order = np.argsort(-accuracies, kind="stable")
    distinct = np.unique(found[order[: CHAINS // 4]], axis=0)
    starts = distinct[np.argsort(-task.many(distinct), kind="stable")][:ENDS]
    return max(float(task.many(_climbed(task, start)[None])[0]) for start in starts)


def changed(space: SearchSpace, found: ChoiceIndices, rng: np.random.Generator) -> ChoiceIndices:
    """Return networks with one to four choices redrawn, a third of them crossed with another chain before."""
    other = found[rng.permutation(len(found))]
    crossed = (rng.random(len(found)) < 1 / 3)[:, None] & (rng.random(found.shape) < 0.3)
    rate = rng.integers(1, 5, size=len(found))[:, None] / found.shape[1]
    redrawn = rng.random(found.shape) < rate
    return np.where(redrawn, space.sample(rng, len(found)), np.where(crossed, other, found))


def _climbed(task: SyntheticTask, start: ChoiceIndices) -> ChoiceIndices:
    """Return the network at the end of steepest ascent over all single changes and pairs of changes."""
    here, accuracy = start, float(task.many(start[None])[0])
    while True:
        singles = task.cost_range.neighbours(here)
        pairs = [np.where(one != here, one, singles[i + 1 :]) for i, one in enumerate(singles)]
        every = np.concatenate([singles, *pairs])
        every = every[task.cost_range.excess(every) == 0]
        reached = task.many(every)
        if not len(every) or reached.max() <= accuracy + 1e-9:
            return here
        here, accuracy = every[reached.argmax()], float(reached.max())


@cache
def _best_known() -> Mapping[str, float]:
    return dict(json.loads(BEST_KNOWN.read_text(encoding="utf-8"))) if BEST_KNOWN.exists() else {}


def _named_best(task: SyntheticTask) -> tuple[str, float]:
    return task.name, find_best(task)


def main() -> None:
    """Find the best networks of all tasks that the file does not contain, and add their accuracies to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--best", type=Path, default=BEST_KNOWN)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    known = dict(json.loads(arguments.best.read_text(encoding="utf-8"))) if arguments.best.exists() else {}
    left = [task for task in made_up_tasks(REPORTING) + made_up_tasks(CHOOSING) if task.name not in known]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name, accuracy in pool.map(_named_best, left):
            known[name] = accuracy
            arguments.best.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
            print(f"{accuracy:.4f} {name}", flush=True)


if __name__ == "__main__":
    main()
