"""Classifiers that can be assessed: each gives logits for images."""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from attrs import frozen
from torch import Tensor, nn

from nas.data.base import Images
from nas.data.wording import listed
from nas.errors import DataError, WeightsError
from nas.train.prediction import Predictor
from nas.weights.base import TrainedNetwork


class Classifier(Protocol):
    """Represent a trained classifier of images of one size."""

    @property
    def form(self) -> tuple[int, int]:
        """Return the resolution in pixels and the number of channels of its images."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Return the names of the classes in the order of the logits; None if they are unknown."""

    def logits(self, images: Images) -> Tensor:
        """Return the logits of images of any size, float32 `(N, classes)`, in the host's memory."""


@frozen(eq=False, slots=False)
class NetworkClassifier:
    """Classify images with a trained network.

    Attributes:
        network: The network, whose normalization must be known.
        device: Device name as `find_device` returns it.
    """

    network: TrainedNetwork
    device: str = "cpu"

    def __attrs_post_init__(self) -> None:
        if self.network.normalization is None:
            raise WeightsError(
                "the normalization of the images of the network is unknown, so no images can be given to it",
                "save it with its normalization: nas weights SOURCE --normalization imagenet --save FILE",
            )

    @property
    def form(self) -> tuple[int, int]:
        """Return the resolution in pixels and the number of channels of the images."""
        return self.network.arch.resolution, self.network.arch.in_channels

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Return the names of the classes; None if they are unknown."""
        return self.network.classes

    def logits(self, images: Images) -> Tensor:
        """Return the logits of images of any size, float32 `(N, classes)`, in the host's memory."""
        return self._predictor.logits(self._module, images, self.network.arch.resolution)

    @cached_property
    def _predictor(self) -> Predictor:
        assert self.network.normalization is not None  # noqa: S101 - checked on construction
        return Predictor(self.network.normalization, self.device)

    @cached_property
    def _module(self) -> nn.Module:
        return self.network.module()


def with_labels_of(
    images: Images, data_classes: Sequence[str], network_classes: Sequence[str] | None, outputs: int
) -> Images:
    """Return images whose labels are indices of the logits of a network.

    Args:
        images: Images with labels that are indices of `data_classes`.
        data_classes: Names of the classes of the data.
        network_classes: Names of the classes of the network in the order of its logits; None if they are unknown. Then
            they count as those of the data, in the same order.
        outputs: Number of the logits.

    Raises:
        DataError: The classes differ.

    >>> from nas.data.base import Images
    >>> images = Images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> with_labels_of(images, ("cat", "dog"), ("dog", "cat"), 2).labels
    tensor([1, 0])
    """
    if network_classes is None:
        if len(data_classes) != outputs:
            raise DataError(
                f"the data has {len(data_classes):,} classes, and the network has {outputs:,} classes without names; "
                "both must have the same classes",
                "give the data that the network was trained on",
            )
        return images
    if missing := sorted(set(data_classes) - set(network_classes)):
        raise DataError(
            f"the data has classes that the network does not know: {listed(missing)}; both must have the same classes",
            f"give data with the classes {listed(network_classes)}",
        )
    if missing := sorted(set(network_classes) - set(data_classes)):
        raise DataError(
            f"the network has classes that the data lacks: {listed(missing)}; both must have the same classes",
            f"give data with the classes {listed(network_classes)}",
        )
    numbers = {name: number for number, name in enumerate(network_classes)}
    order = torch.tensor([numbers[name] for name in data_classes])
    return Images(images.images, order[images.labels.cpu()].to(images.labels.device), images.mapped)
