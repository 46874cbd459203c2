"""Compare networks on several random divisions of a folder of photographs into training and validation images.

    python benchmarks/splits.py --data photos/ --source efficientnet-lite0 --inherited study:NAME:best \
        --scratch study:OTHER:best --out splits.jsonl

In each division, the source network and the networks of `--inherited` are fine-tuned from inherited weights, and those
of `--scratch` are trained from random weights: once for the epochs of their search, and once for as many epochs as take
as long as the fine-tuning of the first network of `--inherited`. Every line of the output is one training run with its
accuracy and the images that it classifies correctly. `--train 300` trains on 300 images and validates on all others.
No image validates on which a search of this data compared networks: the source was not chosen by its accuracy there.

    python benchmarks/splits.py --summarize splits.jsonl

prints the mean accuracy of each network over the divisions, and its mean difference from the source in the same
division, with 95% intervals of Student's t distribution.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import attrs
import torch
from attrs import frozen
from scipy import stats

import nas
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.data.base import ImageData, Images, fingerprint, mean_and_std
from nas.data.load import load_images
from nas.data.parts import subset
from nas.evaluate.finetune.evaluator import FinetuneEvaluator
from nas.evaluate.short_training.epochs import EpochEvaluator
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.noise import pack

VALIDATES = 0.2  # share of the images


@frozen(eq=False)
class Photographs:
    """Hold all images of a folder, and divide them into training and validation images.

    Attributes:
        data: The data set with all its three splits.
        train: Number of training images; None trains on all that do not validate.
    """

    data: ImageData
    train: int | None

    def divided(self, seed: int) -> ImageData:
        """Return the data set with another random division; each class has the same share in both splits."""
        parts = [part for part in (self.data.val, self.data.train, self.data.test) if part is not None]
        images, labels = torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        images, labels, compared = images[order], labels[order], order < len(self.data.val)
        if self.train is None:
            validates = torch.zeros(len(labels), dtype=torch.bool)
            free = (~compared).nonzero().flatten()
            validates[free[subset(labels[free], round(VALIDATES * len(labels)), self.data.num_classes)]] = True
            trains = ~validates
        else:
            trains = torch.zeros(len(labels), dtype=torch.bool)
            trains[subset(labels, self.train, self.data.num_classes)] = True
            validates = ~trains & ~compared
        train, val = (Images(images[mask], labels[mask]) for mask in (trains, validates))
        mean, std = mean_and_std(train.images)
        mark = fingerprint(self.data.classes, (train, val))
        return attrs.evolve(self.data, train=train, val=val, test=None, mean=mean, std=std, fingerprint=mark)


def runs(evaluator: EpochEvaluator, arch: Architecture, epochs: int) -> dict[str, Any]:
    """Return accuracies by epoch, the duration in seconds, and which validation images are correct at the end."""
    start = time.monotonic()
    accuracies = [round(value, 4) for value in evaluator.evaluate(arch, epochs)]
    seconds, correct = time.monotonic() - start, evaluator.correct(arch)
    assert correct is not None
    return {"epochs": epochs, "accuracies": accuracies, "seconds": round(seconds, 1), "correct": pack(correct)}


def compare(options: argparse.Namespace, seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield one result for each training run of one division."""
    source = nas.load_weights(options.source)
    networks = {name: nas.load_architecture(name, storage=options.storage) for name in options.inherited}
    largest, held_at = source.arch.resolution, options.resolution or source.arch.resolution
    load = Photographs(load_images(options.data, resolution=held_at, test=True), options.train)
    finetune = FinetuneEvaluator(
        load.divided(seed),
        source=source,
        full_resolution=largest,
        seed=seed,
        device=options.device,
        folder=options.folder,
    )
    seconds: list[float] = []
    finetune.prepare()
    for name, known in {options.source: source.arch, **networks}.items():
        arch = attrs.evolve(known, classes=len(load.data.classes))
        result = runs(finetune, arch, options.epochs)
        if name in networks:
            seconds.append(result["seconds"])
        yield {"network": name, "weights": "inherited", "arch": format_text(arch), **result}
    held = load_images(options.data, resolution=options.scratch_resolution, test=True)
    scratch = TrainEvaluator(Photographs(held, options.train).divided(seed), seed=seed, device=options.device)
    for name in options.scratch:
        arch = attrs.evolve(nas.load_architecture(name, storage=options.scratch_storage), classes=len(held.classes))
        as_searched = runs(scratch, arch, options.scratch_epochs)
        yield {"network": name, "weights": "random, as searched", "arch": format_text(arch), **as_searched}
        same_time = max(1, round(options.scratch_epochs * seconds[0] / as_searched["seconds"]))
        yield {"network": name, "weights": "random, same time", **runs(scratch, arch, same_time)}


def summarize(path: Path) -> Iterator[str]:
    """Yield a line for each network with its accuracy and its difference from the source, in percent."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        found.setdefault((row["network"], row["weights"]), {})[row["split"]] = 100 * row["accuracies"][-1]
    source = next(iter(found.values()))
    for (name, weights), by_split in found.items():
        differences = [accuracy - source[split] for split, accuracy in by_split.items()]
        yield f"{name} ({weights}): {interval([*by_split.values()])}, difference {interval(differences)}"


def interval(values: Sequence[float]) -> str:
    """Return the mean of some values with half the width of its 95% interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else float("nan")
    return f"{fmean(values):+.2f} ± {half:.2f}"


def main() -> None:
    """Append one line of JSON for each training run, or summarize them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summarize", type=Path, metavar="FILE")
    parser.add_argument("--data")
    parser.add_argument("--source", default="efficientnet-lite0")
    parser.add_argument("--inherited", nargs="+", default=[])
    parser.add_argument("--scratch", nargs="*", default=[])
    parser.add_argument("--storage", default="sqlite:///nas.db")
    parser.add_argument("--scratch-storage", default="sqlite:///nas.db")
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--scratch-epochs", type=int, default=10)
    parser.add_argument("--scratch-resolution", type=int, default=64)
    parser.add_argument("--train", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--resolution", type=int, help="of the images for the source; default: that of the source")
    parser.add_argument("--folder", type=Path, default=Path("nas-weights"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.summarize is not None:
        for line in summarize(options.summarize):
            print(line)
        return
    if not (options.data and options.inherited and options.out):
        parser.error("--data, --inherited and --out are needed, or --summarize alone")
    torch.set_num_threads(1)
    for seed in options.splits:
        for result in compare(options, seed):
            row = {"split": seed, "train": options.train, **result}
            with options.out.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print({key: value for key, value in row.items() if key not in ("arch", "correct")}, flush=True)


if __name__ == "__main__":
    main()
