"""Count how often the 95% intervals of a search contain the true accuracies, on simulated validation splits.

    python benchmarks/calibration.py --table "$NAS_TEST_DATA/nasbench_macro.parquet" --out experiments/calibration

The networks are those of NAS-Bench-Macro, and the true accuracy of a network is the mean over the seeds of its table.
Each search has a validation split of its own, shared by all its networks and seeds. Which images a training run
classifies correctly follows from a latent difficulty: image i is correct if
sqrt(a) z_i + sqrt(b) u_i + sqrt(1 - a - b) e_i < Phi^-1(p), where z belongs to the image, u to the network and the
image, e to the training run and the image, all of them standard normal; p is the accuracy of the training run over all
images, the true accuracy plus training noise. So the mean of correct images over all splits is p.

The same searches can be repeated with another version of the package, under another label: their trials are the same as
long as the sampler is, so that the selected networks can be compared in pairs.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import attrs
import numpy as np
import optuna
from attrs import field, frozen
from numpy.typing import NDArray
from scipy.special import ndtri

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.evaluate.table.evaluator import read_table
from nas.files import write_atomically
from nas.noise import ValidationSplit
from nas.search.run import search
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.studies.records import StudyView

SIZES = (60, 500, 10_000)
TRIALS = (30, 60)
TARGET = "flops=60M"
CHANCE = 0.1
SHOWN = 5
NORMAL = 1.96  # for versions of the package that store a standard error and no interval


@frozen
class Difficulty:
    """Shares of the latent variance that belong to the image (`a`) and to the network and the image (`b`)."""

    a: float = 0.6
    b: float = 0.1


@frozen(eq=False)
class SimulatedEvaluator:
    """Gives accuracies on a simulated validation split.

    Attributes:
        true: True accuracies by canonical architecture.
        noise: Standard deviation of the accuracy over all images between training runs.
        images: Number of validation images.
        split: Number of the validation split.
        difficulty: How much the images share.
        seed: Seed of the training run.
    """

    true: Mapping[Architecture, float]
    noise: float
    images: int
    split: int
    difficulty: Difficulty = Difficulty()
    seed: int = 0
    _correct: dict[Architecture, NDArray[np.bool_]] = field(factory=dict, init=False)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there are no epochs
        """Yield the share of correct images."""
        text, a, b = format_text(canonical(arch)), self.difficulty.a, self.difficulty.b
        run = self._random("run", text, self.seed)
        p = float(np.clip(self.true[canonical(arch)] + self.noise * run.standard_normal(), 1e-3, 1 - 1e-3))
        z, u = (self._random(*key).standard_normal(self.images) for key in (("images",), ("network", text)))
        e = run.standard_normal(self.images)
        self._correct[arch] = math.sqrt(a) * z + math.sqrt(b) * u + math.sqrt(1 - a - b) * e < ndtri(p)
        yield float(self._correct[arch].mean())

    def _random(self, *key: object) -> np.random.Generator:
        return np.random.default_rng(list(hashlib.sha256(repr((self.split, *key)).encode()).digest()))

    def validation_split(self) -> ValidationSplit:
        """Return the size of the split."""
        return ValidationSplit(self.images, CHANCE, float(self.images))

    def correct(self, arch: Architecture) -> NDArray[np.bool_] | None:
        """Return which images were correct in the last evaluation."""
        return self._correct.pop(arch, None)

    def with_seed(self, seed: int) -> "SimulatedEvaluator":
        """Return the same evaluator with another seed."""
        return attrs.evolve(self, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return what the accuracies depend on."""
        return {"evaluator": "simulated", "images": self.images, "split": self.split}


@cache
def read_truth(path: Path) -> tuple[SearchSpace, dict[Architecture, float], float]:
    """Return the space, the true accuracies and the standard deviation between seeds of NAS-Bench-Macro."""
    space = find_space("nasbench_macro")
    rows = read_table(path, space, ignore=("op*", "flops", "params")).rows
    noise = math.sqrt(fmean(stdev(row.seeds) ** 2 for row in rows.values()))
    return space, {arch: fmean(row.seeds) for arch, row in rows.items()}, noise


def run_search(space: SearchSpace, evaluator: SimulatedEvaluator, trials: int, **given: Any) -> StudyView:
    """Return a finished search; its seed is the number of the split."""
    settings = Settings((parse_target(TARGET),), trials, epochs=1, seed=evaluator.split, **given)
    return search(space, evaluator, settings, COUNTED, study_name="calibration", storage="sqlite://")


