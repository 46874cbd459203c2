"""Full training runs of a tiny network on colored images, which take a fraction of a second."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from torch import Tensor

from nas.train.full.curve import EpochResult
from nas.train.full.folder import TrainingFolder
from nas.train.full.job import TrainingJob
from nas.train.full.progress import Progress
from nas.train.full.training import FullTraining
from nas.train.recipes.schema import TrainingRecipe
from nas.weights.sources import load_source
from tests.evaluate.colors import ARCH, make_data

DATA = make_data(61, lift=30)
EPOCHS, STEPS = 4, 3
RECIPE = TrainingRecipe(epochs=EPOCHS, batch_size=20, ema=0.9)
NETWORK = ARCH.adapted(resolution=8, classes=3)
Step = Callable[[int, int, float], object]


@define(eq=False)
class Heard:
    """Receives what a training run reports, and calls a function after each step."""

    step: Step = lambda _step, _steps, _loss: None
    said: list[str] = field(factory=list)
    results: list[EpochResult] = field(factory=list)
    left: list[float] = field(factory=list)

    def say(self, message: str) -> None:
        self.said.append(message)

    def on_batch(self, step: int, steps: int, loss: float) -> None:
        self.step(step, steps, loss)

    def on_epoch(self, result: EpochResult, epochs: int, seconds_left: float) -> None:
        assert 1 <= result.epoch <= epochs
        self.results.append(result)
        self.left.append(seconds_left)


def make_job(**changes: Any) -> TrainingJob:
    return TrainingJob(**{"arch": NETWORK, "data": DATA, "recipe": RECIPE, **changes})


def train(folder: Path, heard: Heard | None = None, **changes: Any) -> Progress:
    place = TrainingFolder(folder)
    with place.in_use():
        return FullTraining(make_job(**changes), place, heard or Heard()).run()


def weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of both weights files."""
    return {
        f"{name} {key}": tensor
        for name in ("weights", "last")
        for key, tensor in load_source(str(folder / f"{name}.safetensors")).network.tensors.items()
    }


def is_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


def accuracies(curve: Sequence[EpochResult]) -> list[float]:
    return [one.accuracy for one in curve]


class StopError(Exception):
    """Ends a training run from within."""


def stop_after(step: int) -> Heard:
    def check(at: int, _steps: int, _loss: float) -> None:
        if at == step:
            raise StopError

    return Heard(check)
