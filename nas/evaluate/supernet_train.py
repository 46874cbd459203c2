"""The one training of a supernet, by epochs that each begin from a checkpoint or its likeness in memory."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from attrs import field, frozen
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim import Optimizer

from nas.data.augment import augment, normalise
from nas.data.base import ImageData, Images
from nas.errors import EvaluationError
from nas.evaluate.supernet_recipe import SupernetRecipe
from nas.evaluate.supernet_weights import SharedWeights
from nas.evaluate.train import explained
from nas.evaluate.training import OnBatch


@contextmanager
def seeded(seed: int, epoch: int, device: str) -> Iterator[Generator]:
    """Seeds of its own for every epoch, so that one may begin where another process was ended.

    torch's global generators are left as they were.
    """
    place, own = torch.device(device), seed * 1_000_003 + epoch
    beside = place.type != "cpu"
    with (
        torch.random.fork_rng([place.index or 0] if beside else [], device_type=place.type),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
    ):
        torch.default_generator.manual_seed(own)
        if beside:
            torch.get_device_module(place).manual_seed(own)
        yield Generator().manual_seed(own)


@frozen(eq=False)
class SupernetTraining:
    """A training under way.

    Args:
        data: where the images come from.
        weights: on `device`; trained in place.
        recipe: how it goes.
        seed: of everything random.
        device: bytes are kept there and turned into numbers by the batch.
        on_batch: called after each step.
    """

    data: ImageData
    weights: SharedWeights
    recipe: SupernetRecipe
    seed: int
    device: str
    on_batch: OnBatch | None = None
    optimizer: Optimizer = field(init=False)
    train: Images = field(init=False)

    @optimizer.default
    def _make_optimizer(self) -> Optimizer:
        return self.recipe.training.make_optimizer(self.weights.parameters())

    @train.default
    def _move_train(self) -> Images:
        return self.data.train.to(self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.recipe.training.steps(len(self.train))

    def epoch(self, number: int) -> float:
        """Train the epoch `number`, counted from 1; seconds that it took.

        Raises:
            EvaluationError: a loss is not finite, or memory ran out.
        """
        begun, steps = time.monotonic(), self.recipe.epochs * self.steps_per_epoch
        with seeded(self.seed, number, self.device) as generator, explained(number):
            for step, batch in enumerate(self.deal(generator), (number - 1) * self.steps_per_epoch):
                loss = self.step(batch, self.recipe.training.rate((step + 0.5) / steps), generator)
                if not math.isfinite(loss):
                    raise EvaluationError(
                        f"the supernet's loss is {loss} in epoch {number}, step {step + 1}", "lower learning_rate"
                    )
                if self.on_batch is not None:
                    self.on_batch(step + 1, steps, loss)
        return time.monotonic() - begun

    def deal(self, generator: Generator) -> tuple[Tensor, ...]:
        """Shuffled indices `(B,)` by the batch, of equal sizes give or take one."""
        order = torch.randperm(len(self.train), generator=generator).to(self.device)
        return order.tensor_split(self.steps_per_epoch)

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> float:
        """One step of all its networks on the images of these indices `(B,)`; their mean loss before it."""
        images, labels = self._augmented(batch, generator), self.train.labels[batch]
        paths = self.recipe.paths(self.weights.places.space, generator)
        self.optimizer.zero_grad()
        losses = torch.stack([self._backward(picks, images, labels) for picks in paths])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return losses.mean().item()

    def _augmented(self, batch: Tensor, generator: Generator) -> Tensor:
        shift = round(self.recipe.training.shift * self.data.resolution)
        floats = normalise(self.train.images[batch], self.data.mean, self.data.std)
        images = augment(floats, flip=self.data.flip, shift=shift, generator=generator)
        return images.contiguous(memory_format=torch.channels_last)

    def _backward(self, picks: tuple[int, ...], images: Tensor, labels: Tensor) -> Tensor:
        """Add a network's gradients to those that are there; its loss `()`."""
        logits = self.weights.forward(picks, images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.training.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
