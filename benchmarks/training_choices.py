"""Measure the effect of each choice of the proxy training; all variants take turns, step by step, in one run.

    python benchmarks/training_choices.py steps --arch efficientnet-b0 --compile --json steps.json
    python benchmarks/training_choices.py steps --cpu-time    # if other programs are running
    python benchmarks/training_choices.py average --data "$NAS_TEST_DATA/cifar10_small" --images 4000 --epochs 3 5

`steps` measures the duration of a training step per image, relative to the default training, on random images of 32
pixels. `average` compares the accuracy of the last weights with that of running averages of the weights, which do not
change the training. `batches` compares batch sizes.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.data.augment import augment_with_flips
from nas.data.base import ImageData, Images
from nas.data.load import load_images
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.models.build import build_model
from nas.models.start import zero_init_residual
from nas.train.average import WeightAverage
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe

SMALL = """net resolution=32 classes=10 act=relu
stem conv k3 s2 c16
mbconv r2 k3 s2 e3 c24
mbconv r2 k3 s2 e3 c48
head conv c128"""
DECAYS = (0.9, 0.99, 0.999)
BATCHES = (16, 32, 64, 128)
Step = Callable[[], object]


def main() -> None:
    """Run the part that is asked for, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--arch", default="", help="preset; by default a small network")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10, help="number of steps of each variant")
    parser.add_argument("--compile", action="store_true", help="include torch.compile")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time, on one thread")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    found = {"torch": torch.__version__, "threads": torch.get_num_threads(), **PARTS[given.part](given)}
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def network(given: argparse.Namespace) -> Architecture:
    """Return the network to train."""
    return preset(given.arch) if given.arch else parse_text(SMALL)


def model_of(arch: Architecture, recipe: Recipe, device: str) -> nn.Module:
    """Return the torch module with the initial weights of the proxy training."""
    model = build_model(recipe.adapt(arch.adapted(resolution=32, classes=10)))
    zero_init_residual(model)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def noise(count: int = 2048) -> ImageData:
    """Return random images."""
    images = torch.randint(0, 256, (count, 3, 32, 32)).to(torch.uint8)
    part = Images(images, torch.randint(0, 10, (count,)))
    return ImageData("noise", tuple("0123456789"), part, part, None, (0.5,) * 3, (0.25,) * 3, "")


@attrs.frozen(eq=False)
class Contiguous(TrainingRun):
    """Training with channels first in memory, the default of torch."""

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        return model(self.scaling(images.contiguous()))  # type: ignore[no-any-return]


