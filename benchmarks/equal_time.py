"""Compare the recipe `fast` with a plain PyTorch loop that trains for as many CPU seconds.

    python benchmarks/equal_time.py --data "$NAS_TEST_DATA/cifar10_small" --seconds 300 --seeds 3 --out equal_time.jsonl
    python benchmarks/equal_time.py --summarize equal_time.jsonl

Each loop first measures its steps and then trains for as many as fit into the time, so that its learning rate falls to
0 at the end; `fast` trains whole epochs. All use one thread, and the time is that of the CPU, including that of loading
and of decoding images; the machine may have other work. The plain loop decodes and augments image by image, and trains
with SGD, Nesterov momentum .9, weight decay 5e-4, a learning rate of .1 for batches of 128, a warm-up, and half a
cosine. It trains MobileNetV2 with strides for small images, which `fast` trains too, and ResNet-18. The accuracy is
that on the test split, which is used once, at the end.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice, repeat
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

import attrs
import torch
from attrs import frozen
from cifar import RESOLUTION, Fast, accuracy, cifar_network, load
from packed_images import Packed, pack, read
from plain_training import Encoded, Pictures, PlainConv
from scipy import stats
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvStem
from nas.cost.analytic import cost
from nas.data.base import ImageData
from nas.models.blocks import Conv
from nas.models.build import build_model
from nas.train.recipes.files import load_recipe

BATCH, RATE, DECAY, SHIFT, WARM_UP = 128, 0.1, 5e-4, 4, 0.1
PROBED = 1280  # images by which the duration of an epoch is estimated


def resnet_18() -> Architecture:
    """Return ResNet-18 for small images: its stem is a convolution of stride 1, and it has no pooling at its start."""
    arch = preset("resnet-18").adapted(resolution=RESOLUTION, classes=10)
    return attrs.evolve(arch, stem=ConvStem(64, kernel=3, stride=1))


NETWORKS: Mapping[str, Architecture] = MappingProxyType({"mobilenetv2": cifar_network(), "resnet-18": resnet_18()})


@frozen(eq=False)
class Plain:
    """A plain loop: one image is decoded and augmented at a time, in fp32 and torch's default memory layout.

    Attributes:
        data: The decoded images, for their mean, standard deviation and classes.
        train: Encoded training images.
        test: Encoded test images.
        arch: Network to train.
        seed: Seed.
    """

    data: ImageData
    train: Encoded
    test: Encoded
    arch: Architecture
    seed: int

    def run(self, steps: int) -> int:
        """Train for so many steps, and return how many test images are classified correctly."""
        torch.manual_seed(self.seed)
        model = build_model(self.arch)
        for module in model.modules():
            if isinstance(module, Conv):
                module.__class__ = PlainConv
        loader = DataLoader(Pictures(self.train, self.data, SHIFT), batch_size=BATCH, shuffle=True, drop_last=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
        model.train()
        batches = chain.from_iterable(repeat(loader))
        for images, labels in islice(batches, steps):
            loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return self._correct(model)

    @torch.inference_mode()
    def _correct(self, model: nn.Module) -> int:
        model.eval()
        batches = DataLoader(Pictures(self.test, self.data, None), batch_size=250)
        return sum(int((model(images).argmax(1) == labels).sum()) for images, labels in batches)

    def seconds_per_step(self) -> float:
        """Return the estimated CPU seconds of a step."""
        some = attrs.evolve(self, test=first(self.test, 1))
        return timed(lambda: some.run(PROBED // BATCH))[0] / (PROBED // BATCH)


def _rate(done: float) -> float:
    """Return the factor of the learning rate after a share of all steps: a linear warm-up and half a cosine."""
    return (
        max(done, 1e-3) / WARM_UP
        if done < WARM_UP
        else 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
    )


def first(part: Encoded, count: int) -> Encoded:
    """Return the first images."""
    return Encoded(part.files[:count], part.labels[:count])


def timed(work: Any) -> tuple[float, Any]:
    """Return the CPU seconds of a function, and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def train_fast(data: ImageData, recipe: str, seed: int, epochs: int) -> int:
    """Train by the recipe, and return how many test images are classified correctly."""
    fast = Fast(data, "cpu", attrs.evolve(load_recipe(recipe), epochs=epochs), seed)
    run = fast.start()
    for number in range(1, epochs + 1):
        fast.epoch(run, number)
    return int(run.all_correct().sum())


def compare(options: argparse.Namespace, packed: Packed, path: Path) -> Iterator[dict[str, Any]]:
    """Yield one result for each loop and seed."""
    seconds_to_decode, data = timed(lambda: load(path))
    train, test = (Encoded(list(packed.files[part]), packed.labels[part].tolist()) for part in ("train", "test"))
    probe, _ = timed(lambda: train_fast(attrs.evolve(data, train=_images(data, PROBED)), options.recipe, 0, 1))
    # The plain loops decode in every epoch; this one has decoded all images at its start.
    left = options.seconds - seconds_to_decode
    epochs = max(1, int(left / (probe * len(data.train) / PROBED)))
    for seed in range(options.seeds):
        taken, correct = timed(lambda seed=seed: train_fast(data, options.recipe, seed, epochs))
        yield row("fast", cifar_network(), seed, epochs, taken + seconds_to_decode, accuracy(correct, data))
        for name, arch in NETWORKS.items():
            plain = Plain(data, train, test, arch, seed)
            steps = max(1, int(options.seconds / plain.seconds_per_step()))
            taken, correct = timed(lambda plain=plain, steps=steps: plain.run(steps))
            passes = steps * BATCH / len(train.labels)
            yield row(f"plain {name}", arch, seed, passes, taken, accuracy(correct, data))


def row(
    loop: str, arch: Architecture, seed: int, epochs: float, seconds: float, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one result."""
    described = {"loop": loop, "seed": seed, "macs": cost(arch).macs}
    return {**described, "epochs": round(epochs, 2), "cpu_seconds": round(seconds, 1), **found}


def _images(data: ImageData, count: int) -> Any:
    return attrs.evolve(data.train, images=data.train.images[:count], labels=data.train.labels[:count])


def summarize(path: Path) -> Iterator[str]:
    """Yield a line for each loop: epochs, CPU seconds, and the mean accuracy with its 95% interval over seeds."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for loop in dict.fromkeys(row["loop"] for row in rows):
        mine = [row for row in rows if row["loop"] == loop]
        values = [row["accuracy"] for row in mine]
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else math.nan
        seconds = fmean(row["cpu_seconds"] for row in mine)
        shown = f"accuracy {fmean(values):.4f} ± {half:.4f}"
        yield f"{loop}: {mine[0]['epochs']} epochs, {seconds:.0f} CPU seconds, {shown}"


def main() -> None:
    """Append one line of JSON for each training run, or summarize them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summarize", type=Path, metavar="FILE")
    parser.add_argument("--data", help="images, as `nas train --data` takes them")
    parser.add_argument("--seconds", type=float, default=300.0, help="CPU seconds of each training run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.summarize is not None:
        for line in summarize(options.summarize):
            print(line)
        return
    if not (options.data and options.out):
        parser.error("--data and --out are needed, or --summarize alone")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.npz"
        pack(options.data, path)
        for found in compare(options, read(path), path):
            print(found, flush=True)
            with options.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
