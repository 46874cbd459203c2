"""Compare the project's own sampler with those of SMAC3, BoTorch and Optuna, all of them behind the same cost filter.

    pip install -r benchmarks/other_samplers.txt
    python benchmarks/other_samplers.py run --samplers smac --out smac.jsonl
    python benchmarks/other_samplers.py report *.jsonl

The libraries are optional; install them into an environment of their own, beside the project. A suggestion outside the
cost range, or of a network that was evaluated before, is rejected and costs no evaluation. SMAC3 and BoTorch search for
the best suggestion inside the cost range only, as the project's own sampler does; the samplers of Optuna have no way to
be given the range, and are asked again. All samplers but the project's own start from the same random networks of the
cost range, 10 in each run; its own starts as `nas search` does. See `library_samplers` for the settings of the
libraries.

A run is one line of a file, in the form of `sample_efficiency.py` with the seconds of every suggestion added, and is
written when it ends, so that an interrupted measurement can be reported and continued. The report also reads the lines
of `sample_efficiency.py`.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from efficiency_report import OWN
from efficiency_tasks import Task, macro_tasks, settings
from library_samplers import FIRST, LIBRARIES
from made_up_accuracies import BEST_KNOWN, REPORTING, SyntheticTask
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import bootstrap

from nas.cost.analytic import COUNTED, MACS
from nas.errors import NasError
from nas.samplers.candidates import distinct
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.filtered import FilteredSampler, list_inside
from nas.search.final_selection import expect
from nas.search.plan import Plan, plan
from nas.search.sampler_factory import make_sampler
from nas.studies.records import Expected

Row = dict[str, Any]
CHECKPOINTS = (25, 50, 100, 200)
# Kinds of made-up accuracies; `macro` is NAS-Bench-Macro under 50 MFLOPs.
KINDS = {
    "rugged": ("mnasnet", "400M", "rugged"),
    "smooth": ("mnasnet", "400M", "smooth"),
    "forest": ("mobilenetv3", "250M", "forest"),
}
MACRO = "macro"
SAMPLERS = (OWN, "smac", "botorch", "optuna:GPSampler", "tpe")


@cache
def find_tasks(kind: str, landscapes: int) -> Sequence[Task]:
    """Return the tasks of a kind; of the made-up accuracies, the first landscapes that are kept for reports."""
    if kind == MACRO:
        return macro_tasks(["50M"])
    of, limit, ruggedness = KINDS[kind]
    return [SyntheticTask(of, limit, seed, ruggedness) for seed in REPORTING[:landscapes]]


def first_networks(cost_range: CostRange, run: int) -> ChoiceIndices:
    """Return choice indices of the random networks of the cost range that a run starts from."""
    rng = np.random.default_rng([run, FIRST])
    found = np.zeros((0, len(cost_range.space.all_choices)), dtype=np.intp)
    while len(found) < FIRST:
        networks = cost_range.space.sample(rng, 500)
        found = distinct(np.concatenate([found, networks[cost_range.excess(networks) == 0]]))
    return found[:FIRST]


def make_filtered(planned: Plan, name: str, run: int) -> FilteredSampler:
    """Return a sampler behind the filter."""
    if name == OWN:
        return planned.sampler()
    wanted = list(first_networks(planned.cost_range, run))
    if name not in LIBRARIES:
        return make_sampler(planned.cost_range, planned.settings, planned.costs, wanted)
    listing = list_inside(planned.cost_range)
    return FilteredSampler(
        planned.cost_range, LIBRARIES[name].make(planned.cost_range, listing, run), run, wanted, listing
    )


def evaluate(planned: Plan, sampler: FilteredSampler, evaluations: int) -> tuple[list[FrozenTrial], list[float]]:
    """Return the trials of one search, and the seconds of CPU time that every suggestion took."""
    trials, seconds = list[FrozenTrial](), list[float]()
    for number in range(evaluations):
        start = time.process_time()
        proposal = sampler.suggest(number)
        seconds.append(time.process_time() - start)
        if proposal is None:
            break
        (reading,) = planned.evaluator.evaluate(proposal.arch, 1)
        trial = create_trial(
            state=TrialState.COMPLETE,
            values=[reading],
            params=proposal.params,
            distributions=proposal.distributions,
            user_attrs={"accuracy_by_epoch": [reading]},
            system_attrs=proposal.system_attrs,
        )
        trial.number = number
        trials.append(trial)
        sampler.learn([trial], [proposal.arch])
    return trials, seconds


def search(task: Task, name: str, run: int, evaluations: int) -> Row:
    """Run one search, and return the line that describes it."""
    planned = make_plan(task, name, run)
    trials, seconds = evaluate(planned, make_filtered(planned, name, run), evaluations)
    archs = [planned.space.architecture(trial.params) for trial in trials]
    truths = [round(task.truth(arch), 4) for arch in archs]
    counts = [count for count in CHECKPOINTS if count <= len(trials)]
    return {
        "task": task.name,
        "sampler": label(name),
        "objective": "hard",
        "run": run,
        "truth": truths,
        "mmacs": [round(MACS.estimate(arch).value / 1e6, 4) for arch in archs],
        "handed": [truths[select(expect(trials[:count], planned))] for count in counts],
        "read": [truths[max(range(count), key=lambda number: trials[number].value or 0)] for count in counts],
        "seconds": [round(each, 4) for each in seconds],
    }


def make_plan(task: Task, name: str, run: int) -> Plan:
    """Return the plan of a search; one with the sampler of a library has the project's own in its settings."""
    known = OWN if name in LIBRARIES else name
    return plan(task.space, task.evaluator(run), settings(task, sampler=known, seed=run), COUNTED)


