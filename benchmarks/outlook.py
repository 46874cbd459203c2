"""How reliable the predicted chance of a gain is: made-up accuracies, and what the next evaluations really found.

    python benchmarks/outlook.py --runs 5 --out experiments/sample_efficiency

runs searches on the landscapes of `CHOOSING` (`made_up_accuracies.py`), adds a line to `outlook.jsonl` for each, and
prints a table. A gain is real if a network of the next 50 evaluations is truly better, by more than 0.1 points, than
the network that the search would have recommended.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

from efficiency_tasks import settings
from made_up_accuracies import CHOOSING, SyntheticTask, made_up_tasks
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.cost.analytic import COUNTED
from nas.search.final_selection import expect
from nas.search.plan import plan

CHECKPOINTS = (30, 50, 75, 100, 150, 200, 300)
NEXT = 50
# Bounds of the groups of predicted chances.
BOUNDS = (0.0, 0.02, 0.1, 0.4, 0.8, 1.0)


def run_search(task: SyntheticTask, run: int, evaluations: int) -> list[dict[str, Any]]:
    """Return what was predicted at each checkpoint of one search, and what followed."""
    planned = plan(task.space, task.evaluator(run), settings(task, seed=run, trials=evaluations), COUNTED)
    sampler, trials, truths, seen = planned.sampler(), list[FrozenTrial](), list[float](), list[dict[str, Any]]()
    for number in range(evaluations):
        proposal = sampler.suggest(number)
        assert proposal is not None
        (accuracy,) = planned.evaluator.evaluate(proposal.arch, 1)
        kept = {"accuracy_by_epoch": [accuracy]}
        found, params = proposal.distributions, proposal.params
        trial = create_trial(
            state=TrialState.COMPLETE, value=accuracy, params=params, distributions=found, user_attrs=kept
        )
        trial.number = number
        trials.append(trial)
        truths.append(task.truth(proposal.arch))
        sampler.learn([trial], [proposal.arch])
        outlook = sampler.outlook() if number + 1 in CHECKPOINTS else None
        if outlook is not None:
            expected = expect(trials, planned)
            best = truths[max(expected, key=lambda n: expected[n].score)]
            seen.append({"chance": outlook.chance, "expected": 100 * outlook.expected_gain, "best": best})
            seen[-1] |= {"task": task.name, "run": run, "trials": number + 1}
    return [each | _followed(each, truths) for each in seen if each["trials"] + NEXT <= evaluations]


def _followed(each: dict[str, Any], truths: Sequence[float]) -> dict[str, float]:
    """Return the gain in points that the next evaluations really brought."""
    return {"gain": max(truths[each["trials"] : each["trials"] + NEXT]) - each["best"]}


def report(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| predicted chance | predictions | mean | real gain > .1 in {NEXT} | expected gain | real gain |"
    yield "|---|---|---|---|---|---|"
    for low, high in pairwise(BOUNDS):
        group = [row for row in rows if low <= row["chance"] < high or row["chance"] == high == 1]
        if not group:
            yield f"| {low:.0%} to {high:.0%} | 0 | - | - | - | - |"
            continue
        count = len(group)
        mean, expected = (sum(row[name] for row in group) / count for name in ("chance", "expected"))
        share = sum(row["gain"] > 0.1 for row in group) / count
        real = sum(max(row["gain"], 0) for row in group) / count
        yield f"| {low:.0%} to {high:.0%} | {count} | {mean:.1%} | {share:.1%} | {expected:.2f} | {real:.2f} |"


def _run(job: tuple[SyntheticTask, int, int]) -> list[dict[str, Any]]:
    return run_search(*job)


def main() -> None:
    """Run the searches, and print the table of all predictions in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/sample_efficiency"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=350)
    parser.add_argument("--every", type=int, default=1, help="use only every N-th task")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    path = arguments.out / "outlook.jsonl"
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    ran = {(row["task"], row["run"]) for row in known}
    tasks = made_up_tasks(CHOOSING)[:: arguments.every]
    jobs = [(task, run, arguments.evaluations) for run in range(arguments.runs) for task in tasks]
    left = [job for job in jobs if (job[0].name, job[1]) not in ran]
    with ProcessPoolExecutor(arguments.processes) as pool, path.open("a", encoding="utf-8") as out:
        for rows in pool.map(_run, left):
            known += rows
            out.writelines(json.dumps(row) + "\n" for row in rows)
            out.flush()
    print("\n".join(report(known)))


if __name__ == "__main__":
    main()
