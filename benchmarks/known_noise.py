"""Measure what it changes that suggestions use the known sampling error of the validation split.

    python benchmarks/known_noise.py --out experiments/sample_efficiency/known_noise.json

The accuracies are made up, and measured on a simulated validation split that all networks of a search share (see
`calibration.py`). Each search is run twice, with and without the size of the split; the final selection knows it in
both. Regrets are differences of true accuracies in percentage points.
"""

import argparse
import os
from functools import cache
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from attrs import asdict, frozen
from calibration import SimulatedEvaluator
from efficiency_tasks import settings
from made_up_accuracies import CHOOSING, SyntheticTask
from paired_searches import Row, compare, evaluate_suggestions, run_missing, write_rows

from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.samplers.history import TrialHistory
from nas.search.final_selection import expect
from nas.search.plan import plan
from nas.studies.opening import quiet_optuna

CELLS = (("mnasnet", "400M", "medium"), ("mobilenetv3", "250M", "smooth"))
CHECKPOINTS = (25, 50)


class Truth(dict[Architecture, float]):
    """True accuracies of a task, 0 to 1, computed when they are first asked for."""

    def __init__(self, task: SyntheticTask) -> None:
        super().__init__()
        self.task = task

    def __missing__(self, arch: Architecture) -> float:
        self[arch] = self.task.truth(arch) / 100
        return self[arch]


@frozen
class Job:
    """One search."""

    cell: int
    seed: int
    run: int
    images: int
    known: bool


@cache
def task_of(cell: int, seed: int) -> SyntheticTask:
    """Return a task."""
    space, limit, ruggedness = CELLS[cell]
    return SyntheticTask(space, limit, seed, ruggedness)


def run_job(job: Job) -> Row:
    """Return the regrets of one search after some numbers of evaluations."""
    quiet_optuna()
    task = task_of(job.cell, job.seed)
    # Without training noise, so that the sampling error is the only one.
    evaluator = SimulatedEvaluator(Truth(task), 0.0, job.images, job.run)
    split = evaluator.validation_split()
    planned = plan(task.space, evaluator, settings(task, seed=job.run), COUNTED)
    sampler = planned.sampler(None, TrialHistory(task.space, split if job.known else None))
    done = evaluate_suggestions(planned, sampler, max(CHECKPOINTS))
    regrets = [task.best - task.truth(arch) for _, arch in done]
    row: Row = {}
    for count in CHECKPOINTS:
        expected = expect([trial for trial, _ in done[:count]], planned, split=split)
        row[f"visited_{count}"] = round(min(regrets[:count]), 4)
        row[f"selected_{count}"] = round(regrets[max(expected, key=lambda n: expected[n].score)], 4)
    return row


def main() -> None:
    """Run the searches that are missing, and write and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=CHOOSING, help="seeds of the tasks")
    parser.add_argument("--images", type=int, nargs="+", default=(60, 500))
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    cells = range(len(CELLS))
    jobs = [
        Job(cell, given.seeds[run % len(given.seeds)], run, images, known)
        for run, cell, images, known in product(range(given.runs), cells, given.images, (False, True))
    ]
    rows = run_missing(given.out, jobs, asdict, run_job, given.processes)
    values = [f"{kind}_{count}" for count in CHECKPOINTS for kind in ("visited", "selected")]
    summary = compare(
        rows,
        ("cell", "seed", "run", "images"),
        lambda row: not row["known"],
        lambda row: f"{row['images']} images, {'change with known noise' if row['known'] else 'regret without'}",
        values,
    )
    write_rows(given.out, rows, summary)
    for name, shown in summary.items():
        print(name, shown)


if __name__ == "__main__":
    main()
