"""Fine-tune networks around EfficientNet-Lite0 that inherit its ImageNet weights, with several settings.

    python benchmarks/finetune.py --data "$NAS_TEST_DATA/cifar10_small/train.parquet" --out finetune.jsonl

Every evaluation is one of `FinetuneEvaluator`, and adds one line of JSON to the file. Lines that the file already has
are not computed again. The row "random" has random weights and is one of `TrainEvaluator`. The accuracies are those on
a part of the given file that no network is trained on; with 2,000 images, the standard error is about 1.1 points.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import frozen

from nas.arch.presets import preset
from nas.arch.spec import Architecture, Stage
from nas.cost.analytic import cost
from nas.data.base import ImageData, Images
from nas.data.load import load_images
from nas.evaluate.finetune.evaluator import FinetuneEvaluator
from nas.evaluate.finetune.recipe import DistillationRecipe, FinetuneRecipe
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.weights.sources import load_source

SOURCE = "efficientnet-lite0"


@frozen
class Row:
    """Describe one network around the source.

    Attributes:
        fewer: Whether stages of three and more layers lose one.
        narrower: Whether expansions of 6 become 4.
        smaller: Whether kernels of 5 become 3.
    """

    fewer: bool = False
    narrower: bool = False
    smaller: bool = False

    def network(self) -> Architecture:
        """Return the network at 224 pixels."""
        arch = preset(SOURCE)
        return attrs.evolve(arch, stages=tuple(map(self._stage, arch.stages)))

    def _stage(self, stage: Stage) -> Stage:
        return attrs.evolve(
            stage,
            layers=stage.layers - (self.fewer and stage.layers >= 3),
            expansion=min(stage.expansion, 4.0) if self.narrower else stage.expansion,
            kernel=min(stage.kernel, 3) if self.smaller else stage.kernel,
        )


ROWS: Mapping[str, Row] = {
    "all": Row(fewer=True, narrower=True, smaller=True),
    "fewer-layers": Row(fewer=True),
    "lite0": Row(),
    "expansion-4": Row(narrower=True),
    "kernels-3": Row(smaller=True),
    "random": Row(fewer=True, narrower=True, smaller=True),
}
# Changes of the recipe and of the distillation; "" is the default of the product.
SETTINGS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]] = {
    "default": ({}, {}),
    "no teacher": ({}, None),
    "logits only": ({}, {"feature_weight": 0.0}),
    "features only": ({}, {"share": 0.0}),
    "batches of 64": ({"batch_size": 64}, {}),
    "momentum 0.2": ({"norm_momentum": 0.2}, {}),
    "the same rate for the head": ({"head_rate": 1.0}, {}),
    "shifted images": ({"shift": 1 / 16}, {}),
    "one pass in an epoch": ({"min_steps": 0}, {"training": FinetuneRecipe(shift=1 / 16, min_steps=0)}),
    "15 steps in an epoch": ({"min_steps": 15}, {"training": FinetuneRecipe(shift=1 / 16, min_steps=15)}),
    "60 steps in an epoch": ({"min_steps": 60}, {"training": FinetuneRecipe(shift=1 / 16, min_steps=60)}),
}


def load_data(path: str, images: int, val_images: int) -> ImageData:
    """Return images of 64 pixels, with a validation split that is taken from the same file."""
    data = load_images(path, resolution=64, images=images, validation_share=0.4)
    val = Images(data.val.images[:val_images], data.val.labels[:val_images])
    return attrs.evolve(data, val=val)


def evaluate(given: argparse.Namespace, data: ImageData, row: str, setting: str, seed: int) -> dict[str, Any]:
    """Return the accuracies of one network, with its duration in seconds."""
    recipe, taught = SETTINGS[setting]
    common: dict[str, Any] = {"data": data, "seed": seed, "device": "cpu", "notify": print}
    evaluator = (
        TrainEvaluator(**common)
        if row == "random"
        else FinetuneEvaluator(
            **common,
            source=load_source(SOURCE).network,
            recipe=FinetuneRecipe(**recipe),
            distill=taught is not None,
            distillation=DistillationRecipe(**(taught or {})),
            folder=given.folder,
            weights=given.weights,
        )
    )
    if isinstance(evaluator, FinetuneEvaluator):
        evaluator.prepare()
    arch, start, cpu = ROWS[row].network(), time.monotonic(), time.process_time()
    accuracies = [round(accuracy, 4) for accuracy in evaluator.evaluate(arch, given.epochs)]
    return {
        "row": row,
        "setting": setting,
        "seed": seed,
        "mmacs_at_224": round(cost(arch).macs / 1e6),
        "accuracies": accuracies,
        "seconds": round(time.monotonic() - start),
        "cpu_seconds": round(time.process_time() - cpu),
        **evaluator.metadata(arch),
    }


def main() -> None:
    """Add one line of JSON to the file for each row, setting and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("nas-finetuned"), help="of the teacher")
    parser.add_argument("--weights", type=Path, help="folder of the fine-tuned weights; default: they are not kept")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--val-images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=["default"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data(given.data, given.images, given.val_images)
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    keys = {(line["row"], line["setting"], line["seed"]) for line in done}
    for seed in given.seeds:
        for setting in given.settings:
            for row in given.rows:
                if (row, setting, seed) not in keys:
                    line = json.dumps(evaluate(given, data, row, setting, seed))
                    print(line, flush=True)
                    with given.out.open("a") as file:
                        file.write(f"{line}\n")


if __name__ == "__main__":
    main()
