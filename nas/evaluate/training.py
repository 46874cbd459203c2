"""One training: a model, its optimizer and images on a device, and what an epoch does with them."""

import math
from collections.abc import Callable

import torch
from attrs import field, frozen
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from nas.data.augment import augment, normalise
from nas.data.base import ImageData, Images
from nas.errors import EvaluationError
from nas.evaluate.recipe import Recipe

# Called after every step with the steps behind, all steps, and the step's loss.
OnBatch = Callable[[int, int, float], None]

VAL_BATCH = 500


@frozen(eq=False)
class Training:
    """A training under way.

    Args:
        data: where the images come from; its mean, deviation and whether it may be mirrored are used too.
        model: on `device`, channels last; trained in place.
        recipe: how it goes.
        epochs: how many there will be.
        device: bytes are kept there and turned into numbers by the batch.
        on_batch: called after each step.
    """

    data: ImageData
    model: nn.Module
    recipe: Recipe
    epochs: int
    device: str
    on_batch: OnBatch | None = None
    optimizer: Optimizer = field(init=False)
    train: Images = field(init=False)
    val: Images = field(init=False)

    @optimizer.default
    def _make_optimizer(self) -> Optimizer:
        return self.recipe.make_optimizer(self.model)

    @train.default
    def _move_train(self) -> Images:
        return self.data.train.to(self.device)

    @val.default
    def _move_val(self) -> Images:
        return self.data.val.to(self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.recipe.steps(len(self.train))

    def deal(self, generator: Generator) -> tuple[Tensor, ...]:
        """Shuffled indices `(B,)` by the batch, of equal sizes give or take one: a batch of one image has no spread."""
        order = torch.randperm(len(self.train), generator=generator).to(self.device)
        return order.tensor_split(self.steps_per_epoch)

    def epoch(self, number: int, generator: Generator) -> None:
        """Train the epoch `number`, counted from 1.

        Raises:
            EvaluationError: a loss is not finite.
        """
        steps = self.epochs * self.steps_per_epoch
        for step, batch in enumerate(self.deal(generator), (number - 1) * self.steps_per_epoch):
            loss = self.step(batch, self.recipe.rate((step + 0.5) / steps), generator)
            if not math.isfinite(loss):
                raise EvaluationError(f"the loss is {loss} in epoch {number}, step {step + 1}", "lower learning_rate")
            if self.on_batch is not None:
                self.on_batch(step + 1, steps, loss)

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> float:
        """One step on the images of these indices `(B,)`; the loss before it."""
        self.model.train()
        shift = round(self.recipe.shift * self.data.resolution)
        images = augment(self._floats(self.train.images[batch]), flip=self.data.flip, shift=shift, generator=generator)
        logits = self.model(images.contiguous(memory_format=torch.channels_last))
        smoothing = self.recipe.label_smoothing
        loss = functional.cross_entropy(logits, self.train.labels[batch], label_smoothing=smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return loss.item()

    def accuracy(self) -> float:
        """The share of val images whose largest logit is their label's."""
        return sum(map(self.correct, self.val_batches())) / len(self.val)

    def val_batches(self) -> tuple[slice, ...]:
        """The val part by the batch."""
        return tuple(slice(start, start + VAL_BATCH) for start in range(0, len(self.val), VAL_BATCH))

    @torch.inference_mode()
    def correct(self, batch: slice) -> int:
        """How many of these val images are told right."""
        self.model.eval()
        images = self._floats(self.val.images[batch]).contiguous(memory_format=torch.channels_last)
        return int((self.model(images).argmax(1) == self.val.labels[batch]).sum())

    def _floats(self, images: Tensor) -> Tensor:
        return normalise(images, self.data.mean, self.data.std)