def check_intervals(view: StudyView, true: Mapping[Architecture, float]) -> dict[str, Any]:
    """Return which intervals of a search contain the true accuracy, and how good the selected network is.

    The first row of "shown" is the selected network. "regret" is the score that it lacks to the best evaluated one,
    both at their true accuracies.
    """
    by_number = {record.number: true[canonical(record.architecture)] for record in view.complete}
    assert view.best is not None
    shown = [view.best, *(record for record in view.ranked if record != view.best)][:SHOWN]
    rows = []
    for record in shown:
        expected = view.expected[record.number]
        low, high = (getattr(expected, name, None) for name in ("low", "high"))
        low = expected.accuracy - NORMAL * expected.spread if low is None else low
        high = expected.accuracy + NORMAL * expected.spread if high is None else high
        row = {"true": by_number[record.number], "accuracy": expected.accuracy, "low": low, "high": high}
        rows.append({name: round(value, 5) for name, value in row.items()})
    scores = {r.number: by_number[r.number] * (r.score or 0) / (r.accuracy or 1) for r in view.complete}
    return {
        "shown": rows,
        "retrained": sorted(view.confirmed),
        "selected": view.best.number,
        "regret": round(max(scores.values()) - scores[view.best.number], 6),
    }


def one(task: tuple[str, int, int, Difficulty]) -> dict[str, Any]:
    """Run one search in a worker process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table, images, number, difficulty = task
    space, true, noise = read_truth(Path(table))
    view = run_search(space, SimulatedEvaluator(true, noise, images, number, difficulty), TRIALS[number % len(TRIALS)])
    return {"images": images, "split": number} | check_intervals(view, true)


def is_inside(row: Mapping[str, float]) -> bool:
    """Return whether an interval contains the true accuracy."""
    return row["low"] <= row["true"] <= row["high"]


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the coverage for all shown networks and for the selected ones, with standard errors.

    The networks of one search share their split, so the standard error is that of the means of searches.
    """
    shown = [fmean(map(is_inside, row["shown"])) for row in rows]
    selected = [float(is_inside(row["shown"][0])) for row in rows]
    bias = [row["shown"][0]["accuracy"] - row["shown"][0]["true"] for row in rows]
    width = [row["shown"][0]["high"] - row["shown"][0]["low"] for row in rows]
    return {
        "searches": len(rows),
        **_mean("covered_shown", shown),
        **_mean("covered_selected", selected),
        **_mean("bias_selected", bias),
        **_mean("width_selected", width),
        **_mean("regret", [row["regret"] for row in rows]),
        "selected_was_retrained": fmean(row["selected"] in row["retrained"] for row in rows),
        "retrained": fmean(len(row["retrained"]) for row in rows),
    }


def _mean(name: str, values: list[float]) -> dict[str, float]:
    return {name: round(fmean(values), 5), f"{name}_error": round(stdev(values) / math.sqrt(len(values)), 5)}


def paired_regret(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how much smaller the regret is under the second label, over the searches that both have."""
    known = {row["split"]: row["regret"] for row in before}
    gains = [known[row["split"]] - row["regret"] for row in after if row["split"] in known]
    return _mean("regret_saved", gains) if len(gains) > 1 else {}


def _as_text(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as JSON with one search in each line."""
    labels = []
    for label, sizes in results.items():
        parts = []
        for images, part in sizes.items():
            rows = ",\n   ".join(json.dumps(row) for row in part["rows"])
            summary = json.dumps(part["summary"], indent=1).replace("\n", "\n   ")
            parts.append(f'  "{images}": {{\n   "summary": {summary},\n   "rows": [\n   {rows}]}}')
        labels.append(f' "{label}": {{\n' + ",\n".join(parts) + "}")
    return "{\n" + ",\n".join(labels) + "}\n"


def main() -> None:
    """Run the searches and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="NAS-Bench-Macro as a Parquet file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    parser.add_argument("--repeats", type=int, default=200, help="number of searches for each size of the split")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of validation images")
    parser.add_argument("--processes", type=int, default=1, help="number of searches at the same time")
    parser.add_argument("--label", default="after", help="name of the version of the package")
    parser.add_argument("--a", type=float, default=0.6, help="share of the difficulty that belongs to the image")
    parser.add_argument("--b", type=float, default=0.1, help="share that belongs to the network and the image")
    given = parser.parse_args()
    path = given.out / "result.json"
    label = f"{given.label}, a={given.a:g}, b={given.b:g}"
    difficulty = Difficulty(given.a, given.b)
    with ProcessPoolExecutor(given.processes) as pool:
        for images in given.sizes:
            tasks = [(str(given.table), images, number, difficulty) for number in range(given.repeats)]
            rows = list(pool.map(one, tasks))
            # Read again each time: another label may be running beside this one.
            results = json.loads(path.read_text()) if path.exists() else {}
            own = results.setdefault(label, {})
            own[str(images)] = {"summary": summarize(rows), "rows": rows}
            other = results.get(f"before, a={given.a:g}, b={given.b:g}", {}).get(str(images))
            if other and given.label != "before":
                own[str(images)]["summary"] |= paired_regret(other["rows"], rows)
            write_atomically(path, _as_text(results).encode())
            print(label, images, json.dumps(own[str(images)]["summary"]), flush=True)


if __name__ == "__main__":
    main()
