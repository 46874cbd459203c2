"""Tables of many searches by cell, which is a kind of made-up accuracy over one space, or a task of NAS-Bench-Macro.

Two samplers are compared by runs with the same landscape and the same noise. Intervals resample the landscapes of a
cell, and then the runs of each landscape.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from intervals import bounds, mean_of, resample, wilson
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Row = dict[str, Any]
# Regret, in points, up to which a run counts as having found the best known network.
NEAR = 0.01


def curve(row: Row) -> Floats:
    """Return the best true accuracy by evaluation, -inf as long as no network met the target."""
    visited = [-np.inf if truth is None else truth for truth in row["truth"]]
    return np.maximum.accumulate(np.array(visited, dtype=float))


def best_accuracies(rows: Iterable[Row], known: Mapping[str, float]) -> dict[str, float]:
    """Return the best accuracy of each task: the best known one, or a better one that a search has visited."""
    found = dict[str, float]()
    for row in rows:
        if row["task"] not in known:
            raise SystemExit(
                f"The best accuracy of {row['task']!r} is unknown; benchmarks/made_up_accuracies.py finds it."
            )
        found[row["task"]] = max(found.get(row["task"], known[row["task"]]), float(curve(row)[-1]))
    return found


def by_cell(rows: Iterable[Row]) -> dict[str, dict[str, list[Row]]]:
    """Return the rows by cell and sampler."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        found.setdefault(str(row.get("cell", row["task"])), {}).setdefault(row["sampler"], []).append(row)
    return found


def columns(
    rows: Iterable[Row], best: Mapping[str, float], checkpoints: Sequence[int]
) -> dict[tuple[str, int], Floats]:
    """Return the regrets `(checkpoints,)` by task and run; a run that ended early keeps its last regret."""
    return {
        (row["task"], row["run"]): np.array([best[row["task"]] - curve(row)[:count][-1] for count in checkpoints])
        for row in rows
    }


def grouped(regrets: Mapping[tuple[str, int], Floats]) -> list[Floats]:
    """Return one array `(runs, columns)` for each task."""
    tasks = dict[str, list[Floats]]()
    for task, run in sorted(regrets):
        tasks.setdefault(task, []).append(regrets[task, run])
    return [np.stack(runs) for runs in tasks.values()]


def summarize(regrets: Mapping[tuple[str, int], Floats]) -> dict[str, Any]:
    """Return mean regrets, and the share of runs that found the best known network by the last checkpoint."""
    last = np.array([values[-1] for values in regrets.values()])
    near = int((last <= NEAR).sum())
    return {
        "runs": len(regrets),
        "regret": [round(float(mean), 4) for mean in mean_of(grouped(regrets))],
        "best_found": [near, *(round(bound, 3) for bound in wilson(near, len(regrets)))],
    }


def compare(new: Mapping[tuple[str, int], Floats], old: Mapping[tuple[str, int], Floats]) -> dict[str, Any] | None:
    """Return ratios and paired differences of mean regrets with intervals; None where no run is in both.

    A ratio to a regret of zero is unknown.
    """
    pairs = {key: np.append(new[key], old[key]) for key in new.keys() & old.keys()}
    if not pairs:
        return None
    groups = grouped(pairs)
    (own, other), both = np.split(mean_of(groups), 2), resample(groups)
    owns, others = np.split(both, 2, axis=1)
    known = other > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = bounds(np.nan_to_num(owns / others, nan=1.0, posinf=np.inf))
    return {
        "pairs": len(pairs),
        "ratio": [round(float(own[i] / other[i]), 3) if known[i] else None for i in range(len(own))],
        "ratio_interval": [bound if is_known else None for bound, is_known in zip(ratios, known, strict=True)],
        "difference": [round(float(value), 4) for value in own - other],
        "difference_interval": bounds(owns - others),
    }


def cell_tables(rows: Sequence[Row], best: Mapping[str, float], checkpoints: Sequence[int], own: str) -> dict[str, Any]:
    """Return the summary of every sampler by cell, and the comparison of the sampler `own` with each of the others."""
    found = {}
    for cell, samplers in by_cell(row for row in rows if row["running"] == 1).items():
        regrets = {name: columns(each, best, checkpoints) for name, each in samplers.items()}
        # Without the filter, a search may have found no network that meets the target.
        regrets = {name: each for name, each in regrets.items() if np.isfinite(list(each.values())).all()}
        found[cell] = {
            name: {
                **summarize(each),
                "against": compare(regrets[own], each) if own in regrets and name != own else None,
            }
            for name, each in regrets.items()
        }
    return found