def select(expected: Mapping[int, Expected]) -> int:
    """Return the number of the trial that the model of accuracy expects most of, as the final selection does."""
    return max(expected, key=lambda number: expected[number].score)


def label(name: str) -> str:
    """Return the name of a sampler in the lines."""
    return name if name == OWN else f"{name} + filter"


def run_missing(arguments: argparse.Namespace) -> None:
    """Run the searches that the file does not contain, and append a line for each when it ends."""
    for name in arguments.samplers:
        if name in LIBRARIES:
            LIBRARIES[name].check()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = {_key(row) for row in read_rows([arguments.out])} if arguments.out.exists() else set()
    for run, kind in product(range(arguments.runs), arguments.kinds):
        for task, name in product(find_tasks(kind, arguments.landscapes), arguments.samplers):
            if (task.name, label(name), run) not in known:
                _append(arguments.out, search(task, name, run, arguments.evaluations))


def _append(path: Path, row: Row) -> None:
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
    seconds = sum(row["seconds"])
    print(f"{row['task']}: {row['sampler']}, run {row['run']}, {seconds:.0f} s for suggestions", flush=True)


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """Return the searches of some files that have one best network; Pareto fronts are left out."""
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["objective"] == "hard"]


def _key(row: Row) -> tuple[str, str, int]:
    return row["task"], row["sampler"], row["run"]


def report(rows: Sequence[Row], own: str, best: Mapping[str, float]) -> Iterable[str]:
    """Yield the lines of a table for each kind of task.

    Args:
        rows: Searches.
        own: Name of the sampler that the others are compared with.
        best: Best known accuracies of the tasks, in percent.
    """
    kinds: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        kinds.setdefault(_kind(row["task"]), {}).setdefault(row["sampler"], []).append(row)
    for kind, samplers in kinds.items():
        yield f"\n{kind}: mean regret in points, and its difference to {own} in the same runs [95% interval]"
        yield f"{'sampler':24} {'runs':>4} {'s':>6}" + "".join(f"  {f'after {count}':>29}" for count in CHECKPOINTS)
        for name, found in sorted(samplers.items(), key=lambda pair: pair[0] != own):
            cells = (_cell(found, samplers.get(own, []) if name != own else [], count, best) for count in CHECKPOINTS)
            yield f"{name:24} {len(found):4} {_seconds(found):>6}" + "".join(f"  {cell:>29}" for cell in cells)


def _kind(task: str) -> str:
    """Return the name of a task without the seed of its landscape."""
    return re.sub(r"^made-up accuracy \d+ ", "made-up accuracies ", task)


def _seconds(rows: Sequence[Row]) -> str:
    """Return the median duration of a suggestion after the random ones; "-" where no line has it."""
    known = [each for row in rows for each in row.get("seconds", ())[FIRST:]]
    return f"{median(known):.3f}" if known else "-"


def _cell(rows: Sequence[Row], own: Sequence[Row], count: int, best: Mapping[str, float]) -> str:
    regrets = {_key(row): best[row["task"]] - max(_truths(row, count)) for row in rows if _truths(row, count)}
    others = {
        (task, run): max(_truths(row, count)) for row in own for task, _, run in [_key(row)] if _truths(row, count)
    }
    if not regrets:
        return "-"
    differences = [
        regret - (best[task] - others[task, run]) for (task, _, run), regret in regrets.items() if (task, run) in others
    ]
    return f"{np.mean(list(regrets.values())):.3f}" + (f" {interval(np.array(differences))}" if differences else "")


def _truths(row: Row, count: int) -> list[float]:
    """Return the true accuracies of the first evaluations; none where the search was shorter."""
    return [truth for truth in row["truth"][:count] if truth is not None] if len(row["truth"]) >= count else []


def interval(differences: NDArray[np.float64]) -> str:
    """Return the mean of paired differences with its 95% interval, by bootstrap over the pairs."""
    mean = f"{differences.mean():+.3f}"
    if len(differences) < 2:
        return mean
    found = bootstrap((differences,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return f"{mean} [{found.low:+.2f}, {found.high:+.2f}]"


def best_accuracies(rows: Iterable[Row]) -> dict[str, float]:
    """Return the best known accuracy of every task that occurs, in percent."""
    known: dict[str, float] = json.loads(BEST_KNOWN.read_text(encoding="utf-8"))
    limits = {row["task"].rpartition(", ")[2] for row in rows if row["task"].startswith("NAS-Bench-Macro")}
    return known | {
        task.name: task.best for task in macro_tasks(["" if each == "no limit" else each for each in limits])
    }


def print_report(rows: Sequence[Row], own: str) -> None:
    """Print the table of the tasks whose best network is known, and name the others."""
    best = best_accuracies(rows)
    for task in sorted({row["task"] for row in rows} - best.keys()):
        print(f"{task} is left out, because its best known accuracy is not in {BEST_KNOWN.name}.", file=sys.stderr)
    print("\n".join(report([row for row in rows if row["task"] in best], own, best)))


def main() -> None:
    """Run searches, or report them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the searches that a file does not contain")
    run.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--kinds", nargs="+", choices=[*KINDS, MACRO], default=list(KINDS))
    run.add_argument("--landscapes", type=int, default=2)
    run.add_argument("--runs", type=int, default=3)
    run.add_argument("--evaluations", type=int, default=100)
    shown = commands.add_parser("report", help="print a table of the searches in some files")
    shown.add_argument("files", type=Path, nargs="+")
    shown.add_argument("--own", default=OWN, help="sampler that the others are compared with")
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            run_missing(arguments)
        else:
            print_report(read_rows(arguments.files), arguments.own)
    except NasError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
