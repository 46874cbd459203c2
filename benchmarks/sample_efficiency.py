"""Measure how many evaluations samplers need, all of them on the same tasks.

    python benchmarks/sample_efficiency.py --out experiments/sample_efficiency
    python benchmarks/sample_efficiency.py --runs 0 --only rugged --samplers surrogate --label before
    python benchmarks/sample_efficiency.py --runs 0 --samplers surrogate --objectives hard --running 32

On NAS-Bench-Macro (read from the folder NAS_TEST_DATA) a search uses only the accuracies of seed 0; regret and rank are
computed from the mean of all seeds. For larger spaces the accuracies are made up, see `made_up_accuracies`. For
NAS-Bench-Macro two networks are reported: the best that was evaluated, and the final selection, which is made by the
model of accuracy in `nas search` and by the best measured accuracy for samplers without the filter.

To compare two versions of the package, run this file in a worktree of each with the same folder, and give the searches
of the older one a label. The same run has the same noise in both.
"""

import argparse
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
from attrs import field, frozen
from efficiency_report import OWN, make_report, read_rows
from efficiency_tasks import Task, feasible, macro_tasks, settings
from made_up_accuracies import CHOOSING, REPORTING, SyntheticTask, made_up_tasks
from made_up_fronts import front_tasks
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, MACS
from nas.objective import directions
from nas.samplers.evolution import RegularizedEvolutionSampler
from nas.samplers.filtered import Proposal
from nas.search.final_selection import expect
from nas.search.plan import plan
from nas.search.settings import Settings

CHECKPOINTS = (25, 50, 100, 200)
# Fields that identify a search.
KEY = ("task", "sampler", "objective", "run", "running")
LIMITS = ("40M", "50M", "60M", "")
SEEDS = {"reporting": REPORTING, "choosing": CHOOSING}
SET_HELP = "constants of nas.samplers to change, for searches with a label"
FILTER = " + filter"
# Samplers without the filter, with Optuna's own settings, except for a population of 20 (the default of NSGA-II is 50).
UNFILTERED: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "evolution": lambda seed: RegularizedEvolutionSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
}
FILTERED = ("surrogate", "random + filter", "evolution + filter", "tpe + filter", "nsga2 + filter")
# The tasks are too many for every sampler; the filter makes TPE the best one of Optuna.
ON_MADE_UP = ("surrogate", "tpe + filter")


@frozen
class Visit:
    """One evaluation: the network, its choice indices, measured accuracy (0 to 1), and whether it meets the target."""

    arch: Architecture
    indices: Sequence[int]
    reading: float
    meets: bool


@frozen
class Job:
    """One search, and what is searched for.

    Attributes:
        task: Task with known accuracies.
        sampler: Name of the sampler, with the filter if it is used.
        label: Name of the version of the package; empty for the one that is reported.
        objective: Objective, "hard" or "pareto".
        run: Number of the run, which is the seed of the sampler and of the noise.
        evaluations: Number of trials.
        running: Number of trials that are evaluated at the same time.
    """

    task: Task
    sampler: str
    label: str
    objective: str
    run: int
    evaluations: int
    running: int = 1

    @property
    def kind(self) -> str:
        """Return the name of the sampler without the filter."""
        return self.sampler.removesuffix(FILTER)

    @property
    def named(self) -> str:
        """Return the name of the sampler in reports; a label belongs to the package's own sampler only."""
        return f"{self.sampler}, {self.label}" if self.label and self.sampler == OWN else self.sampler

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """Return what identifies a search."""
        return self.task.name, self.named, self.objective, self.run, self.running


@cache
def made_up(seeds: tuple[int, ...]) -> tuple[SyntheticTask, ...]:
    """Return all tasks with made-up accuracies; processes that are forked later share them."""
    return tuple(made_up_tasks(seeds))


@frozen
class Searched:
    """The evaluations of one search in the order of their ends, its final selections, and milliseconds of proposals."""

    visits: list[Visit] = field(factory=list)
    selected: list[Architecture] = field(factory=list)
    proposal_ms: list[float] = field(factory=list)


