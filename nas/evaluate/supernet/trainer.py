"""The trainer of a supernet: it reads the shared weights from their file, or trains them and writes the file."""

from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from nas.data.base import ImageData
from nas.evaluate.base import Notify, ignore_message
from nas.evaluate.supernet.checkpoint import (
    KIND,
    SupernetCheckpoint,
    checkpoint_path,
    copy_weights,
    read_checkpoint,
    write_checkpoint,
)
from nas.evaluate.supernet.places import Places, space_digest
from nas.evaluate.supernet.pretrained import check_source, pretrained_weights, with_normalization
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.source_layers import SourceLayers
from nas.evaluate.supernet.training import SupernetTrainingRun
from nas.evaluate.supernet.weights import SharedWeights, initial_weights
from nas.space.decode import SearchSpace
from nas.train.device import median_seconds
from nas.train.lock import training_lock
from nas.train.loop import OnBatch
from nas.train.seeded import epoch_seed, seeded
from nas.weights.base import TrainedNetwork


@frozen(eq=False)
class SupernetTrainer:
    """Provide the trained weights of a supernet.

    The weights are saved after every epoch. A training that was interrupted continues after its last complete epoch and
    ends with the same weights on the same machine.

    Attributes:
        space: Search space.
        data: Data set of the images.
        folder: Folder of the files.
        recipe: Hyperparameters.
        seed: Seed of all random numbers.
        device: Device that trains.
        on_batch: Callback for every step, or None.
        notify: Callback for messages about the training.
        source: Network with trained weights that the shared weights start from, or None for random weights.

    Raises:
        WeightsError: The source cannot be used with the images; see `check_source`.
    """

    space: SearchSpace
    data: ImageData
    folder: Path
    recipe: SupernetRecipe = field(factory=SupernetRecipe)
    seed: int = 0
    device: str = "cpu"
    on_batch: OnBatch | None = None
    notify: Notify = ignore_message
    source: TrainedNetwork | None = None

    def __attrs_post_init__(self) -> None:
        if self.source is not None:
            check_source(self.source, self.data)

    @cached_property
    def images(self) -> ImageData:
        """Return the images with the normalization that the weights are trained for."""
        return with_normalization(self.data, self.source)

    @cached_property
    def described(self) -> dict[str, Any]:
        """Return what the weights depend on, as plain JSON values."""
        # Files without a source have no such key, and keep their names.
        source = {} if self.source is None else {"source": self.source.digest}
        return {
            "space": space_digest(self.space),
            "fingerprint": self.data.fingerprint,
            "resolution": self.data.resolution,
            "classes": self.data.num_classes,
            "images": {"train": len(self.data.train), "val": len(self.data.val)},
            "recipe": attrs.asdict(self.recipe) | {"own": list(self.recipe.own)},
            "seed": self.seed,
            "precision": "fp32",
        } | source

    @property
    def path(self) -> Path:
        """Return the path of the file with the weights."""
        return checkpoint_path(self.folder, self.space.name, self.described)

    def checkpoint(self) -> SupernetCheckpoint | None:
        """Return what is in the file, or None if there is no file.

        Raises:
            NasError: The file cannot be read, is damaged, or belongs to another supernet.
        """
        return read_checkpoint(self.path, self.described)

    def initial_weights(self) -> SharedWeights:
        """Return the weights that the training starts from, on the device."""
        with seeded(epoch_seed(self.seed, 0), self.device):
            return self._initial_weights().to(self.device)

    def _initial_weights(self) -> SharedWeights:
        if self.source is None or self._source_layers is None:
            return initial_weights(self._places, quiet=self.recipe.training.quiet_start)
        return pretrained_weights(self._source_layers, self.source, self.data.classes)

    @cached_property
    def _places(self) -> Places:
        # The weights are those for the images, whatever resolution and number of classes the target has.
        adapted = self.space.for_images(resolution=self.data.resolution, classes=self.data.num_classes)
        return Places(adapted, self.recipe.own)

    @cached_property
    def _source_layers(self) -> SourceLayers | None:
        return None if self.source is None else SourceLayers(self._places, self.source.arch)

    def trained_weights(self) -> SharedWeights:
        """Return the weights after the last epoch, which are read from the file or trained.

        Raises:
            NasError: The weights cannot be read or written.
            EvaluationError: The training failed.
        """
        run = self.new_run()
        # Without the lock first: a complete file is never written again, and processes need not wait to read it.
        if not self._load_if_complete(run, self.checkpoint()):
            with training_lock(self.path, KIND, self.notify):
                # The file is read again: another process may have trained until this one got the lock.
                checkpoint = self.checkpoint()
                if not self._load_if_complete(run, checkpoint):
                    self._train(run, checkpoint)
        return run.weights

    def seconds_left(self) -> float:
        """Return the estimated duration of the remaining training in seconds, 0 if it is complete.

        It trains a few steps and multiplies their median duration by the number of steps that remain.

        Raises:
            NasError: The file cannot be read.
        """
        checkpoint = self.checkpoint()
        epochs_left = self.recipe.epochs - (0 if checkpoint is None else checkpoint.epoch)
        if not epochs_left:
            return 0.0
        run = self.new_run()
        with run.seeded(1) as generator:
            batch = run.shuffled_batches(generator)[0]
            step = median_seconds(lambda: run.step(batch, 0.0, generator), 3)
        return epochs_left * run.steps_per_epoch * step

    def new_run(self) -> SupernetTrainingRun:
        """Return a training run that has not begun."""
        teacher = None if self._source_layers is None else self._source_layers.indices
        return SupernetTrainingRun(
            self.images, self.initial_weights(), self.recipe, self.seed, self.device, self.on_batch, teacher
        )

    def _load_if_complete(self, run: SupernetTrainingRun, checkpoint: SupernetCheckpoint | None) -> bool:
        """Copy the weights of a checkpoint into the run, and return whether its training is complete."""
        if checkpoint is not None:
            copy_weights(checkpoint.tensors, run.weights.tensors)
        if checkpoint is None or checkpoint.epoch < self.recipe.epochs:
            return False
        self.notify(f"the supernet in {self.path} is used again; its training took {_duration(checkpoint.seconds)}")
        return True

    def _train(self, run: SupernetTrainingRun, checkpoint: SupernetCheckpoint | None) -> None:
        """Train the remaining epochs, and write the file after each of them."""
        epochs, done, seconds = self.recipe.epochs, 0, 0.0
        if checkpoint is not None and checkpoint.optimizer is not None:
            run.optimizer.load_state_dict(dict(checkpoint.optimizer))
            done, seconds = checkpoint.epoch, checkpoint.seconds
        name = f"supernet of space {self.space.name}"
        if done:
            self.notify(f"the training of the {name} continues after epoch {done} of {epochs}; file {self.path}")
        else:
            self.notify(f"a {name} is trained for {epochs} epochs; file {self.path}")
            for note in () if self._source_layers is None else self._source_layers.notes():
                self.notify(f"supernet: {note}")
        for epoch in range(done + 1, epochs + 1):
            seconds += run.epoch(epoch)
            # The optimizer's state is up to twice as large as the weights, and is not needed after the last epoch.
            state = run.optimizer.state_dict() if epoch < epochs else None
            tensors = run.weights.tensors
            write_checkpoint(self.path, SupernetCheckpoint(self.described, epoch, seconds, tensors, state))
            left = _duration(seconds / epoch * (epochs - epoch))
            self.notify(f"supernet: epoch {epoch} of {epochs} is done, about {left} remain")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
