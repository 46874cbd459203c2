"""Measure how honest the uncertainty of the sampler's model of accuracy is, on searches of `sample_efficiency.py`.

    python benchmarks/sampler_calibration.py --rows experiments/sample_efficiency --out experiments/sampler_calibration
    python benchmarks/sampler_calibration.py --label before         # in a worktree of an older version

After 30, 60, 120 and 200 evaluations of a recorded search the model is fitted again, and its predictions are compared
with the true accuracies of three kinds of networks: random ones of the cost range, those that the search evaluated
next, and single changes of the best ones. A standardized error is the true level less the predicted mean, divided by
the predicted standard deviation; the root mean square of honest ones is 1.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from calibration_report import KINDS, PROBABILITIES, make_report
from efficiency_report import OWN, read_rows
from efficiency_tasks import Task, macro_tasks, settings
from made_up_accuracies import CHOOSING, REPORTING, SPACES, SyntheticTask
from numpy.typing import NDArray
from sample_efficiency import SET_HELP, set_constants
from scipy.special import ndtri

from nas.arch.canonical import canonical
from nas.cost.analytic import COUNTED
from nas.samplers.base import ModelSampler
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.encoding import Codes
from nas.samplers.ranking import CandidateRanker
from nas.samplers.surrogate import to_level
from nas.samplers.trial_arrays import History
from nas.search.plan import Plan, plan

Floats = NDArray[np.float64]
COUNTS = (30, 60, 120, 200)
RANDOM, NEXT, NEAR, PARENTS = 200, 10, 100, 5
LIMITS = ("40M", "50M", "60M", "")


class Model(Protocol):
    """A model of accuracy."""

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Return the means and standard deviations of levels."""
        ...


def ranker_of(planned: Plan) -> CandidateRanker:
    """Return the ranking of the package's own sampler."""
    inner = planned.sampler().inner
    assert isinstance(inner, ModelSampler)
    return inner.ranker


def fitted(ranker: CandidateRanker, indices: ChoiceIndices, readings: Floats) -> Model:
    """Return the model that the sampler uses after some evaluations; only this depends on its code."""
    history = History(indices, readings, np.zeros(len(readings), dtype=bool))
    return ranker._learn(history, np.random.default_rng(0))[0]


def measure(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the standardized errors of one search, summarized by number of evaluations and kind of network."""
    task = task_of(row["task"])
    planned = plan(task.space, task.evaluator(row["run"]), settings(task, seed=row["run"]), COUNTED)
    ranker = ranker_of(planned)
    indices, readings = np.array(row["indices"], dtype=np.intp), np.array(row["readings"])
    found = []
    for count in (count for count in COUNTS if count <= len(readings)):
        model = fitted(ranker, indices[:count], readings[:count])
        rng = np.random.default_rng([row["run"], count])
        for kind, networks in networks_of(ranker.cost_range, indices, readings, count, rng):
            mean, spread = model.predict(ranker.encoder.encode(networks))
            errors = (to_level(true_accuracies(task, networks) / 100) - mean) / spread
            same = {key: row.get(key, row["task"]) for key in ("task", "cell", "sampler", "run")}
            found.append({**same, "count": count, "kind": kind, **summary(errors)})
    return found


def networks_of(
    cost_range: CostRange, indices: ChoiceIndices, readings: Floats, count: int, rng: np.random.Generator
) -> Iterator[tuple[str, ChoiceIndices]]:
    """Yield the networks of each kind that there are."""
    best = indices[np.argsort(-readings[:count], kind="stable")[:PARENTS]]
    around = np.concatenate([cost_range.neighbours(one) for one in best])
    around = around[cost_range.excess(around) == 0]
    networks = (
        random_inside(cost_range, rng),
        indices[count : count + NEXT],
        around[rng.permutation(len(around))[:NEAR]],
    )
    yield from (pair for pair in zip(KINDS, networks, strict=True) if len(pair[1]))


def random_inside(cost_range: CostRange, rng: np.random.Generator) -> ChoiceIndices:
    """Return choice indices of random networks of the cost range."""
    found: list[ChoiceIndices] = []
    while sum(map(len, found)) < RANDOM:
        networks = cost_range.space.sample(rng, 2000)
        found.append(networks[cost_range.excess(networks) == 0])
    return np.concatenate(found)[:RANDOM]


def true_accuracies(task: Task, networks: ChoiceIndices) -> Floats:
    """Return accuracies without noise, in percent."""
    if isinstance(task, SyntheticTask):
        return task.many(networks)
    return np.array([task.truth(canonical(task.space.from_indices(each.tolist()))) for each in networks])


def summary(errors: Floats) -> dict[str, Any]:
    """Return the mean square of standardized errors, and the shares below some quantiles of the normal distribution."""
    below = (errors[:, None] <= ndtri(np.array(PROBABILITIES))).mean(axis=0)
    return {
        "networks": len(errors),
        "mean": round(float(errors.mean()), 4),
        "mean_square": round(float((errors**2).mean()), 4),
        "below": [round(float(share), 4) for share in below],
    }


@cache
def task_of(name: str) -> Task:
    """Return the task of a name, which a process makes only once."""
    if name.startswith("NAS-Bench-Macro"):
        return next(task for task in macro_tasks(LIMITS) if task.name == name)
    ruggedness = name.partition("(")[2].partition(")")[0]
    return next(
        SyntheticTask(of, limit, seed, ruggedness)
        for of, limit in SPACES
        for seed in (*REPORTING, *CHOOSING)
        if name == f"made-up accuracy {seed} ({ruggedness}) over {of}, {limit}"
    )


def main() -> None:
    """Measure the searches that the file does not contain, and write the report of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=Path("experiments/sample_efficiency"), help="recorded searches")
    parser.add_argument("--out", type=Path, default=Path("experiments/sampler_calibration"))
    parser.add_argument("--label", default="", help="name of this version of the package, whose searches are taken")
    parser.add_argument("--only", default="", metavar="TEXT", help="only tasks with this text in their names")
    parser.add_argument("--runs", type=int, default=4, help="runs of each task")
    parser.add_argument("--set", nargs="+", default=[], metavar="MODULE.NAME=NUMBER", help=SET_HELP)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--report-only", action="store_true", help="measure nothing, and report what there is")
    given = parser.parse_args()
    set_constants(given.set)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "errors.jsonl"
    if not given.report_only:
        measure_missing(path, list(wanted(given)), given.processes)
    make_report(given.out, read_rows(path))


def wanted(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the recorded searches of this version of the package, one trial after another and for the accuracy only."""
    sampler = f"{OWN}, {given.label}" if given.label else OWN
    for row in (row for path in sorted(given.rows.glob("*.jsonl")) for row in read_rows(path)):
        is_single = row["objective"] == "hard" and row["running"] == 1 and row["run"] < given.runs
        if is_single and row["sampler"] == sampler and given.only in row["task"] and "indices" in row:
            yield row


def measure_missing(path: Path, rows: Sequence[dict[str, Any]], processes: int) -> None:
    """Measure the searches that the file does not contain, and append a line for each summary."""
    known = {(row["task"], row["sampler"], row["run"]) for row in read_rows(path)}
    left = [row for row in rows if (row["task"], row["sampler"], row["run"]) not in known]
    with ProcessPoolExecutor(processes) as pool, path.open("ab", buffering=0) as out:
        for done, found in enumerate(pool.map(measure, left), 1):
            out.write("".join(json.dumps(each) + "\n" for each in found).encode())
            print(f"\r{done} of {len(left)}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
