"""Measure how many evaluations samplers need, all of them on the same tasks.

    python benchmarks/sample_efficiency.py --out experiments/sample_efficiency

On NAS-Bench-Macro (read from the folder NAS_TEST_DATA) a search uses only the accuracies of seed 0; regret and rank are
computed from the mean of all seeds. For larger spaces the accuracies are synthetic. Two networks are reported for each
sampler: the best that was evaluated, and the final selection, which is made by the model of accuracy in `nas search`
and by the best measured accuracy for samplers without the filter.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
from attrs import frozen
from efficiency_report import make_report
from efficiency_tasks import Task, feasible, macro_tasks, settings
from made_up_accuracies import REPORTING, SyntheticTask, made_up_tasks
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, MACS
from nas.objective import directions
from nas.samplers.evolution import RegularizedEvolutionSampler
from nas.search.final_selection import expect
from nas.search.plan import plan
from nas.search.settings import Settings

CHECKPOINTS = (25, 50, 100, 200)
LIMITS = ("40M", "50M", "60M", "")
MADE_UP = (("mnasnet", "400M", 1), ("mnasnet", "300M", 2), ("mobilenetv3", "250M", 3))
# Samplers without the filter, with Optuna's own settings, except for a population of 20 (the default of NSGA-II is 50).
UNFILTERED: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "evolution": lambda seed: RegularizedEvolutionSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
}
FILTERED = ("surrogate", "random", "evolution", "tpe", "nsga2")


@frozen
class Visit:
    """One evaluation: the network, its measured accuracy (0 to 1), and whether it meets the target."""

    arch: Architecture
    reading: float
    meets: bool


@frozen
class Job:
    """One search: number of the task, sampler, whether the filter is used, objective, run and evaluations."""

    task: int
    sampler: str
    filtered: bool
    objective: str
    run: int
    evaluations: int

    @property
    def label(self) -> str:
        """Return the name of the sampler in reports."""
        return self.sampler if self.sampler == "surrogate" else f"{self.sampler}{' + filter' if self.filtered else ''}"


@cache
def tasks(made_up: bool) -> tuple[Task, ...]:
    """Return all tasks with synthetic accuracies, or all of NAS-Bench-Macro."""
    return tuple(SyntheticTask(*of) for of in MADE_UP) if made_up else tuple(macro_tasks(LIMITS))


def run_filtered(task: Task, job: Job) -> tuple[list[Visit], list[Architecture]]:
    """Return the evaluations of `nas search`, and its final selection at each checkpoint."""
    search_settings: Settings = settings(
        task, sampler=job.sampler, seed=job.run, objective=job.objective, trials=job.evaluations
    )
    planned = plan(task.space, task.evaluator(job.run), search_settings, COUNTED)
    sampler, visits, trials, selected = planned.sampler(), list[Visit](), list[FrozenTrial](), list[Architecture]()
    for number in range(job.evaluations):
        proposal = sampler.suggest(number)
        if proposal is None:
            break
        (reading,) = planned.evaluator.evaluate(proposal.arch, 1)
        cost = MACS.estimate(proposal.arch).value
        trial = create_trial(
            state=TrialState.COMPLETE,
            values=[reading, cost] if job.objective == "pareto" else [reading],
            params=proposal.params,
            distributions=proposal.distributions,
            user_attrs={"accuracy_by_epoch": [reading]},
            system_attrs=proposal.system_attrs,
        )
        trial.number = number
        trials.append(trial)
        sampler.learn([trial], [proposal.arch])
        visits.append(Visit(proposal.arch, reading, True))
        if number + 1 in CHECKPOINTS:
            expected = expect(trials, planned)
            best = max(expected, key=lambda n: expected[n].score, default=None)
            selected.append(visits[best].arch if best is not None else best_measured(visits))
    return visits, selected


def run_unfiltered(task: Task, job: Job) -> tuple[list[Visit], list[Architecture]]:
    """Return the evaluations and selections of a sampler of Optuna that has the limit as a constraint.

    A network that exceeds the limit costs an evaluation too.
    """
    evaluator, visits = task.evaluator(job.run), list[Visit]()

    def objective(trial: optuna.Trial) -> float | tuple[float, float]:
        chosen = {choice.name: trial.suggest_categorical(choice.name, choice.values) for choice in task.space.choices}
        arch = canonical(task.space.architecture({name: value for name, value in chosen.items() if value is not None}))
        (reading,) = evaluator.evaluate(arch, 1)
        visits.append(Visit(arch, reading, feasible(task, arch)))
        cost = MACS.estimate(arch).value
        limit = settings(task).targets[0].limit
        trial.set_constraint("macs", cost / limit - 1)
        if job.objective == "pareto":
            return reading, cost
        # Evolution does not support constraints, so a network above the limit gets a score that falls with its cost.
        return reading if cost <= limit or job.sampler != "evolution" else 1 - cost / limit

    study = optuna.create_study(directions=directions(job.objective), sampler=UNFILTERED[job.sampler](job.run))
    study.optimize(objective, job.evaluations)
    return visits, [best_measured(visits[:count]) for count in CHECKPOINTS if count <= job.evaluations]


def best_measured(visits: Sequence[Visit]) -> Architecture:
    """Return the network with the best measured accuracy, of those that meet the target if there are any."""
    return max(visits, key=lambda visit: (visit.meets, visit.reading)).arch


def run_job(made_up: bool, job: Job) -> dict[str, Any]:
    """Run one search and return its results."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = tasks(made_up)[job.task]
    visits, selected = (run_filtered if job.filtered else run_unfiltered)(task, job)
    read = [best_measured(visits[:count]) for count in CHECKPOINTS if count <= len(visits)]
    return {
        "task": task.name,
        "sampler": job.label,
        "objective": job.objective,
        "run": job.run,
        "truth": [round(task.truth(visit.arch), 4) if visit.meets else None for visit in visits],
        "mmacs": [round(MACS.estimate(visit.arch).value / 1e6, 4) for visit in visits],
        "handed": [round(task.truth(arch), 4) if feasible(task, arch) else None for arch in selected],
        "read": [round(task.truth(arch), 4) if feasible(task, arch) else None for arch in read],
    }


