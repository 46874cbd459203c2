"""Compare the best network of a default search with random architectures of the same cost range.

    python benchmarks/search_quality.py --data "$NAS_TEST_DATA/cifar10_small" --out experiments/search_quality

All networks are trained by the same proxy task with the same seeds. The search itself uses one seed, and its best
network is trained again with all seeds. Every training run uses one thread, and several run at once. The result file is
written after each training run, so an interrupted benchmark continues.
"""

import argparse
import json
import platform
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from nas.arch.canonical import canonical
from nas.arch.code import format_text, parse_text
from nas.cost.analytic import COUNTED, cost
from nas.cost.target import parse_target
from nas.data.load import load_images
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.files import write_atomically
from nas.objective import limits
from nas.samplers.cost_range import make_cost_range
from nas.search.defaults import EPOCHS, TRIALS
from nas.search.run import search
from nas.search.settings import Settings
from nas.space.files import find_space
from nas.studies.opening import quiet_optuna

TARGET = "flops=400M"
SEARCH_SEED = 0
RANDOM_SEED = 1


def random_architectures(count: int) -> list[str]:
    """Return random architectures of the cost range."""
    space, targets = find_space("mnasnet"), (parse_target(TARGET),)
    cost_range = make_cost_range(space, targets, limits(targets, band=0.9, objective="soft"))
    indices = space.sample(np.random.default_rng(RANDOM_SEED), 100 * count)
    inside = indices[cost_range.excess(indices) == 0][:count]
    return [format_text(canonical(space.from_indices(row))) for row in inside.tolist()]


def train(data: str, arch: str, seed: int) -> float:
    """Return the accuracy after the last epoch of the proxy training."""
    torch.set_num_threads(1)
    evaluator = TrainEvaluator(load_images(data, resolution=32), seed=seed, device="cpu")
    return list(evaluator.evaluate(parse_text(arch), EPOCHS))[-1]


def find_winner(data: str, storage: str) -> str:
    """Return the best architecture of a default search."""
    torch.set_num_threads(1)
    quiet_optuna()
    evaluator = TrainEvaluator(load_images(data, resolution=32), seed=SEARCH_SEED, device="cpu")
    settings = Settings((parse_target(TARGET),), trials=TRIALS, seed=SEARCH_SEED)
    view = search(find_space("mnasnet"), evaluator, settings, COUNTED, study_name="search_quality", storage=storage)
    assert view.best is not None
    return view.best.arch


def summary(done: dict[str, dict[str, float]], winner: str | None, data: str) -> dict[str, Any]:
    """Return the results so far, with versions and settings."""
    means = {arch: statistics.mean(by_seed.values()) for arch, by_seed in done.items() if by_seed}
    others = [mean for arch, mean in means.items() if arch != winner]
    return {
        "data": Path(data).name,
        "target": TARGET,
        "epochs": EPOCHS,
        "trials": TRIALS,
        "versions": {"torch": torch.__version__, "optuna": optuna.__version__, "python": platform.python_version()},
        "threads": 1,
        "winner": winner,
        "winner_macs": cost(parse_text(winner)).macs if winner else None,
        "winner_accuracy": means.get(winner) if winner else None,
        "random_median": statistics.median(others) if others else None,
        "random_trainings": sum(len(by_seed) for arch, by_seed in done.items() if arch != winner),
        "random_best": max(others, default=None),
        "random_worse_share": statistics.mean(m < means[winner] for m in others)
        if winner in means and others
        else None,
        "accuracies": done,
    }


def run(data: str, out: Path, randoms: int, seeds: int, workers: int) -> None:
    """Do the training runs that the result file lacks, and write it after each of them."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "result.json"
    before = json.loads(path.read_text()) if path.exists() else {"accuracies": {}, "winner": None}
    done: dict[str, dict[str, float]] = before["accuracies"]
    winner: str | None = before["winner"]

    def keep(arch: str, seed: int, accuracy: float) -> None:
        done.setdefault(arch, {})[str(seed)] = accuracy
        write_atomically(path, (json.dumps(summary(done, winner, data), indent=1) + "\n").encode())

    with ProcessPoolExecutor(workers) as pool:
        if winner is None:
            winner = pool.submit(find_winner, data, f"sqlite:///{out / 'study.db'}").result()
        archs = [winner, *random_architectures(randoms)]
        wanted = [(arch, seed) for seed in range(seeds) for arch in archs if str(seed) not in done.get(arch, {})]
        jobs = {pool.submit(train, data, arch, seed): (arch, seed) for arch, seed in wanted}
        for job in as_completed(jobs):
            keep(*jobs[job], job.result())
    print(json.dumps({k: v for k, v in summary(done, winner, data).items() if k != "accuracies"}, indent=1))


def main() -> None:
    """Read the options and run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--randoms", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    run(options.data, options.out, options.randoms, options.seeds, options.workers)


if __name__ == "__main__":
    main()