@attrs.frozen(eq=False)
class FloatsFirst(TrainingRun):
    """Training that augments floats instead of bytes."""

    def _augment(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        shift = round(self.recipe.shift * self.data.resolution)
        return augment_with_flips(self.scaling(images), flip=self.data.flip, shift=shift, generator=generator)

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        return model(images if images.is_floating_point() else self.scaling(images))  # type: ignore[no-any-return]


def steps(given: argparse.Namespace) -> dict[str, Any]:
    """Return the duration of a step per image, relative to the default training."""
    if given.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if given.cpu_time else time.perf_counter
    steps_by_variant = dict(variants(given))
    taken: dict[str, list[float]] = {name: [] for name in steps_by_variant}
    first = {name: time_step(step, clock) for name, (step, _) in steps_by_variant.items()}
    for _ in range(given.repeats):
        for name, (step, images) in steps_by_variant.items():
            taken[name].append(time_step(step, clock) / images)
    default = median(taken["usual"])
    rows = {
        name: {"time": median(held) / default, "least": min(held) / min(taken["usual"])} for name, held in taken.items()
    }
    return {"images_a_second": 1 / default, "variants": rows, "first_step_s": first}


def time_step(step: Step, clock: Callable[[], float]) -> float:
    """Return the seconds of one step; reading the result waits for the device."""
    start = clock()
    result = step()
    if isinstance(result, Tensor):
        result.sum().item()
    return clock() - start


def variants(given: argparse.Namespace) -> Iterator[tuple[str, tuple[Step, int]]]:
    """Yield the name of each variant, with its step and the number of images of the step."""
    arch, data, recipe = network(given), noise(), Recipe()

    def training(kind: type[TrainingRun] = TrainingRun, model: nn.Module | None = None, **changed: Any) -> TrainingRun:
        asked = attrs.evolve(recipe, **changed)
        return kind(data, model or model_of(arch, asked, given.device), asked, 1, given.device)

    def stepping(of: TrainingRun) -> tuple[Step, int]:
        generator = torch.Generator().manual_seed(0)
        batch = of.shuffled_batches(generator)[0]
        return lambda: of.step(batch, 1e-3, generator), len(batch)

    yield "usual", stepping(training())
    plain = model_of(arch, recipe, given.device).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    yield "channels first", stepping(training(Contiguous, plain))
    yield "floats augmented", stepping(training(FloatsFirst))
    for precision in ("bf16", "fp16"):
        yield precision, stepping(training(precision=precision))
    yield "weights averaged", stepping(training(ema=0.99))
    for batch_size in (64, 128, 256):
        yield f"batch {batch_size}", stepping(training(batch_size=batch_size))
    for name, options in {
        "optimizer by parameter": {"foreach": False},
        "optimizer in lists": {"foreach": True},
    }.items():
        other = training()
        groups = [{**group, "fused": False, **options} for group in other.optimizer.param_groups]
        object.__setattr__(other, "optimizer", torch.optim.AdamW(groups))
        yield name, stepping(other)
    step, images = stepping(training())
    yield "denormals flushed", (lambda: run_within(denormals_flushed, step), images)
    yield "matmul precision high", (lambda: run_within(less_precise_products, step), images)
    if given.compile:
        compiled: Any = torch.compile(model_of(arch, recipe, given.device))
        yield "compiled", stepping(training(model=compiled))
    yield from validations(training())


def validations(of: TrainingRun) -> Iterator[tuple[str, tuple[Step, int]]]:
    """Yield steps that validate the same images with several batch sizes."""
    for size in (100, 250, 500, 2000):
        yield f"validation by {size}", (lambda size=size: of.correct(slice(0, size)), size)  # type: ignore[misc]


def run_within(setting: Callable[[], Any], step: Step) -> object:
    """Run a step under a setting of torch."""
    with setting():
        return step()


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Flush denormal numbers to zero inside the context."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@contextmanager
def less_precise_products() -> Iterator[None]:
    """Allow matrix products with less precision than fp32 inside the context."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def averages(given: argparse.Namespace) -> dict[str, Any]:
    """Return accuracies after the last epoch, and what running averages of the weights add to them."""
    data = load_images(given.data, resolution=32, images=given.images)
    return {f"{epochs} epochs": averaged(given, data, epochs) for epochs in given.epochs}


def averaged(given: argparse.Namespace, data: ImageData, epochs: int) -> dict[str, Any]:
    """Return the accuracies and the gains of all seeds, for one number of epochs."""
    rows = [trained(network(given), data, epochs, seed, given.device) for seed in range(given.seeds)]
    improvements = {decay: [row[decay] - row[0.0] for row in rows] for decay in DECAYS}
    return {
        "accuracy": [row[0.0] for row in rows],
        "gained": {
            str(decay): {"mean": mean(held), "standard_error": stdev(held) / len(held) ** 0.5, "each": held}
            for decay, held in improvements.items()
        },
    }


def trained(arch: Architecture, data: ImageData, epochs: int, seed: int, device: str) -> dict[float, float]:
    """Return the accuracies of one training run by decay; decay 0 stands for the weights themselves."""
    torch.manual_seed(seed)
    training = TrainingRun(data, model_of(arch, Recipe(), device), Recipe(), epochs, device)
    kept = {decay: WeightAverage(training.model, decay) for decay in DECAYS}

    def follow(_step: int, _steps: int, _loss: float) -> None:
        for average in kept.values():
            average.update(training.model)

    object.__setattr__(training, "on_batch", follow)
    for epoch in range(1, epochs + 1):
        training.epoch(epoch, torch.Generator().manual_seed(1000 * seed + epoch))
    found = {0.0: training.validate()}
    for decay, average in kept.items():
        object.__setattr__(training, "average", average)
        found[decay] = training.validate()
    return found


def batches(given: argparse.Namespace) -> dict[str, Any]:
    """Return accuracies after the last epoch by batch size; the learning rate grows with its square root."""
    data, default = load_images(given.data, resolution=32, images=given.images), Recipe()
    found: dict[str, Any] = {}
    for size in BATCHES:
        rate = default.learning_rate * (size / default.batch_size) ** 0.5
        recipe = attrs.evolve(default, batch_size=size, learning_rate=rate)
        evaluators = [
            TrainEvaluator(data, seed=seed, device=given.device, recipe=recipe) for seed in range(given.seeds)
        ]
        for epochs in given.epochs:
            held = [list(each.evaluate(network(given), epochs))[-1] for each in evaluators]
            error = stdev(held) / len(held) ** 0.5
            found[f"{size}, {epochs} epochs"] = {"mean": mean(held), "standard_error": error, "each": held}
    return found


PARTS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "steps": steps,
    "average": averages,
    "batches": batches,
}

if __name__ == "__main__":
    main()
