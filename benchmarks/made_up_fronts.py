"""Best known Pareto fronts of made-up accuracies over multiply-adds, and the corner of their hypervolumes.

    python benchmarks/made_up_fronts.py

writes those that `best_known_fronts.json` lacks. The hypervolume is the area above the median true accuracy of random
networks that cost at most as much as the limit of the task, and below this limit.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from efficiency_report import FRONTS
from made_up_accuracies import CHOOSING, REPORTING, SyntheticTask, changed, made_up_tasks
from numpy.typing import NDArray

from nas.cost.target import parse_target
from nas.samplers.cost_range import ChoiceIndices

Floats = NDArray[np.float64]
# Pareto fronts are searched for on the tasks of this ruggedness with the first seed, one for each space.
RUGGEDNESS = "medium"
LIMITS, CHAINS, STEPS, RANDOM = 12, 25, 3000, 3000


def front_tasks(tasks: Iterable[SyntheticTask], seeds: tuple[int, ...]) -> list[SyntheticTask]:
    """Return the tasks whose Pareto fronts are searched for."""
    return [task for task in tasks if task.seed == seeds[0] and task.ruggedness == RUGGEDNESS]


def find_front(task: SyntheticTask) -> dict[str, Any]:
    """Return the best known front of a task by a long search without noise, and the corner of hypervolumes.

    Every chain has one of twelve limits of cost, from that of cheap random networks to the limit of the task. A chain
    is changed, and crossed with the others, wherever this is better within its limit; the front is that of all networks
    that the chains have passed.
    """
    rng, most = np.random.default_rng([task.seed, 3]), parse_target(task.target).limit
    random = below(task, most, rng)
    corner = float(np.median(task.many(random)))
    costs = _costs(task, random)
    by_cost = random[np.argsort(costs, kind="stable")]
    limits = np.repeat(np.geomspace(np.sort(costs)[CHAINS], most, LIMITS), CHAINS)
    ends = np.searchsorted(np.sort(costs), limits)
    found = by_cost[rng.integers(ends)]
    accuracies = task.many(found)
    front = np.stack([costs, task.many(random)], axis=1)
    for _ in range(STEPS):
        others = changed(task.space, found, rng)
        own = _costs(task, others)
        reached = np.where(own <= limits, task.many(others), -np.inf)
        better = reached > accuracies
        found[better], accuracies[better] = others[better], reached[better]
        front = dominant(np.concatenate([front, np.stack([own[better], reached[better]], axis=1)]))
    steps = [[round(float(cost) / 1e6, 4), round(float(accuracy), 4)] for cost, accuracy in front if accuracy > corner]
    return {"least_accuracy": round(corner, 4), "largest_mmacs": most / 1e6, "front": steps}


def below(task: SyntheticTask, most: float, rng: np.random.Generator) -> ChoiceIndices:
    """Return choice indices of random networks that cost at most so many multiply-adds."""
    found: list[ChoiceIndices] = []
    while sum(map(len, found)) < RANDOM:
        networks = task.space.sample(rng, 5000)
        found.append(networks[_costs(task, networks) <= most])
    return np.concatenate(found)[:RANDOM]


def _costs(task: SyntheticTask, indices: ChoiceIndices) -> Floats:
    return np.asarray(task.cost_range.costs(indices)[:, 0])


def dominant(points: Floats) -> Floats:
    """Return the points `(cost, accuracy)` that no other one dominates, by cost."""
    ordered = points[np.lexsort((-points[:, 1], points[:, 0]))]
    reached = np.maximum.accumulate(ordered[:, 1])
    return np.asarray(ordered[np.diff(reached, prepend=-np.inf) > 0])


def main() -> None:
    """Find the fronts that the file does not contain, and add them to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fronts", type=Path, default=FRONTS)
    path = parser.parse_args().fronts
    known = dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    for seeds in (REPORTING, CHOOSING):
        for task in front_tasks(made_up_tasks(seeds[:1]), seeds):
            if task.name not in known:
                known[task.name] = find_front(task)
                path.write_text(json.dumps(known) + "\n", encoding="utf-8")
                print(f"{len(known[task.name]['front'])} networks: {task.name}", flush=True)


if __name__ == "__main__":
    main()
