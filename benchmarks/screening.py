"""How much sooner does a search find good networks when a score without training looks through the band first?

    python benchmarks/screening.py --limit 50M --runs 4 --out experiments/fidelity

Two searches of NAS-Bench-Macro with the same short trainings on `cifar10_small` (both read through NAS_TEST_DATA): one
plain, one after `zero-cost:combined` has looked at 100 networks. Whatever the trainings say, the network that is handed
over is judged by its recorded accuracy, the mean of three trainings of 50 epochs. Time is the processor's, of one
thread, and holds screening, proposals and trainings. A training that both searches ask for is made once, and its time
counted twice; it is kept in a file, so that a run that was stopped goes on.
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
EVERY = 2  # trials


@frozen
class Proxy:
    """The short training: epochs, pixels of a side, images."""

    epochs: int
    resolution: int
    images: int

    @cache  # noqa: B019 -- lives as long as the program
    def data(self) -> ImageData:
        """Its images."""
        return cached_images(str(Path(os.environ["NAS_TEST_DATA"]) / "cifar10_small"), self.resolution, self.images)


@define(eq=False)
class Kept:
    """Trainings by their key: for each epoch the accuracy and the processor's seconds; appended to a file."""

    path: Path
    known: dict[str, list[list[float]]] = field(init=False)

    @known.default
    def _read(self) -> dict[str, list[list[float]]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return {row["key"]: row["epochs"] for row in map(json.loads, lines)}

    def add(self, key: str, epochs: list[list[float]]) -> None:
        """Keep one."""
        self.known[key] = epochs
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, "epochs": epochs}) + "\n")


@define(eq=False)
class Remembering:
    """Trains what was not trained before; the processor's time is counted as if it had trained all."""

    trained: TrainEvaluator
    kept: Kept
    remembered_s: float = 0.0  # of the processor, of trainings that were not made again

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """See `Evaluator`."""
        key = f"{format_text(arch)} {budget} {self.trained.seed} {self.trained.data.fingerprint}"
        if key not in self.kept.known:
            self.kept.add(key, [*self._train(arch, budget)])
            self.remembered_s -= sum(seconds for _, seconds in self.kept.known[key])
        for accuracy, seconds in self.kept.known[key]:
            self.remembered_s += seconds
            yield accuracy

    def _train(self, arch: Architecture, budget: int) -> Iterator[list[float]]:
        begun = time.process_time()
        for accuracy in self.trained.evaluate(arch, budget):
            yield [accuracy, time.process_time() - begun]
            begun = time.process_time()

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return self.trained.describe()


def run(task: Macro, proxy: Proxy, kept: Kept, kind: str, seed: int, trials: int) -> list[dict[str, Any]]:
    """One search; every few trials the truth of what it would hand over, and the seconds behind."""
    data = proxy.data()
    evaluator = Remembering(TrainEvaluator(data, seed=seed, device="cpu"), kept)
    screen = Screen(ZeroCostEvaluator("combined", task.space, Naswot(data, seed, "cpu"), seed))
    rows, spent_s = list[dict[str, Any]](), 0.0
    with TemporaryDirectory() as folder:
        for count in range(EVERY, trials + 1, EVERY):
            asked = settings(task, epochs=proxy.epochs, seed=seed, trials=count, confirm=0)
            begun_s = time.process_time() + evaluator.remembered_s
            view = search(
                task.space,
                evaluator,
                asked,
                COUNTED,
                screen=screen if kind == SCREENED else None,
                storage=f"sqlite:///{folder}/study.db",
            )
            spent_s += time.process_time() + evaluator.remembered_s - begun_s
            assert view.best is not None
            regret = task.best - task.truth(parse_text(view.best.arch))
            rows.append({"trials": count, "seconds": round(spent_s, 1), "regret": round(regret, 3)})
    return rows


def reached(rows: Sequence[Mapping[str, float]], regret: float) -> float:
    """Seconds after which a search hands over something as good, from there on; infinite where it does not."""
    late = [row["seconds"] for row in rows if row["regret"] > regret]
    after = [row["seconds"] for row in rows if not late or row["seconds"] > late[-1]]
    return after[0] if after else math.inf


def mean_of(runs: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """The mean search of several."""
    return [{name: fmean(row[name] for row in rows) for name in rows[0]} for rows in zip(*runs, strict=True)]


def summary(limit: str, runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> dict[str, Any]:
    """What both searches reach, and how long the screened one takes for what the plain one has in the end."""
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


def tell(told: Mapping[str, Any]) -> None:
    """A table for people."""
    print(f"NAS-Bench-Macro, limit {told['limit']}, {told['runs']} runs of each")
    print("trials  plain: s  regret  screened: s  regret")
    for plain, screened in zip(told["mean"][PLAIN], told["mean"][SCREENED], strict=True):
        cells = plain["trials"], plain["seconds"], plain["regret"], screened["seconds"], screened["regret"]
        print("{:6.0f}  {:8.0f}  {:6.2f}  {:11.0f}  {:6.2f}".format(*cells))
    needed = told["screened_seconds"]
    share = needed / told["plain_seconds"]
    print(f"the plain search's last is reached after {needed:.0f} s, {share:.2f} of its time", flush=True)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", action="append", help="of FLOPs, like 50M; several times; none where left out")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=16)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--out", type=Path, required=True, help="a folder for screening.json and the trainings")
    given = parser.parse_args()
    torch.set_num_threads(1)
    quiet_optuna()
    given.out.mkdir(parents=True, exist_ok=True)
    proxy, kept = Proxy(given.epochs, given.resolution, given.images), Kept(given.out / "trainings.jsonl")
    told = list[dict[str, Any]]()
    for task in macro_tasks(given.limit or [""]):
        runs: dict[str, list[list[dict[str, Any]]]] = {PLAIN: [], SCREENED: []}
        for seed in range(given.runs):
            for kind, of in runs.items():
                of.append(run(task, proxy, kept, kind, seed, given.trials))
            told = [row for row in told if row["limit"] != (task.limit or "none")] + [summary(task.limit, runs)]
            tell(told[-1])
            about = {
                "proxy": asdict(proxy),
                "versions": {"torch": torch.__version__, "optuna": optuna.__version__, "python": python_version()},
                "processor": platform.processor() or platform.machine(),
                "threads": 1,
            }
            write_atomically(given.out / "screening.json", (json.dumps({**about, "tasks": told}) + "\n").encode())


if __name__ == "__main__":
    main()