def run_filtered(job: Job) -> Searched:
    """Run `nas search` with a number of trials that are always running; the oldest of them ends first."""
    task, done, trials = job.task, Searched(), list[FrozenTrial]()
    search_settings: Settings = settings(
        task, sampler=job.kind, seed=job.run, objective=job.objective, trials=job.evaluations
    )
    planned = plan(task.space, task.evaluator(job.run), search_settings, COUNTED)
    sampler, running = planned.sampler(), deque[tuple[int, Proposal]]()

    def end_oldest() -> None:
        number, proposal = running.popleft()
        (reading,) = planned.evaluator.evaluate(proposal.arch, 1)
        trials.append(as_trial(number, proposal, job.objective, reading))
        sampler.learn(trials[-1:], [proposal.arch])
        done.visits.append(Visit(proposal.arch, task.space.indices(proposal.params), reading, True))
        if len(trials) in CHECKPOINTS:
            expected = expect(trials, planned)
            best = max(expected, key=lambda n: expected[n].score, default=None)
            by_number = {trial.number: visit.arch for trial, visit in zip(trials, done.visits, strict=True)}
            done.selected.append(best_measured(done.visits) if best is None else by_number[best])

    for number in range(job.evaluations):
        start = time.process_time()  # not the wall clock, since other searches use the machine
        proposal = sampler.suggest(number)
        done.proposal_ms.append(1000 * (time.process_time() - start))
        if proposal is None:
            break
        sampler.learn([as_trial(number, proposal, job.objective)], [proposal.arch])
        running.append((number, proposal))
        if len(running) == job.running:
            end_oldest()
    while running:
        end_oldest()
    return done


def as_trial(number: int, proposal: Proposal, objective: str, reading: float | None = None) -> FrozenTrial:
    """Return a trial that has ended with an accuracy, or one that is running."""
    ended = {} if reading is None else {"user_attrs": {"accuracy_by_epoch": [reading]}, "values": [reading]}
    if reading is not None and objective == "pareto":
        ended["values"] = [reading, MACS.estimate(proposal.arch).value]
    trial = create_trial(
        state=TrialState.RUNNING if reading is None else TrialState.COMPLETE,
        params=proposal.params,
        distributions=proposal.distributions,
        system_attrs=proposal.system_attrs,
        **ended,  # type: ignore[arg-type]
    )
    trial.number = number
    return trial


def run_unfiltered(job: Job) -> Searched:
    """Run a sampler of Optuna that has the limit as a constraint.

    A network that exceeds the limit costs an evaluation too.
    """
    task, evaluator, done = job.task, job.task.evaluator(job.run), Searched()
    limit = settings(task).targets[0].limit

    def objective(trial: optuna.Trial) -> float | tuple[float, float]:
        chosen = {choice.name: trial.suggest_categorical(choice.name, choice.values) for choice in task.space.choices}
        arch = canonical(task.space.architecture({name: value for name, value in chosen.items() if value is not None}))
        (reading,) = evaluator.evaluate(arch, 1)
        done.visits.append(Visit(arch, task.space.indices(trial.params), reading, feasible(task, arch)))
        cost = MACS.estimate(arch).value
        trial.set_constraint("macs", cost / limit - 1)
        if job.objective == "pareto":
            return reading, cost
        # Evolution does not support constraints, so a network above the limit gets a score that falls with its cost.
        return reading if cost <= limit or job.kind != "evolution" else 1 - cost / limit

    study = optuna.create_study(directions=directions(job.objective), sampler=UNFILTERED[job.kind](job.run))
    study.optimize(objective, job.evaluations)
    done.selected.extend(best_measured(done.visits[:count]) for count in CHECKPOINTS if count <= job.evaluations)
    return done


def best_measured(visits: Sequence[Visit]) -> Architecture:
    """Return the network with the best measured accuracy, of those that meet the target if there are any."""
    return max(visits, key=lambda visit: (visit.meets, visit.reading)).arch


