"""A supernet on NAS-Bench-Macro: its training, which continues after an end, and its ranking of networks."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from gpu_parts.bench import Bench, NeedsError
from gpu_parts.macro import networks
from nas.evaluate.supernet.evaluator import SupernetEvaluator
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.space.files import find_space


def _evaluator(bench: Bench) -> SupernetEvaluator:
    default = SupernetRecipe()
    training = attrs.evolve(default.training, batch_size=bench.sizes.supernet_batch, learning_rate=6e-3)
    recipe = attrs.evolve(default, epochs=bench.sizes.supernet_epochs, training=training)
    data = bench.images("cifar10", bench.sizes.resolution, None if bench.is_cuda else bench.sizes.images)
    return SupernetEvaluator(
        find_space("nasbench_macro"),
        data,
        bench.out / "supernet",
        recipe,
        bench.seed,
        bench.device,
        notify=lambda message: print(f"  {message}", flush=True),
    )


def train(bench: Bench) -> dict[str, Any]:
    """Train the supernet; its weights are saved after every epoch, from which the same command continues."""
    bench.table()  # without the accuracies the training would be of no use
    evaluator = _evaluator(bench)
    evaluator.prepare()
    return {
        "training_seconds": evaluator.seconds_prepared(),
        "epochs": evaluator.recipe.epochs,
        "images": len(evaluator.data.train),
        "resolution": evaluator.data.resolution,
        "batch_size": evaluator.recipe.training.batch_size,
    }


def rank(bench: Bench) -> dict[str, Any]:
    """Return the accuracy of every network with the supernet's weights, beside its true accuracy."""
    evaluator = _evaluator(bench)
    if evaluator.seconds_to_prepare():
        raise NeedsError("the trained supernet, which the item before makes")
    known = networks(bench, bench.sizes.networks)
    start = time.perf_counter()
    accuracies = [next(evaluator.evaluate(arch, 1)) for arch, _ in known]
    return {
        "accuracies": accuracies,
        "true": [true for _, true in known],
        "evaluation_seconds": (time.perf_counter() - start) / len(known),
        "training_seconds": evaluator.seconds_prepared(),
    }


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType({"training": train, "ranking": rank})
