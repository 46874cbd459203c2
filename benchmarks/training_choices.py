"""What each choice of the proxy training costs or gains here: every variant in turn, step by step, in one run.

    python benchmarks/training_choices.py steps --arch efficientnet-b0 --compile --json steps.json
    python benchmarks/training_choices.py steps --cpu-time    # where other programs run too
    python benchmarks/training_choices.py average --data "$NAS_TEST_DATA/cifar10_small" --images 4000 --epochs 3 5

`steps` gives the time of a step, by image, over that of the usual training, on made-up images of 32 pixels. `average`
scores the last weights and their running averages, which do not change the training, side by side; `batches` compares
batch sizes.
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
from nas.data.augment import augment
from nas.data.base import ImageData, Images
from nas.data.load import load_images
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.models.build import build_model
from nas.models.start import start_quietly
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
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--arch", default="", help="a preset; a small network without it")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10, help="steps of each variant")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, by the processor's seconds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    given = parser.parse_args()
    found = {"torch": torch.__version__, "threads": torch.get_num_threads(), **PARTS[given.part](given)}
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def network(given: argparse.Namespace) -> Architecture:
    """What is trained."""
    return preset(given.arch) if given.arch else parse_text(SMALL)


def model_of(arch: Architecture, recipe: Recipe, device: str) -> nn.Module:
    """The network as the evaluator starts it."""
    model = build_model(recipe.adapt(arch.adapted(resolution=32, classes=10)))
    start_quietly(model)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def noise(count: int = 2048) -> ImageData:
    """Made-up images."""
    images = torch.randint(0, 256, (count, 3, 32, 32)).to(torch.uint8)
    part = Images(images, torch.randint(0, 10, (count,)))
    return ImageData("noise", tuple("0123456789"), part, part, None, (0.5,) * 3, (0.25,) * 3, "")


@attrs.frozen(eq=False)
class Contiguous(TrainingRun):
    """Images channel by channel in memory, as torch has them."""

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        return model(self.scaling(images.contiguous()))  # type: ignore[no-any-return]


@attrs.frozen(eq=False)
class FloatsFirst(TrainingRun):
    """Augments floats in place of bytes."""

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        shift = round(self.recipe.shift * self.data.resolution)
        return augment(self.scaling(images), flip=self.data.flip, shift=shift, generator=generator)

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        return model(images if images.is_floating_point() else self.scaling(images))  # type: ignore[no-any-return]


def steps(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step by image, over those of the usual training."""
    if given.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if given.cpu_time else time.perf_counter
    made = dict(variants(given))
    taken: dict[str, list[float]] = {name: [] for name in made}
    first = {name: timed(step, clock) for name, (step, _) in made.items()}
    for _ in range(given.repeats):
        for name, (step, images) in made.items():
            taken[name].append(timed(step, clock) / images)
    usual = median(taken["usual"])
    rows = {
        name: {"time": median(held) / usual, "least": min(held) / min(taken["usual"])} for name, held in taken.items()
    }
    return {"images_a_second": 1 / usual, "variants": rows, "first_step_s": first}


def timed(step: Step, clock: Callable[[], float]) -> float:
    """Seconds of one step; reading its result waits for the device."""
    begun = clock()
    result = step()
    if isinstance(result, Tensor):
        result.sum().item()
    return clock() - begun


def variants(given: argparse.Namespace) -> Iterator[tuple[str, tuple[Step, int]]]:
    """What is timed by name, and the images it takes."""
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
    yield "denormals flushed", (lambda: within(flushed, step), images)
    yield "matmul precision high", (lambda: within(rounded, step), images)
    if given.compile:
        compiled: Any = torch.compile(model_of(arch, recipe, given.device))
        yield "compiled", stepping(training(model=compiled))
    yield from validations(training())


def validations(of: TrainingRun) -> Iterator[tuple[str, tuple[Step, int]]]:
    """The same images validated by batches of several sizes."""
    for size in (100, 250, 500, 2000):
        yield f"validation by {size}", (lambda size=size: of.correct(slice(0, size)), size)  # type: ignore[misc]


def within(setting: Callable[[], Any], step: Step) -> object:
    """A step under a setting of torch's."""
    with setting():
        return step()


@contextmanager
def flushed() -> Iterator[None]:
    """Numbers next to nothing are nothing."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@contextmanager
def rounded() -> Iterator[None]:
    """Matrices may be multiplied in less than fp32."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def averages(given: argparse.Namespace) -> dict[str, Any]:
    """Accuracies after the last epoch: of the weights, and what running averages of them add."""
    data = load_images(given.data, resolution=32, images=given.images)
    return {f"{epochs} epochs": averaged(given, data, epochs) for epochs in given.epochs}


def averaged(given: argparse.Namespace, data: ImageData, epochs: int) -> dict[str, Any]:
    """Over all seeds."""
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
    """Accuracies by decay of one training; 0 is that of its weights."""
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
    """Accuracies after the last epoch by batch size, the learning rate with its square root."""
    data, usual = load_images(given.data, resolution=32, images=given.images), Recipe()
    found: dict[str, Any] = {}
    for size in BATCHES:
        rate = usual.learning_rate * (size / usual.batch_size) ** 0.5
        recipe = attrs.evolve(usual, batch_size=size, learning_rate=rate)
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
