"""The trained proxy on networks of NAS-Bench-Macro: its accuracies beside those of complete training runs."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from gpu_parts.bench import Bench
from gpu_parts.macro import networks, proxy
from gpu_parts.plan import NETWORKS
from nas.arch.code import format_text


def evaluate(index: int, bench: Bench) -> dict[str, Any]:
    """Return the accuracy of one network after the proxy's epochs, its true accuracy and the duration."""
    arch, true = networks(bench, bench.sizes.networks)[index]
    evaluator = proxy(bench)
    start = time.perf_counter()
    *_, accuracy = evaluator.evaluate(arch, bench.sizes.epochs)
    return {
        "accuracy": accuracy,
        "true": true,
        "evaluation_seconds": time.perf_counter() - start,
        "architecture": format_text(arch),
        "images": len(evaluator.data.train),
        "val_images": len(evaluator.data.val),
        "epochs": bench.sizes.epochs,
        "resolution": bench.sizes.resolution,
        "batch_size": evaluator.recipe.batch_size,
    }


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType(
    {f"network-{i:03}": partial(evaluate, i) for i in range(NETWORKS)}
)