def parallel_tables(rows: Sequence[Row], best: Mapping[str, float], checkpoints: Sequence[int]) -> dict[str, Any]:
    """Return summaries by cell, sampler and number of running trials, each compared with one trial after another."""
    found: dict[str, Any] = {}
    for cell, samplers in by_cell(rows).items():
        for name, every in samplers.items():
            counts = sorted({row["running"] for row in every})
            if counts == [1]:
                continue
            held = {n: columns([row for row in every if row["running"] == n], best, checkpoints) for n in counts}
            found.setdefault(cell, {})[name] = {
                count: {**summarize(each), "against": compare(each, held[1]) if 1 in held and count > 1 else None}
                for count, each in held.items()
            }
    return found


def area(accuracies: Floats, costs: Floats, most: float, corner: float) -> float:
    """Return the area above the accuracy `corner`, and below the cost `most`, that some networks dominate."""
    order = np.argsort(costs, kind="stable")
    levels = np.maximum(np.maximum.accumulate(accuracies[order]), corner) - corner
    return float((np.diff(np.append(costs[order], most)) * levels).sum())


def front_tables(rows: Iterable[Row], fronts: Mapping[str, Any], checkpoints: Sequence[int]) -> dict[str, Any]:
    """Return hypervolumes of the evaluated networks by true accuracy, as shares of those of the best known fronts."""
    shares: dict[str, dict[str, list[list[float]]]] = {}
    for row in rows:
        if row["task"] not in fronts:
            raise SystemExit(f"The front of {row['task']!r} is unknown; benchmarks/made_up_fronts.py finds it.")
        front = fronts[row["task"]]
        most, corner = front["largest_mmacs"], front["least_accuracy"]
        costs, accuracies = np.array(front["front"]).T
        whole = area(accuracies, costs, most, corner)
        truth, mmacs = (np.array(row[key], dtype=float) for key in ("truth", "mmacs"))
        name = row["sampler"] if row["running"] == 1 else f"{row['sampler']}, {row['running']} running"
        shares.setdefault(row["task"], {}).setdefault(name, []).append(
            [area(truth[:count], mmacs[:count], most, corner) / whole for count in checkpoints]
        )
    return {
        task: {
            name: {
                "runs": len(each),
                "share": [round(float(mean), 4) for mean in np.mean(each, axis=0)],
                "interval": bounds(resample([np.array(each)])),
            }
            for name, each in samplers.items()
        }
        for task, samplers in shares.items()
    }


def cell_lines(report: Mapping[str, Any], checkpoints: Sequence[int], own: str) -> Iterator[str]:
    """Yield the lines of all tables."""
    counts = " / ".join(map(str, checkpoints))
    for cell, samplers in report["cells"].items():
        yield f"\n{cell}: mean regret in points after {counts} evaluations"
        for name, found in sorted(samplers.items(), key=lambda pair: pair[1]["regret"][-1]):
            yield _summary_line(name, found)
            yield from _compared(own, name, found["against"])
    for cell, samplers in report["parallel"].items():
        yield f"\n{cell}: mean regret in points after {counts} evaluations, with trials that run at the same time"
        for name, by_running in samplers.items():
            for running, found in by_running.items():
                yield _summary_line(f"{name}, {running} running", found)
                yield from _compared(f"{running} running", "one", found["against"])
    for task, samplers in report["fronts"].items():
        yield f"\n{task}: hypervolume of the visited front after {counts} evaluations, share of the best known one"
        for name, found in samplers.items():
            cells = (f"{share:.3f} [{low:.3f}, {high:.3f}]" for share, (low, high) in _with_bounds(found))
            yield f"  {name:28} {found['runs']:3} runs   " + " / ".join(cells)


def _with_bounds(found: Mapping[str, Any]) -> Iterable[tuple[float, list[float]]]:
    return zip(found["share"], found["interval"], strict=True)


def _summary_line(name: str, found: Mapping[str, Any]) -> str:
    near, low, high = found["best_found"]
    means = " / ".join(f"{mean:.3f}" for mean in found["regret"])
    return f"  {name:28} {found['runs']:3} runs   {means}   best known found by {near} [{low:.0%}, {high:.0%}]"


def _compared(new: str, old: str, found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    ratios = " / ".join("-" if ratio is None else f"{ratio:.2f}" for ratio in found["ratio"])
    differences = zip(found["difference"], found["difference_interval"], strict=True)
    cells = " / ".join(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" for value, (low, high) in differences)
    yield f"    {new} against {old}, {found['pairs']} pairs: ratio {ratios}; difference {cells}"
