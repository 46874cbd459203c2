"""Class activation maps: which parts of an image a network's decision for a class comes from."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from attrs import frozen
from torch import Tensor, nn

from nas.errors import MissingPackageError, WeightsError
from nas.weights.base import TrainedNetwork

# The input of this module is the output of the last convolution, behind its activation.
_POOLING = "head.mean"
_STEPS = 32  # of the integral; the error of the attributions falls with it
# Share of the mass that the smallest area in `Mass` holds.
AREA_SHARE = 0.5


@frozen
class Mass:
    """Hold where the mass of a map lies; coordinates are shares of the width and the height, from the upper left.

    Attributes:
        center: Center of the mass, as x and y.
        area: Smallest share of the pixels that holds half of the mass.
        box: Left, upper, right and lower end of the smallest box around these pixels.
    """

    center: tuple[float, float]
    area: float
    box: tuple[float, float, float, float]


@frozen(eq=False)
class ActivationMap:
    """Hold how much each pixel of an image contributes to the logit of a class.

    Attributes:
        label: Index of the class.
        probability: Probability that the network gives the class.
        values: Contribution of each pixel `(H, W)`, from 0 to 1 for the largest one; all 0 if nothing contributes.
    """

    label: int
    probability: float
    values: Tensor

    def mass(self) -> Mass | None:
        """Return where the mass lies, or None if nothing contributes to the class."""
        return find_mass(self.values)


def _grad_cam(model: nn.Module, image: Tensor, label: int) -> Tensor:
    from captum.attr import LayerAttribution, LayerGradCam

    attribution = LayerGradCam(model, model.get_submodule(_POOLING))
    found = attribution.attribute(image, target=label, attribute_to_layer_input=True, relu_attributions=True)
    enlarged: Tensor = LayerAttribution.interpolate(found, image.shape[-2:], "bilinear")
    return enlarged.sum(1)[0]


def _saliency(model: nn.Module, image: Tensor, label: int) -> Tensor:
    from captum.attr import Saliency

    found: Tensor = Saliency(model).attribute(image, target=label)
    return found.amax(1)[0]


def _integrated_gradients(model: nn.Module, image: Tensor, label: int) -> Tensor:
    from captum.attr import IntegratedGradients

    # The baseline is zero, the mean color of the images that the network was trained with.
    found: Tensor = IntegratedGradients(model).attribute(image, target=label, n_steps=_STEPS, internal_batch_size=1)
    return found.sum(1)[0].clamp_min(0)


# Functions from a model, a normalized image `(1, C, H, W)` and a class to contributions `(H, W)` of 0 or more.
METHODS: Mapping[str, Callable[[nn.Module, Tensor, int], Tensor]] = MappingProxyType(
    {"gradcam": _grad_cam, "saliency": _saliency, "integrated-gradients": _integrated_gradients}
)


@frozen(eq=False)
class Explainer:
    """Make activation maps of one network.

    Attributes:
        network: The network; the normalization of its images must be known.
        model: Its module on the device that computes.
        method: Key of `METHODS`.
        device: Device that computes.
    """

    network: TrainedNetwork
    model: nn.Module
    method: str
    device: str

    def explain(self, pixels: Tensor, label: int | None = None) -> ActivationMap:
        """Return the map of an image.

        Args:
            pixels: uint8 pixels `(C, H, W)`.
            label: Index of the class to explain; None takes the most probable one.
        """
        assert self.network.normalization is not None  # noqa: S101 -- `make_explainer` checks it
        image = self.network.normalization.apply(pixels[None].to(self.device).float() / 255).requires_grad_()
        with torch.no_grad():
            probabilities = self.model(image).softmax(1)[0]
        chosen = int(probabilities.argmax()) if label is None else label
        values = METHODS[self.method](self.model, image, chosen).detach().float().cpu()
        return ActivationMap(chosen, float(probabilities[chosen]), values / values.max().clamp_min(1e-30))


def make_explainer(name: str, network: TrainedNetwork, method: str, device: str) -> Explainer:
    """Return what makes the maps of a network.

    Args:
        name: Name of the network, for messages.
        network: The network.
        method: Key of `METHODS`.
        device: Device that computes.

    Raises:
        WeightsError: The normalization of the network is unknown.
        MissingPackageError: captum is not installed.
    """
    try:
        import captum  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the package {error.name} is not installed", "install it with `pip install 'hwnas[explain]'`"
        ) from error
    if network.normalization is None:
        raise WeightsError(
            f"the normalization of the images of {name} is unknown, and its maps depend on it",
            "save the network with it: `nas weights SOURCE --normalization imagenet --save FILE.safetensors`",
        )
    model = network.module().requires_grad_(requires_grad=False).to(device)
    return Explainer(network, model, method, device)


def find_mass(values: Tensor) -> Mass | None:
    """Return where the mass of a map lies, or None if it has none.

    Args:
        values: Contributions `(H, W)` of 0 or more.

    >>> values = torch.zeros(4, 4)
    >>> values[0, 1] = 1.0
    >>> find_mass(values)
    Mass(center=(0.375, 0.125), area=0.0625, box=(0.25, 0.0, 0.5, 0.25))
    """
    total = float(values.sum())
    if not total > 0:
        return None
    height, width = values.shape
    shares = values.double() / values.double().sum()
    xs, ys = ((torch.arange(side) + 0.5) / side for side in (width, height))
    center = float(shares.sum(0) @ xs.double()), float(shares.sum(1) @ ys.double())
    order = shares.flatten().argsort(descending=True, stable=True)
    # The first pixel with which the mass reaches its share is the last one of the area.
    count = int((shares.flatten()[order].cumsum(0) < AREA_SHARE - 1e-9).sum()) + 1
    rows, columns = order[:count] // width, order[:count] % width
    box = (
        int(columns.min()) / width,
        int(rows.min()) / height,
        (int(columns.max()) + 1) / width,
        (int(rows.max()) + 1) / height,
    )
    return Mass(center, count / (width * height), box)
