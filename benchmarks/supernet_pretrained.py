"""Compare supernets of a space around EfficientNet-Lite0 that start from ImageNet weights or from random ones.

    python benchmarks/supernet_pretrained.py --data "$NAS_TEST_DATA/cifar10_small/train.parquet"

Random networks of `lite0.yaml` are scored with the shared weights of several supernets, whose trainings take about the
same time. The accuracy of a network that is trained by itself, from the weights that it inherits, is the reference.
Times are those of one thread of the CPU without waiting. Finished rows of the result file are not measured again.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from scipy.stats import kendalltau
from torch import nn
from torch.nn import functional

from nas.api.weights import load_weights
from nas.cost.analytic import cost
from nas.data.augment import normalize
from nas.data.base import ImageData, Images
from nas.data.load import load_images
from nas.evaluate.supernet.extremes import smallest_and_largest
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.source_layers import source_indices
from nas.evaluate.supernet.trainer import SupernetTrainer
from nas.evaluate.supernet.training import SupernetTrainingRun
from nas.evaluate.supernet.weights import without_regularization
from nas.models.build import build_model
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from nas.train.recipe import Recipe
from nas.weights.base import TrainedNetwork
from nas.weights.inheritance import inherit
from nas.weights.statistics import re_estimate

FOLDER = Path(__file__).parents[1] / "experiments" / "pretrained"
RESOLUTION, IMAGES, VAL_IMAGES, NETWORKS, CALIBRATION = 48, 3000, 1000, 16, 256
REFERENCE_EPOCHS, REFERENCE_RATE, BATCH = 2, 1e-3, 64
Paths = Sequence[tuple[int, ...]]


@frozen
class Row:
    """Describe one supernet: its first weights, and how it is trained."""

    start: str
    sampling: str
    epochs: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Return the name of the row in the result file."""
        return f"{self.start} {self.sampling} {self.epochs} epochs {self.learning_rate}"


ROWS = (
    Row("pretrained", "sandwich", 2, 1e-3),
    Row("pretrained", "pair", 3, 1e-3),
    Row("pretrained", "uniform", 8, 1e-3),
    Row("pretrained", "uniform", 6, 1e-3),
    Row("random", "uniform", 8, 3e-3),
    Row("random", "sandwich", 2, 3e-3),
)


def accuracy(model: nn.Module, data: ImageData) -> float:
    """Return the accuracy on the validation split, with batch-norm statistics of a few training images."""
    model.eval()
    re_estimate(model, [normalize(data.train.images[:CALIBRATION], data.mean, data.std)])
    with torch.no_grad():
        right = [
            model(normalize(images, data.mean, data.std)).argmax(1) == labels
            for images, labels in zip(torch.split(data.val.images, 250), torch.split(data.val.labels, 250), strict=True)
        ]
    return float(torch.cat(right).double().mean())


def scores(run: SupernetTrainingRun, networks: Paths) -> list[float]:
    """Return the accuracy of each network with its slices of the shared weights."""
    space = run.weights.places.space
    models = (run.weights.model(space.from_indices(one), one) for one in networks)
    return [round(accuracy(model, run.data), 4) for model in models]


def train_supernet(row: Row, trainer: SupernetTrainer, networks: Paths) -> Iterator[dict[str, Any]]:
    """Train a supernet, and yield the CPU seconds and the scores of the networks, halfway and at the end."""
    run, seconds = trainer.new_run(), 0.0
    for epoch in range(1, row.epochs + 1):
        start = time.process_time()
        run.epoch(epoch)
        seconds += time.process_time() - start
        if epoch in (row.epochs // 2, row.epochs):
            yield {"epoch": epoch, "cpu_seconds": round(seconds, 1), "accuracies": scores(run, networks)}


def fine_tuned(source: TrainedNetwork, data: ImageData, space: SearchSpace, one: tuple[int, ...]) -> float:
    """Return the accuracy of a network that is trained by itself from inherited weights."""
    target = without_regularization(space.from_indices(one))
    model = build_model(target)
    model.load_state_dict(dict(inherit(source.arch, source.tensors, target).tensors))
    model.train()
    generator, steps = torch.Generator().manual_seed(0), len(data.train) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), REFERENCE_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, REFERENCE_RATE, epochs=REFERENCE_EPOCHS, steps_per_epoch=steps
    )
    for _ in range(REFERENCE_EPOCHS):
        for batch in torch.split(torch.randperm(len(data.train), generator=generator)[: steps * BATCH], BATCH):
            mirrored = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
            images = normalize(data.train.images[batch], data.mean, data.std)
            optimizer.zero_grad()
            logits = model(torch.where(mirrored, images.flip(3), images))
            functional.cross_entropy(logits, data.train.labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return round(accuracy(model, data), 4)


def tau(true: Sequence[float], measured: Sequence[float]) -> dict[str, float]:
    """Return Kendall's tau-b with its 95% interval (Bonett & Wright 2000: Fisher's z, variance 0.437 / (n - 4))."""
    value = float(kendalltau(true, measured).statistic)
    half = 1.959964 * math.sqrt(0.437 / (len(true) - 4))
    low, high = (math.tanh(math.atanh(value) + side * half) for side in (-1, 1))
    return {name: round(number, 2) for name, number in (("tau", value), ("low", low), ("high", high))}


def with_tau(result: Mapping[str, Any], reference: Sequence[float]) -> dict[str, Any]:
    """Return a result after an epoch with its tau, which does not exist where all scores are equal."""
    random_networks = result["accuracies"][:NETWORKS]
    known = len(set(random_networks)) > 1
    return {**result, "tau": tau(reference[:NETWORKS], random_networks) if known else None}


def main() -> None:
    """Measure the rows that the result file does not have, and write it after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=FOLDER / "supernet.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_images(options.data, resolution=RESOLUTION, images=IMAGES)
    data = attrs.evolve(data, val=Images(data.val.images[:VAL_IMAGES], data.val.labels[:VAL_IMAGES]))
    source = load_weights("efficientnet-lite0")
    space = find_space(str(FOLDER / "lite0.yaml")).for_target(resolution=RESOLUTION, classes=data.num_classes)
    lite0 = source_indices(space, source.arch)
    assert lite0 is not None
    sampled = [tuple(one) for one in space.sample(np.random.default_rng(0), NETWORKS).tolist()]
    networks = [*sampled, smallest_and_largest(space)[0], lite0]
    results = json.loads(options.out.read_text()) if options.out.exists() else {"reference": [], "supernets": {}}
    for row in ROWS:
        if row.name not in results["supernets"]:
            recipe = SupernetRecipe(
                row.epochs, row.sampling, training=Recipe(batch_size=BATCH, learning_rate=row.learning_rate)
            )
            first = source if row.start == "pretrained" else None
            trainer = SupernetTrainer(space, data, FOLDER, recipe, source=first)
            results["supernets"][row.name] = []
            for result in train_supernet(row, trainer, networks):
                print(row.name, result, flush=True)
                results["supernets"][row.name].append(result)
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    assert source.normalization is not None
    normalized = attrs.evolve(data, mean=source.normalization.mean, std=source.normalization.std)
    for one in networks[len(results["reference"]) :]:
        results["reference"].append(fine_tuned(source, normalized, space, one))
        print("reference", results["reference"][-1], flush=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    macs = [float(cost(space.from_indices(one)).macs) for one in sampled]
    results["tau_of_macs"] = tau(results["reference"][:NETWORKS], macs)
    for name, found in results["supernets"].items():
        results["supernets"][name] = [with_tau(one, results["reference"]) for one in found]
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