def run_job(job: Job) -> dict[str, Any]:
    """Run one search and return its results."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, done = job.task, (run_filtered if job.sampler in FILTERED else run_unfiltered)(job)
    visits = done.visits
    read = [best_measured(visits[:count]) for count in CHECKPOINTS if count <= len(visits)]
    return {
        **dict(zip(KEY, job.key, strict=True)),
        "cell": getattr(task, "cell", task.name),
        "proposal_ms": round(median(done.proposal_ms), 2) if done.proposal_ms else None,
        "truth": [round(task.truth(visit.arch), 4) if visit.meets else None for visit in visits],
        "mmacs": [round(MACS.estimate(visit.arch).value / 1e6, 4) for visit in visits],
        "handed": [round(task.truth(arch), 4) if feasible(task, arch) else None for arch in done.selected],
        "read": [round(task.truth(arch), 4) if feasible(task, arch) else None for arch in read],
        "readings": [round(visit.reading, 6) for visit in visits],
        "indices": [list(map(int, visit.indices)) for visit in visits],
    }


def macro_jobs(given: argparse.Namespace) -> Iterator[Job]:
    """Yield every sampler on NAS-Bench-Macro, and on the Pareto front without a limit, run after run.

    For the Pareto front the filter rejects only repeated networks.
    """
    every = macro_tasks(LIMITS) if given.runs else []
    searches = [(task, "hard") for task in every] + [(task, "pareto") for task in every if not task.limit]
    for run in range(given.runs):
        for task, objective in searches:
            names = [*(FILTERED if objective == "hard" else FILTERED[:1]), *UNFILTERED]
            yield from _of_samplers(given, names, task, objective, run)


def made_up_jobs(given: argparse.Namespace) -> Iterator[Job]:
    """Yield the samplers on all made-up accuracies of the seeds, and on the Pareto fronts of three, run after run."""
    seeds = SEEDS[given.seeds]
    every = made_up(seeds) if given.made_up_runs else ()
    searches = [(task, "hard") for task in every] + [(task, "pareto") for task in front_tasks(every, seeds)]
    for run in range(given.made_up_runs):
        for task, objective in searches:
            yield from _of_samplers(given, ON_MADE_UP, task, objective, run)


def _of_samplers(
    given: argparse.Namespace, names: Sequence[str], task: Task, objective: str, run: int
) -> Iterator[Job]:
    if objective in given.objectives and given.only in task.name:
        for name in given.samplers or names:
            yield Job(task, name, given.label, objective, run, given.evaluations, given.running)


def main() -> None:
    """Run the searches that are missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/sample_efficiency"))
    parser.add_argument("--runs", type=int, default=30, help="runs of each task of NAS-Bench-Macro")
    parser.add_argument("--made-up-runs", type=int, default=4, help="runs of each made-up accuracy")
    parser.add_argument("--seeds", choices=list(SEEDS), default="reporting", help="seeds of the made-up accuracies")
    parser.add_argument("--only", default="", metavar="TEXT", help="only tasks with this text in their names")
    parser.add_argument("--samplers", nargs="+", choices=[*FILTERED, *UNFILTERED], help="default: those of the table")
    parser.add_argument("--label", default="", help="name of the package's version, for the sampler surrogate")
    parser.add_argument("--objectives", nargs="+", choices=["hard", "pareto"], default=["hard", "pareto"])
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="MODULE.NAME=NUMBER",
        help=SET_HELP,
    )
    parser.add_argument("--running", type=int, default=1, help="trials at the same time; not without the filter")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--report-only", action="store_true", help="run nothing, and report the existing searches")
    parser.add_argument("--no-report", action="store_true", help="run the searches only")
    given = parser.parse_args()
    set_constants(given.set)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.report_only:
        run_missing(given.out / "macro.jsonl", list(macro_jobs(given)), given.processes)
        run_missing(given.out / "made_up.jsonl", list(made_up_jobs(given)), given.processes)
    if not given.no_report:
        make_report(given.out, {task.name: task for task in macro_tasks(LIMITS)}, CHECKPOINTS)


def set_constants(texts: Sequence[str]) -> None:
    """Change constants of the package's own sampler; processes that are forked later share them."""
    for text in texts:
        name, _, number = text.partition("=")
        module, _, constant = name.partition(".")
        own = import_module(f"nas.samplers.{module}")
        setattr(own, constant, type(getattr(own, constant))(number))


def run_missing(path: Path, wanted: Sequence[Job], processes: int) -> None:
    """Run the searches that the file does not contain, and append a line for each when it ends."""
    known = {tuple(row[name] for name in KEY) for row in read_rows(path)}
    left = [job for job in wanted if job.key not in known and (job.running == 1 or job.sampler in FILTERED)]
    start = time.monotonic()
    # A line is written at once, since another version of the package may write to the same file.
    with ProcessPoolExecutor(processes) as pool, path.open("ab", buffering=0) as out:
        for done, row in enumerate(pool.map(run_job, left), 1):
            out.write((json.dumps(row, separators=(",", ":")) + "\n").encode())
            print(f"\r{done} of {len(left)}, {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
