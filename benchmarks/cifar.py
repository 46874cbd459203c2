"""Train MobileNetV2 on CIFAR-10 by the recipe `fast`, beside a plain PyTorch script of 200 epochs.

    scripts/gpu-bundle gpu-bundle
    python benchmarks/cifar.py plain --data gpu-bundle/cifar10.npz --out cifar.jsonl --epochs 200
    python benchmarks/cifar.py fast --data gpu-bundle/cifar10.npz --out cifar.jsonl
    python benchmarks/cifar.py speed --data gpu-bundle/cifar10.npz --out cifar.jsonl

Both train on all 50,000 training images, and the accuracy on the 10,000 test images is computed once, after the last
epoch. The network has stride 1 in the two first of its five steps of stride 2: 88M MACs. The plain script is what many
people write for CIFAR-10: images on the GPU, padded crops and mirrored images, SGD with Nesterov momentum, cosine, bf16
autocast and channels last. `speed` trains short runs of both in alternation, while nothing else uses the GPU, since
`plain` and `fast` may run at once. Every command adds one line of JSON to the file.
"""

import argparse
import io
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from packed_images import read
from PIL import Image
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.nn import functional

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.data.base import ImageData, Images, mean_and_std
from nas.models.build import build_model
from nas.models.start import zero_init_residual
from nas.train.loop import TrainingRun
from nas.train.recipes.files import load_recipe
from nas.train.recipes.schema import TrainingRecipe
from nas.train.seeded import epoch_seed, seeded

RESOLUTION = 32
PAD = 4  # pixels around an image from which the plain script crops
BATCH, RATE, DECAY, WARM_UP = 512, 0.2, 5e-4, 5  # images, learning rate, weight decay and epochs of the plain script
SPEED_EPOCHS, ROUNDS = 2, 3


def cifar_network() -> Architecture:
    """Return MobileNetV2 with stride 1 in the two first of its five steps of stride 2."""
    arch = preset("mobilenetv2").adapted(resolution=RESOLUTION, classes=10)
    stages = (arch.stages[0], attrs.evolve(arch.stages[1], stride=1), *arch.stages[2:])
    return attrs.evolve(arch, stem=attrs.evolve(arch.stem, stride=1), stages=stages)


def load(path: Path) -> ImageData:
    """Return all training images, and the test images in place of a validation split, which neither loop reads."""
    packed = read(path)
    parts = {split: Images(_decode(packed.files[split]), packed.labels[split]) for split in ("train", "test")}
    mean, std = mean_and_std(parts["train"].images)
    return ImageData("cifar10", packed.classes, parts["train"], parts["test"], None, mean, std, "")


