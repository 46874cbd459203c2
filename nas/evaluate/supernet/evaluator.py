"""Scores architectures with weights that all networks of a space share: one training for any number of searches."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Tensor, nn

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.data.augment import normalise
from nas.data.base import ImageData, Images
from nas.data.share import share
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Notify, ignore_message
from nas.evaluate.supernet.checkpoint import (
    Checkpoint,
    alone,
    checkpoint_path,
    read_checkpoint,
    take_in,
    write_checkpoint,
)
from nas.evaluate.supernet.places import Places, digest, frame
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.training import SupernetTraining
from nas.evaluate.supernet.weights import SharedWeights, calibrate, fresh_weights, plain
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse
from nas.train.device import find_device, median_seconds
from nas.train.loop import OnBatch
from nas.train.seeded import seeded

FOLDER = Path("nas-supernets")
# At most; a network is scored in seconds by these, and they are held as numbers.
CALIBRATION_IMAGES = 1000
CALIBRATION_BATCH = 250
VAL_IMAGES = 2000
VAL_BATCH = 500
Batch = tuple[Tensor, Tensor]


def _probability(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


# How right each of a batch's predictions is, 0 to 1: logits `(N, classes)`, labels `(N,)` ► `(N,)`.
VERDICTS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"probability": _probability, "accuracy": lambda logits, labels: logits.argmax(1) == labels}
)


@frozen(eq=False)
class SupernetEvaluator:
    """Accuracy on the val part, as `verdict` says, of a network whose weights are cut out of those of its whole space.

    The weights are trained once, when they are first needed, and lie in a file that every later search of the same
    space, data, recipe and seed reads, whatever its targets and devices are. A training that was ended goes on from its
    last whole epoch to the weights that it would have had.

    The statistics of a network's normalisations are the mean of those of a few batches of train images. The same
    weights give the same accuracies on the same machine. Not to be used in two threads at once.

    Args:
        space: for the target; its networks are scored and no others.
        data: the images.
        folder: of the files.
        recipe: how the weights are trained.
        seed: of everything random.
        device: as `find_device` gives it.
        verdict: "accuracy" is that of the most probable class; "probability" the one to expect where a class is drawn
            by the network's probabilities, the mean probability of the right one. It varies less with the images.
        on_batch: called after each step of the training.
        notify: told what becomes of the training, in sentences.
    """

    space: SearchSpace
    data: ImageData
    folder: Path = FOLDER
    recipe: SupernetRecipe = field(factory=SupernetRecipe)
    seed: int = 0
    device: str = field(default="cpu", converter=find_device)
    verdict: str = "accuracy"
    on_batch: OnBatch | None = None
    notify: Notify = ignore_message

    def __attrs_post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise NasError(f"the supernet's verdict is {self.verdict!r}", f"use {' or '.join(VERDICTS)}")
        if len(self.data.train) < 2:
            raise NasError(f"{self.data.name} has {len(self.data.train)} image to train on", "give it at least two")
        if (channels := frame(self.space).in_channels) != 3:
            raise NasError(f"space {self.space.name} takes {channels} channels", "images have 3; set channels=3")

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """The one accuracy of an architecture, whatever the budget.

        Raises:
            NasError: the budget is no epoch, or the weights cannot be read, trained or written.
            EvaluationError: the architecture is not in the space.
        """
        if budget < 1:
            raise NasError(f"a budget of {budget} epochs", "give at least one")
        return self._accuracy(arch)

    def _accuracy(self, arch: Architecture) -> Iterator[float]:
        shared = self._shared
        with seeded(self.seed, self.device):  # nothing is drawn; cuDNN is made deterministic and exact
            accuracy = self._scored(self._model(shared, arch))
        yield accuracy

    @torch.inference_mode()
    def _scored(self, model: nn.Module) -> float:
        verdict = VERDICTS[self.verdict]
        right = torch.cat([verdict(model(images), labels) for images, labels in self._val])
        return float(right.double().mean())

    def weights_of(self, arch: Architecture) -> dict[str, Tensor]:
        """A state for `build_model` of an architecture with the images' classes, to begin its own training with.

        Its normalisations hold the statistics with which it is scored.

        Args:
            arch: with the space's resolution and classes; the state's classifier is for the images' classes.

        Raises:
            NasError: see `evaluate`.
        """
        return {name: tensor.detach().clone() for name, tensor in self._model(self._shared, arch).state_dict().items()}

    def prepare(self) -> None:
        """Read the weights, or train them; nothing where that was done.

        Raises:
            NasError: they cannot be read, trained or written.
        """
        _ = self._shared

    def to_send(self) -> "SupernetEvaluator":
        """The same without callbacks, see `Sendable`; it reads the weights, so prepare them before.

        Raises:
            DataError: the images cannot be shared.
        """
        share(self.data)
        return attrs.evolve(self, on_batch=None, notify=ignore_message)

    def seconds_to_prepare(self) -> float:
        """An estimate: the median of a few steps, times those that are left; 0 where the weights are trained.

        Raises:
            NasError: see `prepare`.
        """
        held = self._held()
        left = self.recipe.epochs - (0 if held is None else held.epoch)
        if not left:
            return 0.0
        training = self._begun()
        with training.seeded(1) as generator:
            batch = training.shuffled_batches(generator)[0]
            step = median_seconds(lambda: training.step(batch, 0.0, generator), 3)
        return left * training.steps_per_epoch * step

    def seconds_prepared(self) -> float:
        """What the epochs took that are trained, whenever that was.

        Raises:
            NasError: the weights cannot be read.
        """
        held = self._held()
        return 0.0 if held is None else held.seconds

    def seconds_per_epoch(self, arch: Architecture) -> float:
        """An estimate of what its one accuracy takes: that of one with weights that are not trained."""
        fresh = self._fresh()
        return median_seconds(lambda: self._scored(self._model(fresh, arch)), 1)

    def describe(self) -> Mapping[str, Any]:
        """Everything the accuracies depend on, as plain JSON values."""
        return {
            "evaluator": "supernet",
            "data": self.data.name,
            **self._training,
            "verdict": {"score": self.verdict, "calibration_images": CALIBRATION_IMAGES, "val_images": VAL_IMAGES},
            "environment": {"device": self.device, "threads": torch.get_num_threads(), "torch": torch.__version__},
        }

    @cached_property
    def _training(self) -> dict[str, Any]:
        """What the weights depend on, as plain JSON values."""
        return {
            "space": digest(self.space),
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            "classes": self.data.num_classes,
            "images": {"train": len(self.data.train), "val": len(self.data.val)},
            "recipe": attrs.asdict(self.recipe) | {"own": list(self.recipe.own)},
            "seed": self.seed,
            "precision": "fp32",
        }

    @property
    def path(self) -> Path:
        """Of the file with the weights."""
        return checkpoint_path(self.folder, self.space.name, self._training)

    @cached_property
    def _shared(self) -> SharedWeights:
        training = self._begun()
        if not self._is_whole(training, self._held()):
            with alone(self.path, self.notify):
                held = self._held()  # another process may have trained meanwhile
                if not self._is_whole(training, held):
                    self._train(training, held)
        return training.weights

    def _held(self) -> Checkpoint | None:
        return read_checkpoint(self.path, self._training)

    def _is_whole(self, training: SupernetTraining, held: Checkpoint | None) -> bool:
        """Take in the weights of a file; whether they are trained to the end."""
        if held is not None:
            take_in(training.weights.tensors, held.tensors)
        if held is None or held.epoch < self.recipe.epochs:
            return False
        self.notify(f"the supernet in {self.path} is used again; its training took {_time(held.seconds)}")
        return True

    def _begun(self) -> SupernetTraining:
        return SupernetTraining(self.data, self._fresh(), self.recipe, self.seed, self.device, self.on_batch)

    def _fresh(self) -> SharedWeights:
        adapted = self.space.for_target(resolution=self.data.resolution, classes=self.data.num_classes)
        with seeded(self.seed * 1_000_003, self.device):
            weights = fresh_weights(Places(adapted, self.recipe.own), quiet=self.recipe.training.quiet_start)
        return weights.to(self.device)

    def _train(self, training: SupernetTraining, held: Checkpoint | None) -> None:
        """Train the epochs that are left; each is kept when it is over."""
        epochs, done, seconds = self.recipe.epochs, 0, 0.0
        if held is not None and held.optimizer is not None:
            training.optimizer.load_state_dict(dict(held.optimizer))
            done, seconds = held.epoch, held.seconds
        verb = f"is trained on from epoch {done}" if done else "is trained"
        self.notify(f"a supernet of space {self.space.name} {verb} to epoch {epochs}, and kept in {self.path}")
        for epoch in range(done + 1, epochs + 1):
            seconds += training.epoch(epoch)
            state = training.optimizer.state_dict() if epoch < epochs else None
            write_checkpoint(self.path, Checkpoint(self._training, epoch, seconds, training.weights.tensors, state))
            self.notify(f"supernet: epoch {epoch} of {epochs}, about {_time(seconds / epoch * (epochs - epoch))} left")

    @cached_property
    def _inverse(self) -> Inverse:
        return Inverse(self.space)

    def _model(self, shared: SharedWeights, arch: Architecture) -> nn.Module:
        """The network with its part of the weights, and with statistics of its own."""
        picks = self._inverse.picks(canonical(arch))
        if picks is None:
            raise EvaluationError(
                f"the architecture is not in space {self.space.name}, of which the supernet is",
                "give one that the space makes, for the same resolution and classes",
            )
        adapted = plain(arch.adapted(resolution=self.data.resolution, classes=self.data.num_classes))
        model = shared.model(adapted, picks)
        calibrate(model, [images for images, _ in self._calibration])
        return model

    @cached_property
    def _calibration(self) -> list[Batch]:
        return self._batches(self.data.train, CALIBRATION_IMAGES, CALIBRATION_BATCH)

    @cached_property
    def _val(self) -> list[Batch]:
        return self._batches(self.data.val, VAL_IMAGES, VAL_BATCH)

    def _batches(self, part: Images, most: int, size: int) -> list[Batch]:
        """Images spread over a part, normalised, in batches of about that size."""
        count = min(most, len(part))
        chosen = torch.arange(count) * len(part) // count
        images = normalise(part.images[chosen], self.data.mean, self.data.std)
        images = images.to(self.device, memory_format=torch.channels_last)
        pieces = -(-count // size)
        labels = part.labels[chosen].to(self.device)
        return list(zip(images.tensor_split(pieces), labels.tensor_split(pieces), strict=True))


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
