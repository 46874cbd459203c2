"""Scores an architecture by training it shortly on the user's images: the proxy of a search."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from types import MappingProxyType
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Generator

from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.errors import EvaluationError, NasError
from nas.evaluate.recipe import Recipe
from nas.evaluate.training import OnBatch, Training
from nas.models.build import build_model
from nas.models.start import start_quietly

DEVICES: Mapping[str, Callable[[], bool]] = MappingProxyType(
    {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
)
# cuDNN's convolutions round their inputs unless torch is told otherwise.
PRECISIONS: Mapping[str, str] = MappingProxyType({"cuda": "tf32"})
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def find_device(word: str | None = None) -> str:
    """The device of that name, or the fastest kind there is.

    Args:
        word: "cpu", "cuda", "cuda:1", "mps", or None to choose.

    Raises:
        NasError: there is no such device here.
    """
    present = [name for name, is_available in DEVICES.items() if is_available()]
    if word is None:
        return present[0]
    if word.split(":")[0] not in present:
        raise NasError(f"device {word!r} is not here", f"use {' or '.join(present)}, or leave it out")
    return word


@frozen
class TrainEvaluator:
    """Accuracy on the val part after each epoch of a training on the train part.

    The same evaluator gives the same accuracies again on the same machine: weights, order, augmentation and dropout are
    drawn from `seed`, and torch's global generators are left as they were. They are used while an epoch runs, so two
    evaluations may take turns in a thread, but must not run in two threads at once.

    Args:
        data: the images; kept as bytes on the device while an architecture is trained.
        seed: of everything random.
        device: as `find_device` gives it.
        recipe: how the training goes.
        on_batch: called after each step; see `OnBatch`.
    """

    data: ImageData
    seed: int = 0
    device: str = field(default="cpu", converter=find_device)
    recipe: Recipe = field(factory=Recipe)
    on_batch: OnBatch | None = None

    def __attrs_post_init__(self) -> None:
        if len(self.data.train) < 2:
            raise NasError(f"{self.data.name} has {len(self.data.train)} image to train on", "give it at least two")

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Validation accuracy after each of `budget` epochs; the learning rate falls to 0 at the last one.

        Raises:
            NasError: the budget is no epoch, or the architecture does not take colour images.
            EvaluationError: the loss is not finite, or memory ran out; told when the epoch is asked for.
        """
        if budget < 1:
            raise NasError(f"a budget of {budget} epochs", "train for at least one")
        return self._accuracies(self._adapted(arch), budget)

    def _accuracies(self, arch: Architecture, budget: int) -> Iterator[float]:
        with self._epoch(0):
            training = self._start(arch, budget)
        for epoch in range(1, budget + 1):
            with self._epoch(epoch) as generator:
                training.epoch(epoch, generator)
                accuracy = training.accuracy()
            yield accuracy

    def describe(self) -> Mapping[str, Any]:
        """Everything the accuracies depend on, as plain JSON values."""
        return {
            "evaluator": "train",
            "data": self.data.name,
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            "classes": self.data.num_classes,
            "images": {"train": len(self.data.train), "val": len(self.data.val)},
            "recipe": attrs.asdict(self.recipe),
            "seed": self.seed,
            "precision": PRECISIONS.get(torch.device(self.device).type, "fp32"),
            "environment": {
                "device": self.device,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
        }

    def seconds_per_epoch(self, arch: Architecture, batches: int = 3) -> float:
        """An estimate: the median of a few steps, and of a few batches of the validation, after one to warm up.

        Raises:
            EvaluationError: as `evaluate`.
        """
        with self._epoch(1) as generator:
            training = self._start(self._adapted(arch), 1)
            batch, checks = training.deal(generator)[0], training.val_batches()
            step = median_seconds(lambda: training.step(batch, 0.0, generator), batches)
            check = median_seconds(lambda: training.correct(checks[0]), batches)
        return step * training.steps_per_epoch + check * len(checks)

    def _adapted(self, arch: Architecture) -> Architecture:
        if arch.in_channels != 3:
            raise NasError(f"the architecture takes {arch.in_channels} channels", "images have 3; set channels=3")
        adapted = arch.adapted(resolution=self.data.resolution, classes=self.data.num_classes)
        return self.recipe.adapt(adapted)

    def _start(self, arch: Architecture, budget: int) -> Training:
        model = build_model(arch)
        if self.recipe.quiet_start:
            start_quietly(model)
        # Channels last trains 2.5 times as fast on a CPU.
        model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Training(self.data, model, self.recipe, budget, self.device, self.on_batch)

    @contextmanager
    def _epoch(self, epoch: int) -> Iterator[Generator]:
        """Seeds of its own for every epoch, so that nothing is carried over a `yield`; errors get their reason."""
        seed = self.seed * 1_000_003 + epoch
        device = torch.device(self.device)
        own = device.type != "cpu"
        with (
            torch.random.fork_rng([device.index or 0] if own else [], device_type=device.type),
            torch.backends.cudnn.flags(enabled=True, deterministic=True),
            explained(epoch),
        ):
            torch.default_generator.manual_seed(seed)
            if own:
                torch.get_device_module(device).manual_seed(seed)
            yield Generator().manual_seed(seed)


@contextmanager
def explained(epoch: int) -> Iterator[None]:
    """Running out of memory is this architecture's failure, not the search's."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        # Without its cause: that would keep the model and its tensors alive for as long as the error is.
        raise EvaluationError(f"out of memory in epoch {epoch}", "lower batch_size or the resolution") from None


def median_seconds(work: Callable[[], object], times: int) -> float:
    """The median of a few runs, the first one left out."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])
