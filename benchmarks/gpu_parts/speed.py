"""Training speed beside a plain PyTorch loop, and the share of time that the card is busy."""

import subprocess
import time
from collections.abc import Callable, Mapping
from statistics import median
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from plain_training import PlainLoop
from training import compare, seconds_by_workers, spread

from gpu_parts.bench import Bench
from gpu_parts.plan import PARTS
from nas.arch.presets import preset
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.loop import TrainingRun
from nas.train.precision import PRECISIONS, resolve_precision
from nas.train.recipe import Recipe
from nas.train.seeded import seeded

# Data sets of the small and of the large images.
SMALL, LARGE = "cifar10", "hand_digits"
WORKERS = (2, 8)  # numbers of loader workers of which the plain loop takes the faster one
EPOCHS = 3
STEPS, REPEATS = 20, 5  # steps that are timed together, and how often
# It says in which share of its last sampling period, of at most a second, the card ran a kernel.
_WATCH = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


def _measure(name: str) -> Callable[[Bench], dict[str, Any]]:
    network, side, batch = name.rsplit("-", 2)
    is_large = side == "128px"

    def measure(bench: Bench) -> dict[str, Any]:
        resolution = bench.sizes.photo if is_large else bench.sizes.resolution
        source = LARGE if is_large else SMALL
        data = bench.images(source, resolution, bench.sizes.images, bench.sizes.speed_val)
        recipe = Recipe(batch_size=min(int(batch.removeprefix("batch")), len(data.train) // 4))
        parts = bench.encoded(source, bench.sizes.images, bench.sizes.speed_val)
        arch = preset(network)
        seconds = seconds_by_workers(parts, data, recipe, bench.device, arch, _workers(bench))
        loop = PlainLoop(parts, data, recipe, bench.device, min(seconds, key=seconds.__getitem__))
        found = compare(loop, arch, EPOCHS if bench.is_cuda else 1, 1, time.perf_counter)
        return {
            "images": len(data.train),
            "val_images": len(data.val),
            "resolution": resolution,
            "batch_size": recipe.batch_size,
            "precision": resolve_precision(bench.device, recipe.precision),
            "plain_workers": loop.workers,
            "seconds_by_workers": {str(workers): each for workers, each in seconds.items()},
            "steps": measure_steps(TrainEvaluator(data, bench.seed, bench.device, recipe), network, bench),
            **found,
        }

    return measure


def _workers(bench: Bench) -> tuple[int, ...]:
    return WORKERS if bench.is_cuda else (0,)


def measure_steps(evaluator: TrainEvaluator, network: str, bench: Bench) -> dict[str, Any]:
    """Compare recorded training steps with the same steps that are not recorded, in turn, and watch the card.

    "times_faster" is the ratio of both durations, and "busy_share" the share of the time in which the card computes
    while recorded steps run.
    """
    arch = evaluator._adapted(preset(network))
    precision = PRECISIONS[resolve_precision(bench.device, evaluator.recipe.precision)]
    with seeded(bench.seed, bench.device, tf32=precision.tf32) as generator:
        recorded = evaluator._start(arch, 1, evaluator.recipe)
        with patch("nas.train.loop.can_record", return_value=False):
            computed = evaluator._start(arch, 1, evaluator.recipe)
        batch = recorded.shuffled_batches(generator)[0]

        def work(run: TrainingRun) -> float:
            bench.synchronize()
            start = time.perf_counter()
            for _ in range(STEPS if bench.is_cuda else 1):
                run.step(batch, 1e-3, generator)
            bench.synchronize()
            return time.perf_counter() - start

        work(recorded), work(computed)
        pairs = [(work(recorded), work(computed)) for _ in range(REPEATS)]
        busy = _busy_share(lambda: work(recorded)) if bench.is_cuda else None
    steps = STEPS if bench.is_cuda else 1
    return {
        "recorded_milliseconds": spread([1000 * each / steps for each, _ in pairs]),
        "computed_milliseconds": spread([1000 * each / steps for _, each in pairs]),
        "times_faster": spread([computed / recorded for recorded, computed in pairs]),
        "busy_share": busy,
    }


def _busy_share(work: Callable[[], object]) -> float | None:
    """Return the share of the last moments in which the card computed, while it works; None if it is not known."""
    shares = []
    for _ in range(REPEATS):
        try:
            with subprocess.Popen(_WATCH, stdout=subprocess.PIPE, text=True) as watch:  # noqa: S603
                while watch.poll() is None:
                    work()
                said = watch.stdout.read() if watch.stdout else ""
            shares.append(float(said.split()[0]) / 100)
        except (OSError, ValueError, IndexError):
            return None
    return median(shares)


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType(
    {name: _measure(name) for part in PARTS if part.name == "speed" for name in part.items}
)
