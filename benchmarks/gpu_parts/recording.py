"""The check of recorded training steps beside the same steps that are computed one by one."""

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import attrs
import torch
from attrs import frozen
from torch import nn

from gpu_parts.bench import Bench, small_network
from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train import graphs
from nas.train.distillation import FEATURE_TYPE, Distillation, TeacherOutputs
from nas.train.loop import TrainingRun
from nas.train.optimizers import ALGORITHMS
from nas.train.recipe import Recipe
from nas.train.recipes.schema import TrainingRecipe

COMPARED = 10  # steps of an epoch, whose losses are compared
# Largest relative difference of the loss of a recorded step; sums in another order would differ by less.
LIMIT = 1e-3
# What changes a recorded step: random numbers on the GPU, a limit of the gradients, and an average of the weights.
_EVERYTHING: Mapping[str, Any] = MappingProxyType(
    {"cuda_graphs": True, "dropout": 0.2, "drop_path": 0.2, "gradient_clip": 1.0, "ema": 0.9}
)


def cuda_graphs(bench: Bench) -> dict[str, Any]:
    """Check that recorded steps have the losses and the accuracy of the same steps that are not recorded.

    A run that continues from its checkpoint computes its first steps anew, so both must be the same.
    """
    data = bench.made_up(bench.sizes.resolution, 16 * COMPARED + 5)  # batches of 16 and of 17 images
    usual: dict[str, Any] = {"batch_size": 16, "learning_rate": 1e-3}
    recipes = {name: TrainingRecipe(**usual, optimizer=name, **_EVERYTHING) for name in ALGORITHMS}
    found: dict[str, Any] = {}
    cases = (("search", Recipe(**usual), TrainEvaluator), ("distillation", Recipe(**usual), Taught))
    for name, recipe, evaluator in (*cases, *((name, recipe, TrainEvaluator) for name, recipe in recipes.items())):
        with warnings.catch_warnings(), patch("nas.train.graphs._replay", wraps=graphs._replay) as replays:
            warnings.simplefilter("error")  # what cannot be recorded is computed with a warning
            recorded, accuracy = losses_of(data, bench.device, recipe, bench.seed, evaluator)
        with patch("nas.train.graphs.FIRST_STEPS", len(recorded)):
            computed, expected = losses_of(data, bench.device, recipe, bench.seed, evaluator)
        gap = max(abs(a - b) / abs(b) for a, b in zip(recorded, computed, strict=True))
        found[name] = {"replays": replays.call_count, "loss_difference": gap, "accuracies": [accuracy, expected]}
    return {
        "passed": all(each["loss_difference"] <= LIMIT for each in found.values())
        and all(each["replays"] > 0 for each in found.values() if bench.is_cuda),
        "limit": LIMIT,
        "identical": all(each["loss_difference"] == 0 for each in found.values()),
        **found,
    }


@frozen
class Taught(TrainEvaluator):
    """Train as the evaluator does, and also from the made-up outputs of a teacher."""

    def _start(self, arch: Architecture, budget: int, recipe: Recipe) -> TrainingRun:
        run, generator = TrainEvaluator._start(self, arch, budget, recipe), torch.Generator().manual_seed(self.seed)
        classifier = run.model.get_submodule("head.classifier")
        assert isinstance(classifier, nn.Linear)
        sizes = (self.data.num_classes, classifier.in_features)
        logits, features = (torch.randn(2, len(self.data.train), size, generator=generator) for size in sizes)
        outputs = TeacherOutputs(logits, features.to(FEATURE_TYPE)).to(self.device)
        return attrs.evolve(run, distillation=Distillation(outputs, feature_weight=1.0))


def losses_of(
    data: ImageData, device: str, recipe: Recipe, seed: int, kind: type[TrainEvaluator] = TrainEvaluator
) -> tuple[list[float], float]:
    """Return the loss of every step of a training run of two epochs, and the accuracy after it."""
    losses = list[float]()
    evaluator = kind(data, seed, device, recipe, on_batch=lambda _done, _all, loss: losses.append(loss))
    *_, accuracy = evaluator.evaluate(small_network(), 2)
    return losses, accuracy
