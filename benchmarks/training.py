"""How much faster than a plain PyTorch loop is the proxy training? Both in turn, epoch by epoch, in one run.

    python benchmarks/training.py --data "$NAS_TEST_DATA/cifar10_small" --arch small --seeds 3 --json training.json
    python benchmarks/training.py --data "$NAS_TEST_DATA/cifar10_small" --arch efficientnet-b0 --images 2000 --threads 2
    python benchmarks/training.py --data "$NAS_TEST_DATA/cifar10_small" --cpu-time      # where other programs run too

The plain loop (`plain_training.py`) trains the same network on the same images with the same batch size, optimizer,
schedule and loss; it gets the number of loader workers that is fastest here. Images a second are those trained on, by
the time of an epoch with its validation. The proxy decodes all images once for a whole search; that is told apart.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
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
PROBED = 320  # images that the plain loop's number of workers is chosen by


def main() -> None:
    """Run it and print what was found."""
    given = arguments()
    if given.threads or given.cpu_time:
        torch.set_num_threads(given.threads or 1)
    clock = time.process_time if given.cpu_time else time.perf_counter
    device, begun = find_device(given.device), time.perf_counter()
    data = load_images(given.data, resolution=given.resolution, images=given.images)
    report: dict[str, Any] = surroundings(given, device) | {"seconds_to_load": time.perf_counter() - begun}
    parts = read_encoded(given.data, given.images)
    for name, arch in networks(given).items():
        recipe = Recipe(batch_size=given.batch_size)
        seconds = {} if given.cpu_time else seconds_by_workers(parts, data, recipe, device, arch)
        workers = min(seconds, key=seconds.__getitem__, default=0)
        found = compared(PlainLoop(parts, data, recipe, device, workers), arch, given.epochs, given.seeds, clock)
        report[name] = {"plain_workers": workers, "seconds_by_workers": seconds, **found}
        print(json.dumps({name: report[name]}, indent=1), flush=True)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="images, as nas search takes them; stored with their bytes")
    parser.add_argument(
        "--arch", action="append", default=[], help="a preset, small, or a file with an architecture's text"
    )
    parser.add_argument("--space", help="a network drawn from this space")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, help="to train on; all without it")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=Recipe().batch_size)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each side")
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument(
        "--cpu-time", action="store_true", help="by the processor's seconds, on one thread and without workers"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


def networks(given: argparse.Namespace) -> dict[str, Architecture]:
    """What is trained, by name."""
    found = {name: _network(name) for name in given.arch}
    if given.space or not found:
        space = find_space(given.space or "mnasnet")
        picks = space.sample(np.random.default_rng(0), 1)[0].tolist()
        found[f"a network of {given.space or 'mnasnet'}"] = space.from_picks(picks)
    return found


def _network(name: str) -> Architecture:
    if name in preset_names():
        return preset(name)
    return parse_text(SMALL if name == "small" else Path(name).read_text(encoding="utf-8"))


def surroundings(given: argparse.Namespace, device: str) -> dict[str, Any]:
    """What the figures depend on besides."""
    machine = this_machine(Device())
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else machine.cpu
    options = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "options": options}


def seconds_by_workers(
    parts: dict[str, Encoded], data: ImageData, recipe: Recipe, device: str, arch: Architecture
) -> dict[int, float]:
    """Seconds that the plain loop takes for a second epoch of some images, by its number of workers."""
    some = {part: Encoded(held.files[:PROBED], held.labels[:PROBED]) for part, held in parts.items()}
    seconds = {}
    for workers in WORKERS:
        epochs = PlainLoop(some, data, recipe, device, workers).epochs(arch, 2, 0)
        next(epochs)
        seconds[workers] = timed(epochs, time.perf_counter)[0]
    return seconds


def timed(epochs: Iterator[float], clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds of the next epoch, and the accuracy after it."""
    begun = clock()
    accuracy = next(epochs)
    return clock() - begun, accuracy


def compared(
    loop: PlainLoop, arch: Architecture, epochs: int, seeds: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Both trainings with every seed, an epoch of each in turn."""
    seconds: dict[str, list[float]] = {"proxy": [], "plain": []}
    accuracies: dict[str, list[float]] = {"proxy": [], "plain": []}
    for seed in range(seeds):
        evaluator = TrainEvaluator(loop.data, seed=seed, device=loop.device, recipe=loop.recipe)
        sides = {"proxy": evaluator.evaluate(arch, epochs), "plain": loop.epochs(arch, epochs, seed)}
        for epoch in range(epochs):
            last = {}
            for side in sorted(sides, reverse=bool((seed + epoch) % 2)):
                taken, last[side] = timed(sides[side], clock)
                seconds[side].append(taken)
        for side, accuracy in last.items():
            accuracies[side].append(accuracy)
    return summary(seconds, accuracies, len(loop.data.train))


def summary(seconds: dict[str, list[float]], accuracies: dict[str, list[float]], images: int) -> dict[str, Any]:
    """Medians with least and most, and what the accuracies differ by."""
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
    """Median, least and most."""
    return {"median": median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
