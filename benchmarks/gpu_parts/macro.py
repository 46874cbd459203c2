"""What the parts on NAS-Bench-Macro have in common: the networks, the images and the trained proxy."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gpu_parts.bench import Bench, Sizes
from nas.arch.spec import Architecture
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.recipe import Recipe

if TYPE_CHECKING:
    from nas.evaluate.table.evaluator import TableEvaluator

NETWORKS_SEED = 12345
# Four times the proxy's usual batch, since the small one leaves a GPU idle; for AdamW the learning rate grows with the
# square root of the batch (Malladi et al., arXiv 2205.10287).
RECIPE = Recipe(batch_size=128, learning_rate=6e-3)


@cache
def networks(bench: Bench, count: int) -> tuple[tuple[Architecture, float], ...]:
    """Return different networks of the table, with their mean accuracies after 50 epochs with three seeds."""
    return choose(bench.table(), count)


def choose(table: "TableEvaluator", count: int) -> tuple[tuple[Architecture, float], ...]:
    """Return random networks of a table, all different and always the same ones, with their accuracies."""
    rows = list(table.rows.items())
    chosen = np.random.default_rng(NETWORKS_SEED).choice(len(rows), min(count, len(rows)), replace=False)
    return tuple((rows[i][0], rows[i][1].accuracy) for i in chosen)


@cache
def proxy(bench: Bench) -> TrainEvaluator:
    """Return the trained proxy."""
    sizes: Sizes = bench.sizes
    data = bench.images("cifar10", sizes.resolution, sizes.proxy_images)
    return TrainEvaluator(data, bench.seed, bench.device, RECIPE)
