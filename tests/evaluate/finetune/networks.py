"""A small network with known normalization, and an evaluator that fine-tunes what others inherit from it."""

from pathlib import Path
from typing import Any

import attrs
import torch

from nas.arch.spec import Architecture
from nas.evaluate.finetune.evaluator import FinetuneEvaluator
from nas.evaluate.finetune.recipe import DistillationRecipe, FinetuneRecipe
from nas.models.build import build_model
from nas.weights.base import Normalization, TrainedNetwork
from tests.evaluate.colors import ARCH, make_data

DATA = make_data(61, lift=30)
RECIPE = FinetuneRecipe(batch_size=20, min_steps=0)  # three steps in each epoch
TEACHER = DistillationRecipe(RECIPE, epochs=3)
# One layer less than the source has, at half its resolution.
SMALLER = attrs.evolve(ARCH, resolution=112, stages=(attrs.evolve(ARCH.stages[0], layers=1), ARCH.stages[1]))


def make_source(arch: Architecture = ARCH, classes: tuple[str, ...] | None = None) -> TrainedNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = build_model(arch).state_dict()
    normalization = Normalization((0.25,) * arch.in_channels, (0.5,) * arch.in_channels)
    return TrainedNetwork(arch, tensors, classes, normalization, {"source": "made up"})


def make_evaluator(folder: Path, /, **changes: Any) -> FinetuneEvaluator:
    defaults = {
        "data": DATA,
        "source": make_source(),
        "recipe": RECIPE,
        "distillation": TEACHER,
        "folder": folder / "teacher",
    }
    return FinetuneEvaluator(**{**defaults, **changes})
