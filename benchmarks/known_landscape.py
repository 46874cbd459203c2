"""Measure what a model reaches that knows how a made-up landscape was drawn, as a reference for what can be learned.

    python benchmarks/known_landscape.py --out experiments/sample_efficiency --only rugged
    python benchmarks/known_landscape.py --out experiments/sample_efficiency --objective pareto --exploration 1

The model is the Gaussian process whose covariance is exactly that of the effects of the landscape: which choices
interact, how large the variance of each table of effects is, and the size of the noise. It does not know the effects
themselves. Acquisition function and local search are those of `nas search`. No sampler that has to learn the covariance
too can be expected to need fewer evaluations with them. The rows are added to those of `sample_efficiency.py`.
"""

import argparse
import json
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import attrs
import numpy as np
from attrs import field, frozen
from efficiency_tasks import settings
from made_up_accuracies import REPORTING, Floats, SyntheticTask, made_up_tasks
from made_up_fronts import front_tasks

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.objective import limits
from nas.samplers import acquisition
from nas.samplers.acquisition import Known
from nas.samplers.cost_range import ChoiceIndices, make_cost_range
from nas.samplers.encoding import Codes
from nas.samplers.ranking import CandidateRanker
from nas.samplers.surrogate import to_accuracy, to_level
from nas.samplers.trial_arrays import History
from nas.search.sampler_factory import make_ranker

# The slope of the level, log(10% / 0.15) for each standard deviation of the landscape, and the noise of a measurement
# in the middle of the range: 0.3 points of 10%.
SLOPE, NOISE, UNKNOWN_MEAN = 0.15, 0.03, 0.3


@frozen(eq=False)
class KnowingModel:
    """A Gaussian process with the covariance of the landscape, conditioned on measured levels.

    Encodings hold what the landscape is computed from in the place of prior scores: the first choice indices that make
    a network, and the standardized logarithm of its multiply-adds.
    """

    task: SyntheticTask
    codes: Floats
    levels: Floats
    inverse: Floats = field(init=False)
    solved: Floats = field(init=False)

    def __attrs_post_init__(self) -> None:
        covariance = self._covariance(self.codes) + NOISE**2 * np.eye(len(self.codes))
        object.__setattr__(self, "inverse", np.linalg.inv(covariance))
        object.__setattr__(self, "solved", self.inverse @ (self.levels - self.levels.mean()))

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation, `(N,)`, of the levels of networks."""
        cross = self._covariance(codes.prior_scores)
        variance = self._variance(codes.prior_scores) - ((cross @ self.inverse) * cross).sum(axis=1)
        return self.levels.mean() + cross @ self.solved, np.sqrt(np.maximum(variance, 1e-10))

    def _covariance(self, left: Floats) -> Floats:
        total = np.full((len(left), len(self.codes)), UNKNOWN_MEAN**2)
        for name, weight in self._weights().items():
            if name == "macs":
                total += weight * np.outer(left[:, -1], self.codes[:, -1])
                continue
            for places, table in self.task.parts[name]:
                equal = [left[:, [i]] == self.codes[:, i] for i in places]
                total += weight * table.var() * np.logical_and.reduce(equal)
        return total

    def _variance(self, codes: Floats) -> Floats:
        weights = dict(self._weights())
        macs = weights.pop("macs") * codes[:, -1] ** 2
        tables = sum(weight * table.var() for name, weight in weights.items() for _, table in self.task.parts[name])
        return np.asarray(UNKNOWN_MEAN**2 + macs + tables)

    def _weights(self) -> Mapping[str, float]:
        """Return the variance of levels that each part has for a unit of variance of its tables."""
        spreads = {name: 1.0 if name == "macs" else self.task.middle[name][1] for name in self.task.shares}
        return {name: SLOPE**2 * share / spreads[name] ** 2 for name, share in self.task.shares.items()}


@frozen(eq=False)
class KnowingRanker(CandidateRanker):
    """Ranks candidates by a model that knows the covariance of the landscape."""

    task: SyntheticTask | None = None

    def _encode(self, indices: ChoiceIndices) -> Codes:
        assert self.task is not None
        first, forms = self.task.canonical(indices)
        mean, spread = self.task.middle["macs"]
        macs = (self.task.part("macs", first, forms) - mean) / spread
        return attrs.evolve(self.encoder.encode(indices), prior_scores=np.column_stack([first, macs]))

    def _learn(self, history: History, rng: np.random.Generator) -> tuple[Any, ChoiceIndices, Known]:  # noqa: ARG002
        assert self.task is not None
        codes = self._encode(history.indices)
        model = KnowingModel(self.task, codes.prior_scores, to_level(history.accuracies))
        known = Known(to_accuracy(model.predict(codes)[0]), self.cost_range.costs(history.indices))
        return model, history.indices, known


def run_search(task: SyntheticTask, run: int, exploration: float, evaluations: int, objective: str) -> dict[str, Any]:
    """Return one search as a row of `sample_efficiency.py`."""
    acquisition.EXPLORATION = acquisition.FRONT_EXPLORATION = exploration
    targets = [parse_target(task.target)]
    cost_range = make_cost_range(task.space, targets, limits(targets, band=task.band, objective=objective))
    plain = make_ranker(cost_range, settings(task, objective=objective), COUNTED)
    ranker = KnowingRanker(plain.cost_range, plain.encoder, plain.acquisition, task=task)
    indices, readings = np.zeros((0, len(task.space.all_choices)), dtype=np.intp), list[float]()
    for number in range(evaluations):
        history = History(indices, np.array(readings), np.zeros(number, dtype=bool))
        chosen = ranker.rank(history, np.random.default_rng([run, number]))[0]
        indices = np.concatenate([indices, chosen[None]])
        readings.append(next(task.evaluator(run).evaluate(task.space.from_indices(chosen.tolist()), 1)))
    return {
        "task": task.name,
        "sampler": f"known landscape, exploration {exploration:g}",
        "objective": objective,
        "run": run,
        "running": 1,
        "cell": task.cell,
        "proposal_ms": None,
        "truth": [round(float(accuracy), 4) for accuracy in task.many(indices)],
        "mmacs": [round(float(cost) / 1e6, 4) for cost in cost_range.costs(indices)[:, 0]],
    }


def main() -> None:
    """Run the searches, and add their rows to the file of made-up accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/sample_efficiency"))
    parser.add_argument("--only", default="", metavar="TEXT", help="only tasks with this text in their names")
    parser.add_argument("--runs", type=int, default=1, help="runs of each landscape")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--exploration", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--objective", choices=["hard", "pareto"], default="hard")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    tasks = made_up_tasks(REPORTING)
    tasks = front_tasks(tasks, REPORTING) if given.objective == "pareto" else tasks
    every = [
        (task, run, exploration, given.evaluations, given.objective)
        for exploration in given.exploration
        for task in tasks
        if given.only in task.name and task.ruggedness != "skewed"
        for run in range(given.runs)
    ]
    with ProcessPoolExecutor(given.processes) as pool, (given.out / "made_up.jsonl").open("a") as out:
        for row in pool.map(run_search, *zip(*every, strict=True)):
            out.write(json.dumps(row) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
