"""Does a supernet rank networks as whole trainings do? Kendall's tau over networks of NAS-Bench-Macro.

    python benchmarks/supernet.py --data "$NAS_TEST_DATA/cifar10_small" --table "$NAS_TEST_DATA/nasbench_macro.parquet"

The table's accuracies are those of 50 epochs on CIFAR-10 with three seeds. A training that was stopped goes on. Beside
the accuracies' tau stands that of the networks' MACs, which need no training at all.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from scipy.stats import kendalltau

from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.data.load import load_images
from nas.evaluate.supernet.evaluator import METRICS, SupernetEvaluator
from nas.evaluate.supernet.recipe import OWN, SAMPLINGS, SupernetRecipe
from nas.evaluate.table.evaluator import read_table
from nas.space.files import find_space
from nas.train.recipe import Recipe

NETWORKS_SEED = 12345
Z = 1.959964


def tau(true: Sequence[float], said: Sequence[float]) -> dict[str, float]:
    """Kendall's tau-b with its 95% interval (Bonett & Wright 2000: Fisher's z with a variance of 0.437 / (n - 4))."""
    value = float(kendalltau(true, said).statistic)
    half = Z * math.sqrt(0.437 / (len(true) - 4))
    low, high = (math.tanh(math.atanh(value) + side * half) for side in (-1, 1))
    return {name: round(number, 3) for name, number in (("tau", value), ("low", low), ("high", high))}


def choose(table: str, count: int) -> list[tuple[Architecture, float]]:
    """Distinct networks of the table with their mean accuracies."""
    rows = read_table(table, find_space("nasbench_macro"), "acc_mean", ("op*",)).rows
    chosen = np.random.default_rng(NETWORKS_SEED).choice(len(rows), count, replace=False)
    known = list(rows.items())
    return [(known[i][0], known[i][1].accuracy) for i in chosen]


def measure(evaluator: SupernetEvaluator, networks: Sequence[tuple[Architecture, float]]) -> dict[str, Any]:
    """Train or read the weights, score the networks, and compare."""
    evaluator.prepare()
    begun = time.process_time(), time.monotonic()
    said = [next(evaluator.evaluate(arch, 1)) for arch, _ in networks]
    processor, wall = time.process_time() - begun[0], time.monotonic() - begun[1]
    true = [accuracy for _, accuracy in networks]
    return {
        "supernet": tau(true, said),
        "macs": tau(true, [float(cost(arch).macs) for arch, _ in networks]),
        "networks": len(networks),
        "accuracies": [round(min(said), 3), round(max(said), 3)],
        "seconds_a_verdict": round(wall / len(said), 2),
        "processor_seconds_a_verdict": round(processor / len(said), 2),
        "described": dict(evaluator.describe()),
    }


def main() -> None:
    """Read the options, train, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--resolution", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=SupernetRecipe().epochs)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sampling", choices=SAMPLINGS, default=SupernetRecipe().sampling)
    parser.add_argument("--own", nargs="+", choices=OWN, default=list(SupernetRecipe().own))
    parser.add_argument("--verdict", choices=METRICS, default="accuracy")
    parser.add_argument("--learning-rate", type=float, default=Recipe().learning_rate)
    parser.add_argument("--batch-size", type=int, default=SupernetRecipe().training.batch_size)
    parser.add_argument("--folder", type=Path, default=Path("nas-supernets"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    usual = SupernetRecipe()
    training = attrs.evolve(usual.training, learning_rate=given.learning_rate, batch_size=given.batch_size)
    evaluator = SupernetEvaluator(
        find_space("nasbench_macro"),
        load_images(given.data, resolution=given.resolution),
        folder=given.folder,
        recipe=SupernetRecipe(given.epochs, given.sampling, tuple(given.own), training),
        seed=given.seed,
        device=given.device,
        metric=given.verdict,
        notify=lambda message: print(message, f"({time.process_time():.0f} s of processor)", flush=True),
    )
    print(json.dumps(measure(evaluator, choose(given.table, given.networks)), indent=1))


if __name__ == "__main__":
    main()
