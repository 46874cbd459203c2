"""Searches with made-up accuracies that differ in one thing only, for benchmarks that compare them in pairs."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.spec import Architecture
from nas.evaluate.base import Validating
from nas.files import write_atomically
from nas.noise import pack
from nas.samplers.filtered import FilteredSampler
from nas.search.plan import Plan

T = TypeVar("T")
Row = dict[str, Any]


def evaluate_suggestions(planned: Plan, sampler: FilteredSampler, count: int) -> list[tuple[FrozenTrial, Architecture]]:
    """Return so many trials and their architectures, one after another as in a search, without a study."""
    trials: list[tuple[FrozenTrial, Architecture]] = []
    for number in range(count):
        proposal = sampler.suggest(number)
        if proposal is None:
            break
        (accuracy,) = planned.evaluator.evaluate(proposal.arch, 1)
        correct = planned.evaluator.correct(proposal.arch) if isinstance(planned.evaluator, Validating) else None
        trial = create_trial(
            state=TrialState.COMPLETE,
            values=[accuracy],
            params=proposal.params,
            distributions=proposal.distributions,
            user_attrs={"accuracy_by_epoch": [accuracy]} | ({} if correct is None else {"correct": pack(correct)}),
        )
        trial.number = number
        sampler.learn([trial], [proposal.arch])
        trials.append((trial, proposal.arch))
    return trials


def run_missing(
    path: Path, jobs: Sequence[T], describe: Callable[[T], Row], run: Callable[[T], Row], processes: int
) -> list[Row]:
    """Run the jobs that the file lacks, write the file after each, and return all rows."""
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    left = [job for job in jobs if not any(describe(job).items() <= row.items() for row in rows)]
    with ProcessPoolExecutor(processes) as pool:
        for job, row in zip(left, pool.map(run, left), strict=True):
            rows.append(describe(job) | row)
            write_rows(path, rows, {})
    return rows


def write_rows(path: Path, rows: Iterable[Row], summary: Any) -> None:
    """Write a summary, and one search in each line."""
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    text = f'{{\n "summary": {json.dumps(summary, indent=1)},\n "rows": [\n  {lines}\n ]\n}}\n'
    write_atomically(path, text.encode())


def compare(
    rows: Iterable[Row],
    same: Sequence[str],
    is_plain: Callable[[Row], bool],
    label: Callable[[Row], str],
    values: Sequence[str],
) -> dict[str, dict[str, str]]:
    """Return the mean of each value without the change, and the mean differences that each change makes.

    A change is compared with the plain search that has the same values of some keys; negative differences are smaller
    regrets. After ± stands the standard error.
    """
    rows = list(rows)
    plain = {tuple(row[key] for key in same): row for row in rows if is_plain(row)}
    differences: dict[str, list[tuple[Row, Row]]] = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in same)
        if key in plain:
            differences[label(row)].append((row, plain[key]))
    return {
        name: {value: _shown([own[value] if own is other else own[value] - other[value] for own, other in pairs])
               for value in values} | {"searches": str(len(pairs))}
        for name, pairs in differences.items()
    }  # fmt: skip


def _shown(values: Sequence[float]) -> str:
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{fmean(values):+.3f} ± {error:.3f}"
