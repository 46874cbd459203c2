"""One training: a model, its optimizer and images on a device, and what an epoch does with them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from attrs import field, frozen
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from nas.data.augment import Scaling
from nas.data.base import ImageData
from nas.train.average import Average
from nas.train.defaults import METRIC_NAMES
from nas.train.feed import Feed, make_feed, moved_about
from nas.train.losses import Losses
from nas.train.metrics import METRICS
from nas.train.precision import PRECISIONS, Precision, precision_on
from nas.train.recipe import Recipe

# Called after every step with the steps behind, all steps, and the step's loss; on a graphics card some steps later.
OnBatch = Callable[[int, int, float], None]

VAL_BATCH = 250
# By kind of device, how many losses are read at once: reading makes the host wait for a graphics card.
_AT_ONCE: Mapping[str, int] = MappingProxyType({"cpu": 1})
_AT_ONCE_ELSEWHERE = 16


@frozen(eq=False)
class Training:
    """A training under way.

    Args:
        data: where the images come from; its mean, deviation and whether it may be mirrored are used too.
        model: on `device`, channels last; trained in place.
        recipe: how it goes.
        epochs: how many there will be.
        device: where bytes are turned into numbers by the batch.
        on_batch: called for each step.
        metric: by name, of `METRICS`.
        val_batch: images that are validated at once.
    """

    data: ImageData
    model: nn.Module
    recipe: Recipe
    epochs: int
    device: str
    on_batch: OnBatch | None = None
    metric: str = METRIC_NAMES[0]
    val_batch: int = VAL_BATCH
    precision: Precision = field(init=False)
    optimizer: Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    average: Average | None = field(init=False)
    scaling: Scaling = field(init=False)
    losses: Losses = field(init=False)
    train: Feed = field(init=False)
    val: Feed = field(init=False)

    @precision.default
    def _find_precision(self) -> Precision:
        return PRECISIONS[precision_on(self.device, self.recipe.precision)]

    @optimizer.default
    def _make_optimizer(self) -> Optimizer:
        return self.recipe.make_optimizer(self.model)

    @scaler.default
    def _make_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._kind, enabled=self.precision.scaled)

    @average.default
    def _make_average(self) -> Average | None:
        return Average(self.model, self.recipe.ema) if self.recipe.ema else None

    @scaling.default
    def _make_scaling(self) -> Scaling:
        return Scaling(self.data.mean, self.data.std, self.device)

    @losses.default
    def _make_losses(self) -> Losses:
        return Losses(self.data.num_classes)

    @train.default
    def _move_train(self) -> Feed:
        return make_feed(self.data.train, self.device)

    @val.default
    def _move_val(self) -> Feed:
        return make_feed(self.data.val, self.device)

    @property
    def _kind(self) -> str:
        return torch.device(self.device).type

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.recipe.steps(len(self.train))

    def deal(self, generator: Generator) -> tuple[Tensor, ...]:
        """Shuffled indices `(B,)` by the batch, of equal sizes give or take one: a batch of one image has no spread."""
        return torch.randperm(len(self.train), generator=generator).tensor_split(self.steps_per_epoch)

    def epoch(self, number: int, generator: Generator) -> None:
        """Train the epoch `number`, counted from 1.

        Raises:
            EvaluationError: a loss is not finite, or the training diverges.
        """
        steps, done = self.epochs * self.steps_per_epoch, (number - 1) * self.steps_per_epoch
        unread = list[Tensor]()
        at_once = _AT_ONCE.get(self._kind, _AT_ONCE_ELSEWHERE)
        for batch in self.deal(generator):
            rate = self.recipe.rate((done + len(unread) + 0.5) / steps)
            unread.append(self.step(batch, rate, generator))
            if len(unread) == at_once:
                done += self._read(unread, done, number)
                unread.clear()
        self._read(unread, done, number)

    def _read(self, unread: Sequence[Tensor], done: int, epoch: int) -> int:
        """Check and tell the losses of the steps after the first `done`; how many they are."""
        steps = self.epochs * self.steps_per_epoch
        for step, loss in enumerate(torch.stack(tuple(unread)).tolist() if unread else (), done + 1):
            self.losses.add(epoch, step, loss)
            if self.on_batch is not None:
                self.on_batch(step, steps, loss)
        return len(unread)

    def state(self) -> dict[str, Any]:
        """All that the epochs to come depend on besides their seeds: tensors and plain values, for `take_in`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "losses": list(self.losses.recent),
        }

    def take_in(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same training; one that does not fit raises nearly anything."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["optimizer"]})
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.take_in(state["average"])
        self.losses.take_in(state["losses"])

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> Tensor:
        """One step on the images of these indices `(B,)`; the loss before it, a scalar on the device."""
        self.model.train()
        images, labels = self.train.take(batch)
        logits = self._logits(self.model, moved_about(images, self.data, self.recipe.shift, generator))
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.model)
        return loss.detach()

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits `(N, classes)` in fp32 of bytes `(N, 3, H, W)`."""
        floats = self.scaling(images.contiguous(memory_format=torch.channels_last))
        with torch.autocast(self._kind, self.precision.autocast, enabled=self.precision.autocast is not None):
            logits: Tensor = model(floats)
        return logits.float()

    def accuracy(self) -> float:
        """What the metric says of the val images; right is one whose largest logit is its label's."""
        right = torch.cat([self.right(batch) for batch in self.val_batches()])
        return METRICS[self.metric](right.cpu(), self.data.val.labels.cpu())

    def val_batches(self) -> tuple[slice, ...]:
        """The val part by the batch."""
        return tuple(slice(start, start + self.val_batch) for start in range(0, len(self.val), self.val_batch))

    @torch.inference_mode()
    def right(self, batch: slice) -> Tensor:
        """Which of these val images are told right, bool `(B,)`."""
        model = self.model if self.average is None else self.average.model
        model.eval()
        images, labels = self.val.take(batch)
        return self._logits(model, images).argmax(1) == labels