def _decode(files: Sequence[bytes]) -> Tensor:
    arrays = [np.array(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


@frozen(eq=False)
class Plain:
    """A training loop in plain PyTorch, with all images on the device.

    Attributes:
        data: Images.
        device: Device that trains.
        epochs: Number of epochs.
        seed: Seed of the weights, the order of the images and their augmentation.
    """

    data: ImageData
    device: str
    epochs: int
    seed: int

    def start(self) -> "PlainState":
        """Return the network with its optimizer, before the first epoch."""
        torch.manual_seed(self.seed)
        model = build_model(cifar_network())
        model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        images = self._normalize(self.data.train.images).to(self.device)
        padded = functional.pad(images, (PAD,) * 4).contiguous(memory_format=torch.channels_last)
        return PlainState(model, optimizer, scheduler, padded, self.data.train.labels.to(self.device))

    def _rate(self, epoch: int) -> float:
        """Return the factor of the learning rate: a linear warm-up and half a cosine."""
        warm_up = min(WARM_UP, self.epochs // 10)
        if epoch < warm_up:
            return (epoch + 1) / (warm_up + 1)
        return 0.5 * (1 + math.cos(math.pi * (epoch - warm_up) / (self.epochs - warm_up)))

    def _normalize(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.data.mean, self.data.std))
        return (images.float() / 255 - mean) / std

    def epoch(self, state: "PlainState") -> None:
        """Train one epoch; the images of the last, incomplete batch wait for another epoch."""
        state.model.train()
        order = torch.randperm(len(state.labels), device=self.device)
        for chosen in torch.split(order, BATCH)[: len(order) // BATCH]:
            images = self._crop(state.padded, chosen)
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                logits = state.model(images)
            loss = functional.cross_entropy(logits.float(), state.labels[chosen])
            state.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimizer.step()
        state.scheduler.step()

    def _crop(self, padded: Tensor, chosen: Tensor) -> Tensor:
        """Return a random crop of each image `(B, 3, 32, 32)`, mirrored with a probability of one half."""
        side, count = RESOLUTION, len(chosen)
        rows = torch.randint(2 * PAD + 1, (count, 1), device=self.device) + torch.arange(side, device=self.device)
        columns = torch.randint(2 * PAD + 1, (count, 1), device=self.device) + torch.arange(side, device=self.device)
        columns = torch.where(torch.rand(count, 1, device=self.device) < 0.5, columns.flip(1), columns)
        crops = padded.permute(0, 2, 3, 1)[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        return crops.permute(0, 3, 1, 2)

    @torch.inference_mode()
    def correct(self, state: "PlainState") -> int:
        """Return how many test images are classified correctly."""
        state.model.eval()
        images, labels = self._normalize(self.data.val.images), self.data.val.labels
        found = 0
        for start in range(0, len(labels), 1000):
            batch = images[start : start + 1000].to(self.device, memory_format=torch.channels_last)
            found += int((state.model(batch).argmax(1).cpu() == labels[start : start + 1000]).sum())
        return found


@frozen(eq=False)
class PlainState:
    """Hold what the plain loop changes, and its images with their padding and labels on the device."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    padded: Tensor
    labels: Tensor


@frozen(eq=False)
class Fast:
    """The training loop of `nas` with the recipe `fast`.

    Attributes:
        data: Images.
        device: Device that trains.
        recipe: Recipe.
        seed: Seed of the weights, the order of the images and their augmentation.
    """

    data: ImageData
    device: str
    recipe: TrainingRecipe
    seed: int

    def start(self) -> TrainingRun:
        """Return the training run before its first epoch."""
        with seeded(epoch_seed(self.seed, 0), self.device, tf32=True):
            model = build_model(self.recipe.adapt(cifar_network()))
            if self.recipe.quiet_start:
                zero_init_residual(model)
            model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return TrainingRun(self.data, model, self.recipe, self.recipe.epochs, self.device)

    def epoch(self, run: TrainingRun, number: int) -> None:
        """Train one epoch."""
        with seeded(epoch_seed(self.seed, number), self.device, tf32=True) as generator:
            run.epoch(number, generator)


def synchronize(device: str) -> None:
    """Wait until the device has done all work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def train_plain(given: argparse.Namespace, data: ImageData) -> dict[str, Any]:
    """Train by the plain script."""
    plain = Plain(data, given.device, given.epochs or 200, given.seed)
    began = time.perf_counter()
    state = plain.start()
    for number in range(1, plain.epochs + 1):
        plain.epoch(state)
        report(number, plain.epochs, began, given.device)
    synchronize(given.device)
    seconds = time.perf_counter() - began
    return {"epochs": plain.epochs, "seconds": seconds, **accuracy(plain.correct(state), data)}


def train_fast(given: argparse.Namespace, data: ImageData) -> dict[str, Any]:
    """Train by the recipe."""
    recipe = load_recipe(given.recipe)
    recipe = attrs.evolve(recipe, epochs=given.epochs or recipe.epochs)
    fast = Fast(data, given.device, recipe, given.seed)
    began = time.perf_counter()
    run = fast.start()
    for number in range(1, recipe.epochs + 1):
        fast.epoch(run, number)
        report(number, recipe.epochs, began, given.device)
    synchronize(given.device)
    seconds = time.perf_counter() - began
    found = accuracy(int(run.all_correct().sum()), data)
    return {"recipe": given.recipe, "epochs": recipe.epochs, "seconds": seconds, **found}


def report(number: int, epochs: int, began: float, device: str) -> None:
    """Print how far a run is, now and then."""
    if number % 10 == 0 or number == 1:
        synchronize(device)
        print(f"epoch {number} of {epochs}: {time.perf_counter() - began:.0f} s", flush=True)


def measure_speed(given: argparse.Namespace, data: ImageData) -> dict[str, Any]:
    """Measure the seconds of epochs of both loops in alternation."""
    plain, seconds = Plain(data, given.device, 200, given.seed), dict[str, list[float]](plain=[], fast=[])
    fast = Fast(data, given.device, load_recipe(given.recipe), given.seed)
    state, run, number = plain.start(), fast.start(), 0

    def of_plain() -> None:
        plain.epoch(state)

    def of_fast() -> None:
        nonlocal number
        number += 1
        fast.epoch(run, number)

    of_plain()  # warms up
    of_fast()
    for _ in range(ROUNDS):
        for name, work in (("plain", of_plain), ("fast", of_fast)):
            synchronize(given.device)
            began = time.perf_counter()
            for _ in range(SPEED_EPOCHS):
                work()
            synchronize(given.device)
            seconds[name].append((time.perf_counter() - began) / SPEED_EPOCHS)
    return {"seconds_per_epoch": seconds, "batch_sizes": {"plain": BATCH, "fast": fast.recipe.batch_size}}


def accuracy(correct: int, data: ImageData) -> dict[str, Any]:
    """Return the accuracy on the test images with its 95% interval of Wilson."""
    interval = binomtest(correct, len(data.val)).proportion_ci(method="wilson")
    ends = [round(float(end), 4) for end in (interval.low, interval.high)]
    return {"accuracy": correct / len(data.val), "interval": ends}


VERBS = {"plain": train_plain, "fast": train_fast, "speed": measure_speed}


def main() -> None:
    """Add one line of JSON to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--data", type=Path, required=True, help="file cifar10.npz of scripts/gpu-bundle")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, help="default: 200 for plain, those of the recipe for fast")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--images", type=int, help="number of images of each split, to find mistakes; default: all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = load(given.data)
    if given.images:
        parts = (Images(part.images[: given.images], part.labels[: given.images]) for part in (data.train, data.val))
        train, val = parts
        data = attrs.evolve(data, train=train, val=val)
    described = {"loop": given.verb, "seed": given.seed, "macs": cost(cifar_network()).macs}
    found = described | VERBS[given.verb](given, data)
    card = torch.cuda.get_device_name() if given.device.startswith("cuda") else "cpu"
    line = json.dumps({**found, "device": card, "torch": torch.__version__})
    print(line)
    with given.out.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
