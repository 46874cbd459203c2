"""Compare the speed of the proxy training with a plain PyTorch loop; both train alternately, epoch by epoch.

    python benchmarks/training.py --data "$NAS_TEST_DATA/cifar10_small" --arch small --seeds 3 --json training.json
    python benchmarks/training.py --data "$NAS_TEST_DATA/cifar10_small" --arch efficientnet-b0 --images 2000 --threads 2
    python benchmarks/training.py --data "$NAS_TEST_DATA/cifar10_small" --cpu-time      # if other programs are running

The plain loop (`plain_training.py`) trains the same network on the same images with the same batch size, optimizer,
schedule and loss, and with the number of loader workers that is fastest on this machine. Images per second are training
images over the duration of an epoch, which includes validation. The proxy training decodes all images once for a whole
search; the duration of this is reported separately.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from plain_training import Encoded, PlainLoop, read_encoded
from training_choices import SMALL

from nas.arch.code import parse_text
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.data.load import load_images
from nas.device.machine import this_machine
from nas.device.spec import Device
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.space.files import find_space
from nas.train.device import find_device
from nas.train.recipe import Recipe

WORKERS = (0, 1, 2)
PROBED = 320  # number of images with which the number of loader workers is chosen


def main() -> None:
    """Run the comparison and print the results."""
    options = arguments()
    if options.threads or options.cpu_time:
        torch.set_num_threads(options.threads or 1)
    clock = time.process_time if options.cpu_time else time.perf_counter
    device, start = find_device(options.device), time.perf_counter()
    data = load_images(options.data, resolution=options.resolution, images=options.images)
    report: dict[str, Any] = environment(options, device) | {"seconds_to_load": time.perf_counter() - start}
    parts = read_encoded(options.data, options.images)
    for name, arch in networks(options).items():
        recipe = Recipe(batch_size=options.batch_size)
        seconds = {} if options.cpu_time else seconds_by_workers(parts, data, recipe, device, arch)
        workers = min(seconds, key=seconds.__getitem__, default=0)
        found = compare(PlainLoop(parts, data, recipe, device, workers), arch, options.epochs, options.seeds, clock)
        report[name] = {"plain_workers": workers, "seconds_by_workers": seconds, **found}
        print(json.dumps({name: report[name]}, indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="images, as `nas search --data` takes them, in encoded form")
    parser.add_argument(
        "--arch", action="append", default=[], help="preset, `small`, or file with the text of an architecture"
    )
    parser.add_argument("--space", help="search space from which a random network is drawn")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, help="number of training images; by default all")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=Recipe().batch_size)
    parser.add_argument("--seeds", type=int, default=1, help="number of training runs of each loop")
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int, help="number of threads of torch")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time, on one thread and without workers")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser.parse_args()


def networks(options: argparse.Namespace) -> dict[str, Architecture]:
    """Return the networks to train, by name."""
    found = {name: _network(name) for name in options.arch}
    if options.space or not found:
        space = find_space(options.space or "mnasnet")
        indices = space.sample(np.random.default_rng(0), 1)[0].tolist()
        found[f"a network of {options.space or 'mnasnet'}"] = space.from_indices(indices)
    return found


def _network(name: str) -> Architecture:
    if name in preset_names():
        return preset(name)
    return parse_text(SMALL if name == "small" else Path(name).read_text(encoding="utf-8"))


def environment(options: argparse.Namespace, device: str) -> dict[str, Any]:
    """Return the device, threads, version of torch and options, on which the results depend."""
    machine = this_machine(Device())
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else machine.cpu
    recorded = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "options": recorded}


def seconds_by_workers(
    parts: dict[str, Encoded],
    data: ImageData,
    recipe: Recipe,
    device: str,
    arch: Architecture,
    numbers: Sequence[int] = WORKERS,
) -> dict[int, float]:
    """Return the seconds of the plain loop for the second epoch on a few images, by number of workers."""
    some = {part: Encoded(held.files[:PROBED], held.labels[:PROBED]) for part, held in parts.items()}
    seconds = {}
    for workers in numbers:
        epochs = PlainLoop(some, data, recipe, device, workers).epochs(arch, 2, 0)
        next(epochs)
        seconds[workers] = time_epoch(epochs, time.perf_counter)[0]
    return seconds


def time_epoch(epochs: Iterator[float], clock: Callable[[], float]) -> tuple[float, float]:
    """Return the duration of the next epoch in seconds, and the accuracy after it."""
    start = clock()
    accuracy = next(epochs)
    return clock() - start, accuracy


def compare(loop: PlainLoop, arch: Architecture, epochs: int, seeds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Run both loops with every seed, alternately epoch by epoch."""
    seconds: dict[str, list[float]] = {"proxy": [], "plain": []}
    accuracies: dict[str, list[float]] = {"proxy": [], "plain": []}
    for seed in range(seeds):
        evaluator = TrainEvaluator(loop.data, seed=seed, device=loop.device, recipe=loop.recipe)
        sides = {"proxy": evaluator.evaluate(arch, epochs), "plain": loop.epochs(arch, epochs, seed)}
        for epoch in range(epochs):
            last = {}
            for side in sorted(sides, reverse=bool((seed + epoch) % 2)):
                taken, last[side] = time_epoch(sides[side], clock)
                seconds[side].append(taken)
        for side, accuracy in last.items():
            accuracies[side].append(accuracy)
    return summary(seconds, accuracies, len(loop.data.train))


def summary(seconds: dict[str, list[float]], accuracies: dict[str, list[float]], images: int) -> dict[str, Any]:
    """Return medians, minima and maxima of the speeds, and the differences of the accuracies."""
    ratios = [plain / proxy for plain, proxy in zip(seconds["plain"], seconds["proxy"], strict=True)]
    rates = {side: spread([images / each for each in held]) for side, held in seconds.items()}
    last = {side: {"mean": mean(held), "each": held} for side, held in accuracies.items()}
    gaps = [proxy - plain for proxy, plain in zip(accuracies["proxy"], accuracies["plain"], strict=True)]
    error = stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else None
    return {
        "times_faster": spread(ratios),
        "images_a_second": rates,
        "accuracy": last,
        "accuracy_gained": {"mean": mean(gaps), "standard_error": error},
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, the minimum and the maximum."""
    return {"median": median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
