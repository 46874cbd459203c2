"""Training speed beside a plain PyTorch loop, and the share of time that the card is busy."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from plain_training import PlainLoop
from training import compare, seconds_by_workers

from gpu_parts.bench import Bench
from gpu_parts.plan import PARTS
from nas.arch.presets import preset
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.models.build import build_model
from nas.train.loop import TrainingRun
from nas.train.precision import PRECISIONS, resolve_precision
from nas.train.recipe import Recipe
from nas.train.seeded import seeded

# Data sets of the small and of the large images.
SMALL, LARGE = "cifar10", "hand_digits"
WORKERS = (2, 8)  # numbers of loader workers of which the plain loop takes the faster one
EPOCHS = 3


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
            "busy_share": busy_share(TrainEvaluator(data, bench.seed, bench.device, recipe), network, bench),
            **found,
        }

    return measure


def _workers(bench: Bench) -> tuple[int, ...]:
    return WORKERS if bench.is_cuda else (0,)


def busy_share(evaluator: TrainEvaluator, network: str, bench: Bench) -> float | None:
    """Return the share of a training step's time in which the card computes; None where there is no card.

    The duration of the kernels is measured with a profiler, which slows the host down, and the duration of the step
    without it.
    """
    if not bench.is_cuda:
        return None
    data, recipe = evaluator.data, evaluator.recipe
    arch = recipe.adapt(preset(network).adapted(resolution=data.resolution, classes=data.num_classes))
    precision = PRECISIONS[resolve_precision(bench.device, recipe.precision)]
    with seeded(bench.seed, bench.device, tf32=precision.tf32) as generator:
        model = build_model(arch).to(bench.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        run = TrainingRun(data, model, recipe, 1, bench.device)
        batch, steps = run.shuffled_batches(generator)[0], 20

        def work() -> float:
            bench.synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                run.step(batch, 1e-3, generator)
            bench.synchronize()
            return time.perf_counter() - start

        work()
        seconds = min(work() for _ in range(3))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            work()
    kernels = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
    return float(kernels / seconds)


ITEMS: Mapping[str, Callable[[Bench], dict[str, Any]]] = MappingProxyType(
    {name: _measure(name) for part in PARTS if part.name == "speed" for name in part.items}
)
