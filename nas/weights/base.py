"""Networks with trained weights: an architecture, its tensors, and what is known about them."""

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import torch
from attrs import Attribute, field, frozen
from torch import Tensor, nn

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.errors import WeightsError
from nas.models.build import build_model

REMEDY = "give the state_dict() of the network that nas.to_torch builds for this architecture"


def _floats(values: Any) -> tuple[float, ...]:
    try:
        return tuple(map(float, values))
    except OverflowError:
        raise WeightsError("a normalization has a number that is too large", "give finite numbers") from None


@frozen
class Normalization:
    """Represent the normalization of images: the mean and the standard deviation of each channel.

    A network receives (pixel - mean) / std, where pixel values are scaled to the range from 0 to 1. The input range of
    a source is part of the values: an input range from -1 to 1 has the mean 0.5 and the standard deviation 0.5.

    Attributes:
        mean: Mean of each channel.
        std: Standard deviation of each channel.

    >>> import nas, torch
    >>> nas.Normalization((0.5,), (0.5,)).apply(torch.tensor([[[[0.0, 1.0]]]]))
    tensor([[[[-1.,  1.]]]])
    """

    mean: tuple[float, ...] = field(converter=_floats)
    std: tuple[float, ...] = field(converter=_floats)

    def __attrs_post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise WeightsError(
                f"a normalization has {len(self.mean)} means and {len(self.std)} standard deviations",
                "give one mean and one standard deviation for each channel",
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise WeightsError(
                f"a normalization has the means {self.mean} and the standard deviations {self.std}",
                "give finite numbers, and standard deviations above 0",
            )

    def apply(self, pixels: Tensor) -> Tensor:
        """Return normalized images, given pixel values from 0 to 1 of shape `(N, C, H, W)`."""
        mean, std = (torch.tensor(values, dtype=pixels.dtype, device=pixels.device) for values in (self.mean, self.std))
        return (pixels - mean[:, None, None]) / std[:, None, None]


@lru_cache(maxsize=64)
def tensor_shapes(arch: Architecture) -> Mapping[str, torch.Size]:
    """Return the shape of each tensor of an architecture's network by its name, in the order of `state_dict()`.

    >>> from nas.arch.presets import preset
    >>> tensor_shapes(preset("efficientnet-b0"))["stem.conv.conv.weight"]
    torch.Size([32, 3, 3, 3])
    """
    # On this device no memory is used, and torch's global generator of random numbers does not change.
    try:
        with torch.device("meta"):
            return {name: tensor.shape for name, tensor in build_model(arch).state_dict().items()}
    except RuntimeError:  # the size in bytes exceeds 64 bits
        raise WeightsError("the architecture has a tensor larger than any memory", "give another one") from None


def check_tensors(arch: Architecture, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors are those of an architecture's network, no more and no fewer.

    Raises:
        WeightsError: A tensor is missing, has another shape, or is not one of the network's.
    """
    expected = tensor_shapes(arch)
    for name, shape in expected.items():
        if name not in tensors:
            raise WeightsError(f"the weights have no tensor {name!r}, which the architecture has", REMEDY)
        if tensors[name].shape != shape:
            found = tuple(tensors[name].shape)
            raise WeightsError(
                f"tensor {name!r} has the shape {found}, and the architecture has {tuple(shape)}", REMEDY
            )
    extra = next((name for name in tensors if name not in expected), None)
    if extra is not None:
        raise WeightsError(f"the weights have a tensor {extra!r}, which the architecture does not have", REMEDY)


def _check_network(network: "TrainedNetwork", _attribute: "Attribute[Any]", tensors: Mapping[str, Tensor]) -> None:
    check_tensors(network.arch, tensors)


@frozen(eq=False)
class TrainedNetwork:
    """Represent a network with trained weights.

    Attributes:
        arch: The architecture.
        tensors: Tensors with exactly the names and shapes of the `state_dict()` of the architecture's torch module.
        classes: Names of the classes in the order of the logits, or None if they are unknown.
        normalization: Normalization of the images that the network was trained with, or None if it is unknown.
        provenance: Texts about the origin of the weights, such as the source, by their names.

    >>> import nas
    >>> arch = nas.load_architecture("mobilenetv2")
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict())
    >>> network.module().training
    False
    """

    arch: Architecture
    tensors: Mapping[str, Tensor] = field(validator=_check_network, repr=lambda tensors: f"<{len(tensors)} tensors>")
    classes: tuple[str, ...] | None = None
    normalization: Normalization | None = None
    provenance: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.classes is not None and len(self.classes) != self.arch.classes:
            raise WeightsError(
                f"there are {len(self.classes):,} names of classes, and the network has {self.arch.classes:,} classes",
                "give one name for each class, or no names",
            )
        if self.normalization is not None and len(self.normalization.mean) != self.arch.in_channels:
            raise WeightsError(
                f"the normalization has {len(self.normalization.mean)} channels, and the input of the architecture has "
                f"{self.arch.in_channels}",
                "give one mean and one standard deviation for each channel",
            )

    @cached_property
    def digest(self) -> str:
        """Return 12 hex digits that change with the architecture, any tensor, the classes and the normalization.

        The provenance and the device of the tensors have no effect.
        """
        digest = hashlib.sha256(repr((format_text(self.arch), self.classes, self.normalization)).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            # As bytes, because numpy does not have all of torch's types.
            digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:12]

    def module(self) -> nn.Sequential:
        """Return the torch module with copies of these weights, in evaluation mode.

        Its input has the shape `(N, in_channels, H, W)` and is normalized; its output has the shape `(N, classes)`.
        """
        with torch.device("meta"):
            model = build_model(self.arch)
        # Copies, because training changes the tensors of a module in place.
        model.load_state_dict({name: tensor.clone() for name, tensor in self.tensors.items()}, assign=True)
        return model.eval()
