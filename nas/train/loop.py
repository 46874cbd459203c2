"""The training loop: a model, its optimizer and the images on a device, and the steps of an epoch."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from nas.data.augment import Scaling, send
from nas.data.base import ImageData
from nas.train.average import WeightAverage
from nas.train.criterion import Criterion
from nas.train.defaults import METRIC_NAMES
from nas.train.distillation import Distillation, divergence, pooled_features
from nas.train.graphs import FIRST_STEPS, GraphedStep, can_record, make_recordable, set_learning_rate
from nas.train.inputs import Teacher, TrainingInputs
from nas.train.loader import VAL_BATCH, BatchLoader, make_loader
from nas.train.losses import LossMonitor
from nas.train.metrics import METRICS
from nas.train.precision import PRECISIONS, Precision, resolve_precision
from nas.train.recipe import Recipe
from nas.train.recipes.schema import TrainingRecipe, complete

# Callback for every step, with the number of finished steps, the number of all steps, and the loss of the step. On a
# GPU it is called some steps later.
OnBatch = Callable[[int, int, float], None]

# Number of losses that are read together, for each kind of device. Reading a number from a GPU makes the host wait
# until all queued work is done, so there the losses of several steps are read at once.
_LOSSES_READ_TOGETHER: Mapping[str, int] = MappingProxyType({"cpu": 1})
_LOSSES_READ_TOGETHER_ELSEWHERE = 16


@define
class Present:
    """Hold the number of the epoch that is being trained, counted from 1."""

    epoch: int


@frozen(eq=False)
class TrainingRun:
    """Train a model epoch by epoch.

    The caller gives each epoch a generator with a seed of its own (see `nas.train.seeded`). An epoch then depends only
    on its number and on the state before it, so that a run can be continued from `state_dict`.

    Attributes:
        data: Data set of the images, with their mean, deviation and whether they may be mirrored.
        model: Model on `device`, channels last in memory; it is trained in place.
        recipe: Hyperparameters; a `TrainingRecipe` has more techniques than the recipe of a search.
        epochs: Number of epochs in all, over which the learning rate falls to 0.
        device: Device that trains.
        on_batch: Callback for every step, or None.
        metric: Name of the metric, a key of `METRICS`.
        val_batch: Number of images that are validated together.
        resolution: Height and width of the network's images in pixels; None takes the images as they are held.
        optimizer: Optimizer of the model's parameters; the recipe's if it is not given.
        scaling: Conversion of uint8 images to normalized floats; with the statistics of the data if it is not given.
        distillation: What the loss takes from the stored outputs of a teacher, or None.
        teacher: Function that returns a teacher's logits `(N, classes)` of normalized images `(N, C, H, W)` on the
            device, as the network sees them; or None. The recipe has its share and its temperature.
        targets: Probabilities of the classes for each training image `(images, classes)`, in place of the labels; or
            None.
        full: Recipe with all keys, and with a batch that suits the number of images.
        criterion: Loss of a batch.
        present: The present epoch; the last one before the first call of `epoch`.
        graphed: Step that is recorded as CUDA graphs, or None.
        precision: Number formats, as the recipe and the device ask for.
        scaler: Scaler of the loss; it does nothing unless the precision needs it.
        average: Moving average of the weights, or None if the recipe has none.
        losses: Check of the losses of all steps.
        train: Loader of the training split.
        val: Loader of the validation split.
        inputs: What a step computes on.
    """

    data: ImageData
    model: nn.Module
    recipe: Recipe
    epochs: int
    device: str
    on_batch: OnBatch | None = None
    metric: str = METRIC_NAMES[0]
    val_batch: int = VAL_BATCH
    resolution: int | None = None
    optimizer: Optimizer = field()
    scaling: Scaling = field()
    distillation: Distillation | None = None
    teacher: Teacher | None = None
    targets: Tensor | None = None
    full: TrainingRecipe = field(init=False)
    criterion: Criterion = field(init=False)
    present: Present = field(init=False)
    graphed: GraphedStep | None = field(init=False)
    precision: Precision = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    average: WeightAverage | None = field(init=False)
    losses: LossMonitor = field(init=False)
    train: BatchLoader = field(init=False)
    val: BatchLoader = field(init=False)
    inputs: TrainingInputs = field(init=False)

    @full.default
    def _complete_recipe(self) -> TrainingRecipe:
        return complete(self.recipe).fitted(len(self.data.train))

    @criterion.default
    def _make_criterion(self) -> Criterion:
        return Criterion(self.full, self.data.num_classes)

    @present.default
    def _begin(self) -> Present:
        return Present(self.epochs)

    @graphed.default
    def _make_graphed(self) -> GraphedStep | None:
        # A search trains small networks on small images, whose kernels take less time than their calls.
        asked = self.full.cuda_graphs or not isinstance(self.recipe, TrainingRecipe)
        # The scale of fp16 losses is a value outside the GPU.
        scaled = resolve_precision(self.device, self.recipe.precision) == "fp16"
        if not asked or self.full.accumulation > 1 or scaled or not can_record(self.device):
            return None
        make_recordable(self.optimizer, self.device)
        return GraphedStep(self._whole_step, self.device)

    @precision.default
    def _find_precision(self) -> Precision:
        return PRECISIONS[resolve_precision(self.device, self.recipe.precision)]

    @optimizer.default
    def _make_optimizer(self) -> Optimizer:
        return self.recipe.make_optimizer(self.model)

    @scaler.default
    def _make_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._device_kind, enabled=self.precision.scaled)

    @average.default
    def _make_average(self) -> WeightAverage | None:
        return WeightAverage(self.model, self.recipe.ema) if self.recipe.ema else None

    @scaling.default
    def _make_scaling(self) -> Scaling:
        return Scaling(self.data.mean, self.data.std, self.device)

    @losses.default
    def _make_losses(self) -> LossMonitor:
        return LossMonitor(self.criterion.guessing)

    @train.default
    def _make_train_loader(self) -> BatchLoader:
        return make_loader(self.data.train, self.device, self.resolution)

    @val.default
    def _make_val_loader(self) -> BatchLoader:
        return make_loader(self.data.val, self.device, self.resolution)

    @inputs.default
    def _make_inputs(self) -> TrainingInputs:
        return TrainingInputs(self.data, self.full, self.epochs, self.train, self.scaling, self.teacher, self.targets)

    @property
    def _device_kind(self) -> str:
        return torch.device(self.device).type

    @property
    def _pace(self) -> Recipe:
        """Return the recipe that decides on batches and learning rates."""
        return self.full if isinstance(self.recipe, TrainingRecipe) else self.recipe

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps of an epoch."""
        return self._pace.steps_per_epoch(len(self.train))

    @property
    def _passes(self) -> int:
        return self._pace.passes_per_epoch(len(self.train))

    @property
    def _smallest_batch(self) -> int:
        """Return the number of images of the smallest batch of `shuffled_batches`."""
        return len(self.train) * self._passes // self.steps_per_epoch

    @property
    def _parts(self) -> int:
        """Return the number of parts of each batch; there are fewer than the recipe's if a part had a single image."""
        return max(1, min(self.full.accumulation, self._smallest_batch // 2))

    def shuffled_batches(self, generator: Generator) -> tuple[Tensor, ...]:
        """Return the indices of all training images in random order, divided into batches `(B,)`.

        The batch sizes differ by at most one image, so that no batch is left with a single image, for which batch
        normalization has no variance. If the recipe passes over the images several times, each pass has an order of
        its own.
        """
        images = len(self.train)
        orders = (torch.randperm(images, generator=generator) for _ in range(self._passes))
        return tuple(batch for order in orders for batch in order.tensor_split(self.steps_per_epoch // self._passes))

    def epoch(self, number: int, generator: Generator) -> None:
        """Train one epoch.

        Args:
            number: Number of the epoch, counted from 1.
            generator: Generator of the order of the images and of their augmentation.

        Raises:
            EvaluationError: A loss is not finite, or the training run diverges.
        """
        steps, done = self.epochs * self.steps_per_epoch, (number - 1) * self.steps_per_epoch
        self.present.epoch = number
        unread = list[Tensor]()
        read_together = _LOSSES_READ_TOGETHER.get(self._device_kind, _LOSSES_READ_TOGETHER_ELSEWHERE)
        for batch in self.shuffled_batches(generator):
            # Each step has the learning rate of its middle: the first one is above 0, and so is the last one.
            learning_rate = self._pace.learning_rate_at((done + len(unread) + 0.5) / steps)
            unread.append(self.step(batch, learning_rate, generator))
            if len(unread) == read_together:
                done += self._check_losses(unread, done, number)
                unread.clear()
        self._check_losses(unread, done, number)

    def _check_losses(self, unread: Sequence[Tensor], done: int, epoch: int) -> int:
        """Check and report the losses of the steps after the first `done`; return their number."""
        steps = self.epochs * self.steps_per_epoch
        for step, loss in enumerate(torch.stack(tuple(unread)).tolist() if unread else (), done + 1):
            self.losses.add(epoch, step, loss)
            if self.on_batch is not None:
                self.on_batch(step, steps, loss)
        return len(unread)

    def state_dict(self) -> dict[str, Any]:
        """Return everything except the seeds that later epochs depend on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            # The parameter groups follow from the recipe; the learning rate in them is set in each step.
            "optimizer": self.optimizer.state_dict()["state"],
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "losses": list(self.losses.recent),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same training run; a state that does not fit may raise nearly any error."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["optimizer"]})
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.losses.restore(state["losses"])
        self.close()  # the optimizer has new tensors

    def close(self) -> None:
        """Free the memory of recorded steps; a run that goes on records them again."""
        if self.graphed is not None:
            self.graphed.forget()

    def step(self, batch: Tensor, learning_rate: float, generator: Generator) -> Tensor:
        """Train one step.

        Args:
            batch: Indices `(B,)` of training images.
            learning_rate: Learning rate of this step.
            generator: Generator of the augmentation.

        Returns:
            The loss before the step, as a scalar on the device.
        """
        if not self.model.training:
            self.model.train()
        set_learning_rate(self.optimizer, learning_rate)
        if self.graphed is not None:
            loss = self.graphed(*self._make_inputs_of(batch, generator))
        else:
            loss = self._compute_gradients(batch, generator)
            self._change_weights()
        if self.average is not None:
            self.average.update(self.model)
        return loss

    @property
    def first_steps(self) -> int:
        """Return the number of steps that may take longer than all others."""
        return 1 if self.graphed is None else FIRST_STEPS + 1

    def _compute_gradients(self, batch: Tensor, generator: Generator) -> Tensor:
        """Compute the gradients of a batch, part by part, and return its loss."""
        self.optimizer.zero_grad()
        if self.full.accumulation == 1:
            return self._add_gradients(*self._make_inputs_of(batch, generator))
        losses = [
            self._add_gradients(*self._make_inputs_of(part, generator), share=len(part) / len(batch))
            for part in batch.tensor_split(self._parts)
        ]
        return torch.stack(losses).sum()

    def _make_inputs_of(self, batch: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Return all that `_add_gradients` computes on, on the device."""
        inputs, mirrored = self.inputs.make(batch, self.present.epoch, generator)
        return send(batch, mirrored.device), mirrored, *inputs

    def _whole_step(self, *inputs: Tensor) -> Tensor:
        """Change the weights after the inputs of a step, and return the loss."""
        self.optimizer.zero_grad()
        loss = self._add_gradients(*inputs)
        self._change_weights()
        return loss

    def _change_weights(self) -> None:
        """Change the weights by their gradients."""
        if self.full.gradient_clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.full.gradient_clip)
        # The scaler skips the optimizer's step where a scaled fp16 gradient is not finite, and then lowers its scale.
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _add_gradients(self, batch: Tensor, mirrored: Tensor, *inputs: Tensor, share: float = 1.0) -> Tensor:
        """Add the gradients of a share of a batch, and return its part of the loss.

        Args:
            batch: Indices `(B,)` of the training images.
            mirrored: Which of the images are mirrored, bool `(B,)`.
            inputs: What `TrainingInputs.make` returns.
            share: Share of the batch.
        """
        if self.distillation is None:
            loss = self._loss(*inputs)[0]
        else:
            with pooled_features(self.model) as features:
                own, logits = self._loss(*inputs)
            loss = self.distillation.loss(own, logits, features[0].float(), batch, mirrored)
        loss = share * loss
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss(self, targets: Tensor, taught: Tensor, *views: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits `(N, classes)` of a batch.

        Args:
            targets: Labels `(N,)` or probabilities `(N, classes)`.
            taught: Logits of the teacher `(N, classes)`; empty without a teacher.
            views: Normalized images `(N, C, H, W)` of each view.
        """
        logits = self._logits(self.model, torch.cat(views) if len(views) > 1 else views[0]).tensor_split(len(views))
        loss = self.criterion(logits, targets)
        if len(taught):
            share, temperature = self.full.teacher_share, self.full.teacher_temperature
            loss = (1 - share) * loss + share * divergence(logits[0], taught, temperature)
        return loss, logits[0]

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return fp32 logits `(N, classes)` of normalized images `(N, C, H, W)`."""
        with torch.autocast(self._device_kind, self.precision.autocast, enabled=self.precision.autocast is not None):
            logits: Tensor = model(images)
        # The softmax of the loss sums exponentials, which 8 or 11 bits of mantissa round too coarsely.
        return logits.float()

    def validate(self) -> float:
        """Return the metric of the validation split, from 0 to 1."""
        return self.rate(self.all_correct())

    def all_correct(self) -> Tensor:
        """Return which images of the validation split are classified correctly, as bool `(N,)` in the host's memory."""
        return torch.cat([self.correct(batch) for batch in self.val_batches()]).cpu()

    def rate(self, correct: Tensor) -> float:
        """Return the metric, from 0 to 1, given which images of the validation split are classified correctly."""
        return METRICS[self.metric](correct, self.data.val.labels.cpu())

    def val_batches(self) -> tuple[slice, ...]:
        """Return the slices that divide the validation split into batches."""
        return tuple(slice(start, start + self.val_batch) for start in range(0, len(self.val), self.val_batch))

    @torch.inference_mode()
    def correct(self, batch: slice) -> Tensor:
        """Return which images of this slice of the validation split are classified correctly, as bool `(B,)`."""
        model = self.model if self.average is None else self.average.model
        model.eval()
        images, labels = self.val.take(batch)
        return self._logits(model, self.inputs.normalized(images)).argmax(1) == labels
