"""Measure how well a supernet ranks networks of NAS-Bench-Macro, by Kendall's tau with complete training runs.

    python benchmarks/supernet.py --data "$NAS_TEST_DATA/cifar10_small" --table "$NAS_TEST_DATA/nasbench_macro.parquet"

The accuracies of the table are from training runs of 50 epochs on CIFAR-10 with three seeds. An interrupted training
run of the supernet continues. For comparison, the tau of the networks' MACs, which need no training, is printed too.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from gpu_parts.macro import choose
from scipy.stats import kendalltau

from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.data.load import load_images
from nas.evaluate.supernet.evaluator import METRICS, SupernetEvaluator
from nas.evaluate.supernet.recipe import OWN, SAMPLINGS, SupernetRecipe
from nas.evaluate.table.evaluator import read_table
from nas.space.files import find_space
from nas.train.recipe import Recipe

Z = 1.959964


def tau(true: Sequence[float], measured: Sequence[float]) -> dict[str, float]:
    """Return Kendall's tau-b with its 95% interval (Bonett & Wright 2000: Fisher's z, variance 0.437 / (n - 4))."""
    value = float(kendalltau(true, measured).statistic)
    half = Z * math.sqrt(0.437 / (len(true) - 4))
    low, high = (math.tanh(math.atanh(value) + side * half) for side in (-1, 1))
    return {name: round(number, 3) for name, number in (("tau", value), ("low", low), ("high", high))}


def measure(evaluator: SupernetEvaluator, networks: Sequence[tuple[Architecture, float]]) -> dict[str, Any]:
    """Train the supernet or read its weights, evaluate the networks, and compare."""
    evaluator.prepare()
    start = time.process_time(), time.monotonic()
    measured = [next(evaluator.evaluate(arch, 1)) for arch, _ in networks]
    processor, wall = time.process_time() - start[0], time.monotonic() - start[1]
    true = [accuracy for _, accuracy in networks]
    return {
        "supernet": tau(true, measured),
        "macs": tau(true, [float(cost(arch).macs) for arch, _ in networks]),
        "networks": len(networks),
        "accuracies": [round(min(measured), 3), round(max(measured), 3)],
        "seconds_a_verdict": round(wall / len(measured), 2),
        "processor_seconds_a_verdict": round(processor / len(measured), 2),
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
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    default = SupernetRecipe()
    training = attrs.evolve(default.training, learning_rate=options.learning_rate, batch_size=options.batch_size)
    evaluator = SupernetEvaluator(
        find_space("nasbench_macro"),
        load_images(options.data, resolution=options.resolution),
        folder=options.folder,
        recipe=SupernetRecipe(options.epochs, options.sampling, tuple(options.own), training),
        seed=options.seed,
        device=options.device,
        metric=options.verdict,
        notify=lambda message: print(message, f"({time.process_time():.0f} s of CPU time)", flush=True),
    )
    table = read_table(options.table, find_space("nasbench_macro"), "acc_mean", ("op*",))
    print(json.dumps(measure(evaluator, choose(table, options.networks)), indent=1))


if __name__ == "__main__":
    main()
