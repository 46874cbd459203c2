"""The one training of a supernet, by epochs that each begin from a checkpoint or its likeness in memory."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from attrs import field, frozen
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim import Optimizer

from nas.data.augment import Scaling
from nas.data.base import ImageData
from nas.evaluate.supernet.recipe import Paths, SupernetRecipe
from nas.evaluate.supernet.weights import SharedWeights
from nas.train.loader import BatchLoader, augment_batch, make_loader
from nas.train.loop import OnBatch
from nas.train.losses import LossMonitor
from nas.train.memory import memory_errors_of_network
from nas.train.seeded import seeded


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
    train: BatchLoader = field(init=False)
    scaling: Scaling = field(init=False)

    @optimizer.default
    def _make_optimizer(self) -> Optimizer:
        return self.recipe.training.make_optimizer(self.weights.parameters())

    @train.default
    def _move_train(self) -> BatchLoader:
        return make_loader(self.data.train, self.device)

    @scaling.default
    def _make_scaling(self) -> Scaling:
        return Scaling(self.data.mean, self.data.std, self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.recipe.training.steps_per_epoch(len(self.train))

    def epoch(self, number: int) -> float:
        """Train the epoch `number`, counted from 1; seconds that it took.

        Raises:
            EvaluationError: a loss is not finite, the training diverges, or memory ran out.
        """
        begun, steps = time.monotonic(), self.recipe.epochs * self.steps_per_epoch
        losses = LossMonitor(self.data.num_classes)
        with (
            self.seeded(number) as generator,
            memory_errors_of_network(f"in epoch {number} of the supernet", "lower batch_size or the resolution"),
        ):
            for step, batch in enumerate(self.shuffled_batches(generator), (number - 1) * self.steps_per_epoch):
                loss = self.step(batch, self.recipe.training.learning_rate_at((step + 0.5) / steps), generator)
                losses.add(number, step + 1, loss)
                if self.on_batch is not None:
                    self.on_batch(step + 1, steps, loss)
        return time.monotonic() - begun

    def seeded(self, epoch: int) -> AbstractContextManager[Generator]:
        """Seeds of its own for every epoch, so that one may begin where another process was ended."""
        return seeded(self.seed * 1_000_003 + epoch, self.device)

    def shuffled_batches(self, generator: Generator) -> tuple[Tensor, ...]:
        """Shuffled indices `(B,)` by the batch, of equal sizes give or take one."""
        return torch.randperm(len(self.train), generator=generator).tensor_split(self.steps_per_epoch)

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> float:
        """One step of all its networks on the images of these indices `(B,)`; their mean loss before it."""
        taken, labels = self.train.take(batch)
        bytes_ = augment_batch(taken, self.data, self.recipe.training.shift, generator)
        images = self.scaling(bytes_.contiguous(memory_format=torch.channels_last))
        paths = self.recipe.paths(self.weights.places.space, generator)
        self.optimizer.zero_grad()
        losses = torch.stack([*self._losses(paths, images, labels)])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return losses.mean().item()

    def _losses(self, paths: Paths, images: Tensor, labels: Tensor) -> Iterator[Tensor]:
        """Add each network's gradients to those that are there, and tell its loss `()`."""
        wanted, smoothing = labels, self.recipe.training.label_smoothing
        for picks in paths:
            logits = self.weights.forward(picks, images)
            loss = functional.cross_entropy(logits, wanted, label_smoothing=smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            yield loss.detach()
            if self.recipe.is_taught and wanted is labels:
                wanted, smoothing = logits.detach().softmax(1), 0.0
