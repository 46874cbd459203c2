"""An evaluator that scores networks with weights that all networks of a search space share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Tensor, nn

from nas.arch.canonical import canonical
from nas.arch.proxy import proxy_resolution
from nas.arch.spec import Architecture
from nas.data.augment import Scaling
from nas.data.base import ImageData, Images
from nas.data.share import share
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Notify, ignore_message
from nas.evaluate.supernet.places import common_settings
from nas.evaluate.supernet.pretrained import check_source
from nas.evaluate.supernet.recipe import SupernetRecipe
from nas.evaluate.supernet.trainer import SupernetTrainer
from nas.evaluate.supernet.weights import SharedWeights
from nas.noise import Correct, ValidationSplit
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse
from nas.train.device import find_device, median_seconds
from nas.train.loader import BatchLoader, val_batch_size
from nas.train.loop import OnBatch
from nas.train.metrics import describe_split
from nas.train.seeded import seeded
from nas.weights.base import TrainedNetwork
from nas.weights.statistics import re_estimate, spread_batches

FOLDER = Path("nas-supernets")
# Largest numbers of images for the batch-norm statistics and for the accuracy of a network, which keep its evaluation
# at a few seconds, and the numbers of small images in a batch; see `val_batch_size`.
CALIBRATION_IMAGES = 1000
CALIBRATION_BATCH = 250
VAL_IMAGES = 2000
VAL_BATCH = 500
Batch = tuple[Tensor, Tensor]


def _probability(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


# Each metric gives a number from 0 to 1 for every image: logits `(N, classes)` and labels `(N,)` become `(N,)`.
METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"probability": _probability, "accuracy": lambda logits, labels: logits.argmax(1) == labels}
)


@frozen(eq=False)
class SupernetEvaluator:
    """Give the accuracy of a network on the validation split, with weights from a supernet of its search space.

    The weights are trained once, when they are first needed, and saved in a file; see `SupernetTrainer`. Every later
    search of the same space, data, recipe and seed reads this file, whatever its targets and devices are.

    The batch-norm statistics of a network are the mean of those of a few batches of training images. On the same
    machine the same weights give the same accuracies. An evaluator must not be used by two threads at once.

    Args:
        space: Search space for the target; only its networks can be evaluated.
        data: Images.
        folder: Folder of the files.
        recipe: Hyperparameters of the training.
        seed: Seed of all random numbers.
        device: Device name as `find_device` takes it; None chooses the fastest device.
        metric: "accuracy" is the share of correctly classified images. "probability" is the mean probability that the
            network gives to the correct class, which varies less with the choice of images.
        on_batch: Callback for every step of the training, or None.
        notify: Callback for messages about the training.
        source: Network with trained weights that the supernet starts from, or None for random weights. Images are then
            normalized as the source's.

    Raises:
        NasError: The metric is unknown, the training split has fewer than two images, or the space's networks do not
            take color images.
        WeightsError: The normalization of the source is unknown, or it takes images with other channels.
    """

    space: SearchSpace
    data: ImageData
    folder: Path = FOLDER
    recipe: SupernetRecipe = field(factory=SupernetRecipe)
    seed: int = 0
    device: str = field(default="cpu", converter=find_device)
    metric: str = "accuracy"
    on_batch: OnBatch | None = None
    notify: Notify = ignore_message
    source: TrainedNetwork | None = None
    _correct: dict[Architecture, Correct] = field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.metric not in METRICS:
            raise NasError(f"a supernet has no metric {self.metric!r}", f"use {' or '.join(METRICS)}")
        if len(self.data.train) < 2:
            raise NasError(
                f"{self.data.name} has {len(self.data.train)} training image; batch normalization needs at least two",
                "add images",
            )
        if (channels := common_settings(self.space).in_channels) != self.data.channels:
            raise NasError(
                f"networks of space {self.space.name} take {channels} channels, and the images have "
                f"{self.data.channels}",
                f"use a space with channels={self.data.channels}",
            )
        if self.source is not None:
            check_source(self.source, self.data)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """Return an iterator over the one accuracy of an architecture, whatever the budget is.

        Raises:
            NasError: The budget is below one epoch, or the weights cannot be read, trained or written.
            EvaluationError: The architecture is not in the search space.
        """
        if budget < 1:
            raise NasError(f"the budget is {budget} epochs; an evaluation needs at least one", "raise the budget")
        return self._accuracy(arch)

    def _accuracy(self, arch: Architecture) -> Iterator[float]:
        shared = self._shared
        # No random number is drawn; the context makes cuDNN deterministic and switches TF32 off.
        with seeded(self.seed, self.device):
            values = self._values(self._model(shared, arch), self._resolution(arch))
        if values.dtype == torch.bool:
            self._correct[arch] = values.cpu().numpy()
        yield self._mean(values)

    @torch.inference_mode()
    def _values(self, model: nn.Module, resolution: int) -> Tensor:
        """Return the metric of each validated image, `(N,)`."""
        metric = METRICS[self.metric]
        return torch.cat([metric(model(images), labels) for images, labels in self._val(resolution)])

    def _mean(self, values: Tensor) -> float:
        # The mean is taken in fp64: networks are compared by differences that fp32 sums of 2,000 values would round.
        return float(values.double().mean())

    def weights_of(self, arch: Architecture) -> dict[str, Tensor]:
        """Return the state of a model with the network's weights and batch-norm statistics, to train it further.

        The state fits the model that `build_model` makes of the architecture with the images' number of classes.

        Args:
            arch: Architecture with the resolution and number of classes of the search space.

        Raises:
            NasError: See `evaluate`.
        """
        return {name: tensor.detach().clone() for name, tensor in self._model(self._shared, arch).state_dict().items()}

    def prepare(self) -> None:
        """Read or train the weights, unless this evaluator has them already; see `Preparing`.

        Raises:
            NasError: The weights cannot be read, trained or written.
        """
        _ = self._shared

    def to_send(self) -> "SupernetEvaluator":
        """Return the evaluator without callbacks; see `Sendable`.

        It does not contain the weights: every process reads them from the file, so call `prepare` first.

        Raises:
            DataError: The images cannot be shared.
        """
        share(self.data)
        return attrs.evolve(self, on_batch=None, notify=ignore_message)

    def seconds_to_prepare(self) -> float:
        """Return the estimated duration of the remaining training in seconds; see `SupernetTrainer.seconds_left`.

        Raises:
            NasError: The file cannot be read.
        """
        return self._trainer.seconds_left()

    def seconds_prepared(self) -> float:
        """Return the duration of the finished epochs in seconds, whenever and by whichever process they were trained.

        Raises:
            NasError: The file cannot be read.
        """
        checkpoint = self._trainer.checkpoint()
        return 0.0 if checkpoint is None else checkpoint.seconds

    def seconds_per_epoch(self, arch: Architecture) -> float:
        """Return the estimated duration of one evaluation in seconds, from an evaluation with untrained weights."""
        untrained = self._trainer.initial_weights()
        resolution = self._resolution(arch)
        return median_seconds(lambda: self._mean(self._values(self._model(untrained, arch), resolution)), 1)

    def validation_split(self) -> ValidationSplit:
        """Return size and chance rate of the images that are validated; see `Validating`."""
        return describe_split(self.data.val.labels[self._val_indices], self.metric)

    def correct(self, arch: Architecture) -> Correct | None:
        """Return which of these images were classified correctly, once; see `Validating`."""
        return self._correct.pop(arch, None)

    def describe(self) -> Mapping[str, Any]:
        """Return everything that the accuracies depend on, as plain JSON values."""
        return {
            "evaluator": "supernet",
            "data": self.data.name,
            **self._trainer.described,
            # Studies store this key, so it keeps its name.
            "verdict": {
                "score": self.metric,
                "calibration_images": CALIBRATION_IMAGES,
                # Batches of earlier versions had consecutive images, which gave other accuracies.
                "calibration_batches": "spread",
                "val_images": VAL_IMAGES,
            },
            "environment": {"device": self.device, "threads": torch.get_num_threads(), "torch": torch.__version__},
        }

    @property
    def path(self) -> Path:
        """Return the path of the file with the weights."""
        return self._trainer.path

    @cached_property
    def _trainer(self) -> SupernetTrainer:
        return SupernetTrainer(
            self.space,
            self.data,
            self.folder,
            self.recipe,
            self.seed,
            self.device,
            self.on_batch,
            self.notify,
            self.source,
        )

    @cached_property
    def _shared(self) -> SharedWeights:
        return self._trainer.trained_weights()

    @cached_property
    def _inverse(self) -> Inverse:
        return Inverse(self.space)

    def _model(self, shared: SharedWeights, arch: Architecture) -> nn.Module:
        """Return the model of a network with its slices of the weights and its own batch-norm statistics."""
        indices = self._inverse.indices(canonical(arch))
        if indices is None:
            raise EvaluationError(
                f"the architecture is not in space {self.space.name}, for which the supernet was trained",
                "use an architecture of this space, with the same resolution and number of classes",
            )
        resolution = self._resolution(arch)
        adapted = arch.adapted(resolution=resolution, classes=self.data.num_classes)
        model = shared.model(adapted, indices).eval()
        # The training keeps no running statistics, because they would belong to a mixture of networks.
        re_estimate(model, (images for images, _ in self._calibration(resolution)))
        return model

    def _resolution(self, arch: Architecture) -> int:
        return proxy_resolution(self.data.resolution, arch.resolution, self.space.full_resolution)

    def _calibration(self, resolution: int) -> Iterator[Batch]:
        size = val_batch_size(resolution, CALIBRATION_BATCH)
        batches = spread_batches(len(self.data.train), CALIBRATION_IMAGES, size)
        return self._take(self.data.train, batches, resolution)

    def _val(self, resolution: int) -> Iterator[Batch]:
        batches = torch.split(self._val_indices, val_batch_size(resolution, VAL_BATCH))
        return self._take(self.data.val, batches, resolution)

    @property
    def _val_indices(self) -> Tensor:
        count = min(VAL_IMAGES, len(self.data.val))
        return torch.arange(count) * len(self.data.val) // count

    def _take(self, split: Images, batches: Iterable[Tensor], resolution: int) -> Iterator[Batch]:
        """Yield normalized images of a split with their labels, on the device.

        They are made again for every network: floats for every resolution of a search space would take gigabytes.
        """
        scaling = Scaling(self._trainer.images.mean, self._trainer.images.std, self.device)
        loader = BatchLoader(split.images, split.labels.to(self.device), self.device, resolution)
        for chosen in batches:
            images, labels = loader.take(chosen)
            yield scaling(images.contiguous(memory_format=torch.channels_last)), labels
