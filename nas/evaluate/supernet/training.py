"""The training loop of a supernet, whose epochs can each start from a checkpoint."""

import math
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
from nas.train.loader import BatchLoader, augment_batch, make_loader, resize
from nas.train.loop import OnBatch
from nas.train.losses import LossMonitor
from nas.train.memory import memory_errors_of_network
from nas.train.seeded import epoch_seed, seeded


@frozen(eq=False)
class SupernetTrainingRun:
    """Train shared weights epoch by epoch.

    Attributes:
        data: Data set of the images.
        weights: Weights on `device`; they are trained in place.
        recipe: Hyperparameters.
        seed: Seed of all random numbers.
        device: Device that trains.
        on_batch: Callback for every step, or None.
        teacher: Choice indices of the network that the others learn from, in place of the largest one, or None.
        optimizer: Optimizer of all shared weights.
        train: Loader of the training split.
        scaling: Conversion of uint8 images to normalized floats.
    """

    data: ImageData
    weights: SharedWeights
    recipe: SupernetRecipe
    seed: int
    device: str
    on_batch: OnBatch | None = None
    teacher: tuple[int, ...] | None = None
    optimizer: Optimizer = field(init=False)
    train: BatchLoader = field(init=False)
    scaling: Scaling = field(init=False)

    @optimizer.default
    def _make_optimizer(self) -> Optimizer:
        return self.recipe.training.make_optimizer(self.weights.parameters())

    @train.default
    def _make_train_loader(self) -> BatchLoader:
        return make_loader(self.data.train, self.device)

    @scaling.default
    def _make_scaling(self) -> Scaling:
        return Scaling(self.data.mean, self.data.std, self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps of an epoch."""
        return self.recipe.training.steps_per_epoch(len(self.train))

    def epoch(self, number: int) -> float:
        """Train one epoch, and return its duration in seconds.

        Args:
            number: Number of the epoch, counted from 1.

        Raises:
            EvaluationError: A loss is not finite, the training diverges, or memory ran out.
        """
        start, steps = time.monotonic(), self.recipe.epochs * self.steps_per_epoch
        # The losses of former epochs are not part of a checkpoint, so each epoch is checked by itself.
        losses = LossMonitor(math.log(self.data.num_classes))
        with (
            self.seeded(number) as generator,
            memory_errors_of_network(f"in epoch {number} of the supernet", "lower batch_size or the resolution"),
        ):
            for step, batch in enumerate(self.shuffled_batches(generator), (number - 1) * self.steps_per_epoch):
                loss = self.step(batch, self.recipe.training.learning_rate_at((step + 0.5) / steps), generator)
                losses.add(number, step + 1, loss)
                if self.on_batch is not None:
                    self.on_batch(step + 1, steps, loss)
        return time.monotonic() - start

    def seeded(self, epoch: int) -> AbstractContextManager[Generator]:
        """Return a context with the seed of an epoch; see `epoch_seed`."""
        return seeded(epoch_seed(self.seed, epoch), self.device)

    def shuffled_batches(self, generator: Generator) -> tuple[Tensor, ...]:
        """Return the indices of all training images in random order, in batches `(B,)` that differ by at most one."""
        return torch.randperm(len(self.train), generator=generator).tensor_split(self.steps_per_epoch)

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> float:
        """Train all networks of one step on the same images, and return the mean of their losses before the step.

        Args:
            batch: Indices `(B,)` of training images.
            learning_rate: Learning rate of this step.
            generator: Generator of the augmentation and of the choice of networks.
        """
        taken, labels = self.train.take(batch)
        augmented, _ = augment_batch(taken, self.data, self.recipe.training.shift, generator)
        sized = resize(augmented, self._draw_resolution(generator))
        images = self.scaling(sized.contiguous(memory_format=torch.channels_last))
        paths = self.recipe.paths(self.weights.places.space, generator, self.teacher)
        # Weights that no network of the step uses have no gradient, and the optimizer does not change them.
        self.optimizer.zero_grad()
        losses = torch.stack([*self._losses(paths, images, labels)])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return losses.mean().item()

    def _draw_resolution(self, generator: Generator) -> int:
        """Return the resolution of a step's images: all its networks receive the same ones."""
        resolutions = self.weights.places.space.resolutions
        # No random number is drawn for a single one, so that spaces without this choice keep their weights.
        drawn = int(torch.randint(len(resolutions), (), generator=generator)) if len(resolutions) > 1 else 0
        return resolutions[drawn]

    def _losses(self, paths: Paths, images: Tensor, labels: Tensor) -> Iterator[Tensor]:
        """Add the gradients of each network to those of the former ones, and yield its loss `()`.

        Args:
            paths: Choice indices of the networks.
            images: Normalized images `(B, C, H, W)`.
            labels: Labels `(B,)`.
        """
        target, smoothing = labels, self.recipe.training.label_smoothing
        for indices in paths:
            logits = self.weights.forward(indices, images)
            loss = functional.cross_entropy(logits, target, label_smoothing=smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            yield loss.detach()
            if self.recipe.distills and target is labels:
                # The first network's predictions are soft targets already; smoothing them again would blur them.
                target, smoothing = logits.detach().softmax(1), 0.0
