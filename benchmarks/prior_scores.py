"""Measure how much scores of a cheap evaluator help a search, from useless to perfect ones.

    python benchmarks/prior_scores.py --out experiments/sample_efficiency/prior_scores.json

Accuracies and scores are made up. A score is a strongly curved function of r a + sqrt(1 - r^2) b, where a is the true
accuracy (standardized logarithm of the error rate) and b that of another landscape over the same space: so a useless
score is as smooth a function of the architecture as the accuracy itself. As many random networks are scored as `nas
search` scores by default. Regrets are differences of true accuracies in percentage points.
"""

import argparse
import os
from functools import cache
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from attrs import asdict, frozen
from efficiency_tasks import settings
from made_up_accuracies import CHOOSING, Floats, SyntheticTask
from paired_searches import Row, compare, evaluate_suggestions, run_missing, write_rows

from nas.cost.analytic import COUNTED
from nas.samplers.cost_range import ChoiceIndices
from nas.samplers.random_networks import draw
from nas.search.defaults import SCREENED
from nas.search.plan import plan
from nas.search.screening import Screened
from nas.studies.opening import quiet_optuna

CELLS = (("mnasnet", "400M", "smooth"), ("mobilenetv3", "250M", "rugged"))
CORRELATIONS = (0.0, 0.3, 0.6, 0.9, 1.0)
CHECKPOINTS = (5, 10, 25, 50, 100)
# Added to the seed of a landscape; the sum is the seed of one that has nothing to do with it.
OTHER = 1000


@frozen
class Job:
    """One search; a correlation of None is one without scores."""

    cell: int
    seed: int
    run: int
    correlation: float | None


@cache
def task_of(cell: int, seed: int) -> SyntheticTask:
    """Return a task."""
    space, limit, ruggedness = CELLS[cell]
    return SyntheticTask(space, limit, seed, ruggedness)


def make_scores(task: SyntheticTask, run: int, correlation: float) -> Screened:
    """Return scores of random networks of the cost range."""
    indices = draw(task.space, SCREENED, run, task.cost_range)
    other = SyntheticTask(task.of, task.limit, task.seed + OTHER + run, task.ruggedness)
    mixed = correlation * _levels(task, indices) + np.sqrt(1 - correlation**2) * _levels(other, indices)
    return Screened(indices, np.exp(3 * mixed))


def _levels(task: SyntheticTask, indices: ChoiceIndices) -> Floats:
    levels = -np.log(100 - task.many(indices))
    return np.asarray((levels - levels.mean()) / levels.std())


def run_job(job: Job) -> Row:
    """Return the regrets of one search after some numbers of evaluations."""
    quiet_optuna()
    task = task_of(job.cell, job.seed)
    planned = plan(task.space, task.evaluator(job.run), settings(task, seed=job.run), COUNTED)
    screened = None if job.correlation is None else make_scores(task, job.run, job.correlation)
    done = evaluate_suggestions(planned, planned.sampler(screened), max(CHECKPOINTS))
    best = np.maximum.accumulate([task.truth(arch) for _, arch in done])
    return {f"regret_{count}": round(task.best - float(best[count - 1]), 4) for count in CHECKPOINTS}


def main() -> None:
    """Run the searches that are missing, and write and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=CHOOSING, help="seeds of the tasks")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    jobs = [
        Job(cell, given.seeds[run % len(given.seeds)], run, correlation)
        for run, cell, correlation in product(range(given.runs), range(len(CELLS)), (None, *CORRELATIONS))
    ]
    rows = run_missing(given.out, jobs, asdict, run_job, given.processes)
    summary = compare(
        rows,
        ("cell", "seed", "run"),
        lambda row: row["correlation"] is None,
        lambda row: (
            f"{' '.join(CELLS[row['cell']])}: "
            + (
                "regret without scores"
                if row["correlation"] is None
                else f"change by scores of {row['correlation']:.1f}"
            )
        ),
        [f"regret_{count}" for count in CHECKPOINTS],
    )
    write_rows(given.out, rows, summary)
    for name, shown in summary.items():
        print(name, shown)


if __name__ == "__main__":
    main()
