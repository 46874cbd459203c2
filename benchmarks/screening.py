"""Measure how much sooner a search finds good networks after screening by a score without training.

    python benchmarks/screening.py --limit 50M --runs 4 --out experiments/fidelity

Two searches of NAS-Bench-Macro use the same short training runs on `cifar10_small` (both are read from NAS_TEST_DATA):
one without screening, and one after `zero-cost:combined` has scored 100 networks. The regret of the finally selected
network is computed from its recorded accuracy, the mean of three training runs of 50 epochs. Time is CPU time of one
thread for screening, suggestions and training. A training run that both searches need is done once, and its time counts
for both. It is kept in a file, so that an interrupted benchmark can continue.
"""

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from platform import python_version
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
import torch
from attrs import asdict, define, field, frozen
from efficiency_tasks import Macro, macro_tasks, settings

from nas.arch.code import format_text, parse_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED
from nas.data.base import ImageData
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.evaluate.short_training.resized import cached_images
from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
from nas.evaluate.zero_cost.naswot import Naswot
from nas.files import write_atomically
from nas.search.run import search
from nas.search.screening import Screen
from nas.studies.opening import quiet_optuna

PLAIN, SCREENED = "plain", "screened"
EVERY = 2  # number of trials between two checkpoints


@frozen
class Proxy:
    """The short training run: number of epochs, image size in pixels, and number of images."""

    epochs: int
    resolution: int
    images: int

    @cache  # noqa: B019 -- lives as long as the program
    def data(self) -> ImageData:
        """Return the images."""
        return cached_images(str(Path(os.environ["NAS_TEST_DATA"]) / "cifar10_small"), self.resolution, self.images)


@define(eq=False)
class TrainingCache:
    """Training runs by key, with accuracy and CPU seconds of each epoch; new ones are appended to a file."""

    path: Path
    known: dict[str, list[list[float]]] = field(init=False)

    @known.default
    def _read(self) -> dict[str, list[list[float]]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return {row["key"]: row["epochs"] for row in map(json.loads, lines)}

    def add(self, key: str, epochs: list[list[float]]) -> None:
        """Add one training run."""
        self.known[key] = epochs
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, "epochs": epochs}) + "\n")


@define(eq=False)
class CachedTraining:
    """Evaluator that trains only what is not in the cache, and counts the CPU time of all training runs."""

    trained: TrainEvaluator
    cache: TrainingCache
    cached_s: float = 0.0  # CPU time of training runs that were found in the cache

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """See `Evaluator`."""
        key = f"{format_text(arch)} {budget} {self.trained.seed} {self.trained.data.fingerprint}"
        if key not in self.cache.known:
            self.cache.add(key, [*self._train(arch, budget)])
            self.cached_s -= sum(seconds for _, seconds in self.cache.known[key])
        for accuracy, seconds in self.cache.known[key]:
            self.cached_s += seconds
            yield accuracy

    def _train(self, arch: Architecture, budget: int) -> Iterator[list[float]]:
        start = time.process_time()
        for accuracy in self.trained.evaluate(arch, budget):
            yield [accuracy, time.process_time() - start]
            start = time.process_time()

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return self.trained.describe()


def run(task: Macro, proxy: Proxy, cache: TrainingCache, kind: str, seed: int, trials: int) -> list[dict[str, Any]]:
    """Run one search; return the regret of its final selection, and the CPU seconds, after every few trials."""
    data = proxy.data()
    evaluator = CachedTraining(TrainEvaluator(data, seed=seed, device="cpu"), cache)
    screen = Screen(ZeroCostEvaluator("combined", task.space, Naswot(data, seed, "cpu"), seed))
    rows, spent_s = list[dict[str, Any]](), 0.0
    with TemporaryDirectory() as folder:
        for count in range(EVERY, trials + 1, EVERY):
            asked = settings(task, epochs=proxy.epochs, seed=seed, trials=count, confirm=0)
            start_s = time.process_time() + evaluator.cached_s
            view = search(
                task.space,
                evaluator,
                asked,
                COUNTED,
                screen=screen if kind == SCREENED else None,
                storage=f"sqlite:///{folder}/study.db",
            )
            spent_s += time.process_time() + evaluator.cached_s - start_s
            assert view.best is not None
            regret = task.best - task.truth(parse_text(view.best.arch))
            rows.append({"trials": count, "seconds": round(spent_s, 1), "regret": round(regret, 3)})
    return rows


def reached(rows: Sequence[Mapping[str, float]], regret: float) -> float:
    """Return the seconds after which the regret of a search stays at or below a value; infinite if it does not."""
    late = [row["seconds"] for row in rows if row["regret"] > regret]
    after = [row["seconds"] for row in rows if not late or row["seconds"] > late[-1]]
    return after[0] if after else math.inf


def mean_of(runs: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Return the means of several searches, row by row."""
    return [{name: fmean(row[name] for row in rows) for name in rows[0]} for rows in zip(*runs, strict=True)]


def summary(limit: str, runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> dict[str, Any]:
    """Return both mean searches, and the seconds until screening reaches the final regret of the plain search."""
    means = {kind: mean_of(of) for kind, of in runs.items()}
    last = means[PLAIN][-1]
    return {
        "limit": limit or "none",
        "runs": len(runs[PLAIN]),
        "mean": means,
        "plain_seconds": last["seconds"],
        "screened_seconds": reached(means[SCREENED], last["regret"]),
        "each": runs,
    }


def print_summary(results: Mapping[str, Any]) -> None:
    """Print a table of both searches."""
    print(f"NAS-Bench-Macro, limit {results['limit']}, {results['runs']} runs of each")
    print("trials  plain: s  regret  screened: s  regret")
    for plain, screened in zip(results["mean"][PLAIN], results["mean"][SCREENED], strict=True):
        cells = plain["trials"], plain["seconds"], plain["regret"], screened["seconds"], screened["regret"]
        print("{:6.0f}  {:8.0f}  {:6.2f}  {:11.0f}  {:6.2f}".format(*cells))
    needed = results["screened_seconds"]
    share = needed / results["plain_seconds"]
    print(
        f"screening reaches the final regret of the plain search after {needed:.0f} s, {share:.2f} of its time",
        flush=True,
    )


def main() -> None:
    """Run the searches, and write and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--limit", action="append", help="limit of FLOPs, like 50M; may be repeated; by default there is no limit"
    )
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=16)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--out", type=Path, required=True, help="folder for screening.json and the training runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    quiet_optuna()
    options.out.mkdir(parents=True, exist_ok=True)
    proxy, cache = (
        Proxy(options.epochs, options.resolution, options.images),
        TrainingCache(options.out / "trainings.jsonl"),
    )
    results = list[dict[str, Any]]()
    for task in macro_tasks(options.limit or [""]):
        runs: dict[str, list[list[dict[str, Any]]]] = {PLAIN: [], SCREENED: []}
        for seed in range(options.runs):
            for kind, of in runs.items():
                of.append(run(task, proxy, cache, kind, seed, options.trials))
            results = [row for row in results if row["limit"] != (task.limit or "none")] + [summary(task.limit, runs)]
            print_summary(results[-1])
            about = {
                "proxy": asdict(proxy),
                "versions": {"torch": torch.__version__, "optuna": optuna.__version__, "python": python_version()},
                "processor": platform.processor() or platform.machine(),
                "threads": 1,
            }
            write_atomically(options.out / "screening.json", (json.dumps({**about, "tasks": results}) + "\n").encode())


if __name__ == "__main__":
    main()
