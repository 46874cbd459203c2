"""The first weights of a network that is fine-tuned."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from nas.arch.spec import Architecture
from nas.data.base import ImageData
from nas.errors import WeightsError
from nas.train.loop import TrainingRun
from nas.train.memory import memory_errors_of_network
from nas.train.prediction import Predictor
from nas.train.seeded import seeded
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.inheritance import Inherited, inherit
from nas.weights.normalizations import with_channels
from nas.weights.statistics import re_estimate, spread_batches

# Numbers of training images for the batch-norm statistics, in all and in a batch.
STATISTICS_IMAGES, STATISTICS_BATCH = 512, 64


class ArrayTensors(Mapping[str, Tensor]):
    """Hold tensors as arrays, which are sent to another process as plain bytes.

    A tensor is sent through shared memory, for which both processes need a file descriptor. A process may have 1,024
    of them by default, and a network has several hundred tensors.

    >>> ArrayTensors({"bias": torch.ones(2)})["bias"]
    tensor([1., 1.])
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._arrays = {name: _with_numpys_type(tensor.detach().cpu()).numpy() for name, tensor in tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor, which shares its memory with the array."""
        return torch.from_numpy(self._arrays[name])

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the names."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._arrays)


def _with_numpys_type(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def normalization_for(source: TrainedNetwork, channels: int) -> Normalization:
    """Return the normalization of a source network for images with so many channels.

    A network that inherits for another number of channels gives all channels of the image the same weight. So they all
    have the mean of the source's numbers.

    Raises:
        WeightsError: The normalization of the source is unknown.
    """
    known = source.normalization
    if known is None:
        raise WeightsError(
            "the normalization of the pretrained weights is unknown, and a network can only be fine-tuned on images "
            "that are normalized as those of its source",
            "give it by --normalization, such as imagenet, 0..1 or -1..1",
        )
    return with_channels(known, channels)


def inherit_for(
    source: TrainedNetwork, arch: Architecture, classes: tuple[str, ...], seed: int, gates: Mapping[str, Tensor]
) -> Inherited:
    """Return the weights that a network inherits for images of some classes.

    The classifier is inherited only if the source has exactly these classes; otherwise it begins with zeros.

    Args:
        source: Network to inherit from.
        arch: Architecture of the network.
        classes: Names of the classes of the images.
        seed: Seed of the weights that are not inherited.
        gates: Means of the gates of the source, as `gate_means_of` returns them.
    """
    classifier = "fresh" if source.classes == classes else "reset"
    return inherit(source.arch, source.tensors, arch, seed=seed, classifier=classifier, gate_means=gates)


def gate_means_of(source: TrainedNetwork, data: ImageData, device: str) -> Mapping[str, Tensor]:
    """Return the mean of each gate of the source on training images, which takes the place of a gate that is removed.

    The images are those of the data set as they are held. A network without gates needs no images.

    Raises:
        EvaluationError: Memory ran out.
    """
    if all(stage.gate is None for stage in source.arch.stages) or source.arch.in_channels != data.channels:
        return {}
    normalization = normalization_for(source, data.channels)
    # No random number is drawn; the context makes cuDNN deterministic and switches TF32 off.
    with seeded(0, device), memory_errors_of_network("with the source network", "lower the resolution"):
        means = Predictor(normalization, device).gate_means(source.module(), data.train)
    return {name: mean.cpu() for name, mean in means.items()}


def re_estimate_statistics(run: TrainingRun) -> None:
    """Re-estimate the batch-norm statistics of a training run's model on a few training images, in place."""
    re_estimate(run.model, _normalized_batches(run))


def _normalized_batches(run: TrainingRun) -> Iterator[Tensor]:
    """Yield normalized images that are spread evenly over the training split."""
    for batch in spread_batches(len(run.train), STATISTICS_IMAGES, STATISTICS_BATCH):
        images, _ = run.train.take(batch)
        yield run.scaling(images.contiguous(memory_format=torch.channels_last))


def head_and_fresh_parameters(model: nn.Module, inherited: Inherited) -> tuple[str, ...]:
    """Return the names of the parameters of the head, and of the nodes that inherit nothing."""
    fresh = tuple(f"{node.name}." for node in inherited.report.nodes if node.outcome == "fresh")
    return tuple(name for name, _ in model.named_parameters() if name.startswith(("head.", *fresh)))