def jobs(made_up: bool, runs: int, evaluations: int) -> Iterable[Job]:
    """Yield every sampler on every task, and on the Pareto front without a limit, run after run.

    For the Pareto front the filter rejects only repeated networks.
    """
    searches = [(task, "hard") for task in range(len(tasks(made_up)))]
    searches += [] if made_up else [(LIMITS.index(""), "pareto")]
    for run in range(runs):
        for task, objective in searches:
            filtered = FILTERED if objective == "hard" else FILTERED[:1]
            yield from (Job(task, name, True, objective, run, evaluations) for name in filtered)
            yield from (Job(task, name, False, objective, run, evaluations) for name in UNFILTERED)


def main() -> None:
    """Run the searches that are missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/sample_efficiency"))
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--made-up-runs", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--report-only", action="store_true", help="run nothing, and report the existing searches")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for made_up, runs in ((False, arguments.runs), (True, arguments.made_up_runs)):
        path = arguments.out / ("made_up.jsonl" if made_up else "macro.jsonl")
        if not arguments.report_only:
            run_missing(path, made_up, list(jobs(made_up, runs, arguments.evaluations)), arguments.processes)
    make_report(arguments.out, {task.name: task for kind in (False, True) for task in tasks(kind)}, CHECKPOINTS)


def run_missing(path: Path, made_up: bool, wanted: Sequence[Job], processes: int) -> None:
    """Run the searches that the file does not contain, and append a line for each when it ends."""
    known = {key(json.loads(line)) for line in path.read_text().splitlines()} if path.exists() else set()
    names = [task.name for task in tasks(made_up)]
    left = [job for job in wanted if (names[job.task], job.label, job.objective, job.run) not in known]
    start = time.monotonic()
    with ProcessPoolExecutor(processes) as pool, path.open("a", encoding="utf-8") as out:
        for done, row in enumerate(pool.map(run_job, [made_up] * len(left), left), 1):
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"\r{done} of {len(left)}, {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)


def key(row: dict[str, Any]) -> tuple[str, str, str, int]:
    """Return what identifies a search."""
    return row["task"], row["sampler"], row["objective"], row["run"]


if __name__ == "__main__":
    main()
