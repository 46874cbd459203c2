"""The start of a supernet from a trained network: its shared weights, and the normalization of the images."""

from collections.abc import Mapping, MutableMapping

import attrs
import torch
from torch import Tensor

from nas.data.base import ImageData
from nas.errors import WeightsError
from nas.evaluate.supernet.source_layers import SourceLayers
from nas.evaluate.supernet.weights import SharedWeights, initial_weights
from nas.weights.base import TrainedNetwork
from nas.weights.branches import (
    add_gate,
    begin_as_skip,
    find_skip,
    gate_of,
    gate_value,
    gated_channels,
    open_gate,
    scale_branch,
)
from nas.weights.channels import is_depthwise, select
from nas.weights.sorting import sort_channels
from nas.weights.transfer import Channels, transfer


def check_source(source: TrainedNetwork, data: ImageData) -> None:
    """Check that a network with trained weights can be used with the images.

    Raises:
        WeightsError: Its normalization is unknown, or it takes images with another number of channels.
    """
    if source.arch.in_channels != data.channels:
        raise WeightsError(
            f"the pretrained network takes {source.arch.in_channels} channels, and the images of {data.name} have "
            f"{data.channels}",
            "use a source for such images, or convert the images",
        )
    if source.normalization is None:
        raise WeightsError(
            "the normalization of the pretrained network is unknown",
            "give it with --normalization, for example --normalization imagenet",
        )


def with_normalization(data: ImageData, source: TrainedNetwork | None) -> ImageData:
    """Return the images with the normalization of the source; without a source, the images as they are."""
    if source is None or source.normalization is None:
        return data
    return attrs.evolve(data, mean=source.normalization.mean, std=source.normalization.std)


def pretrained_weights(layers: SourceLayers, source: TrainedNetwork, classes: tuple[str, ...]) -> SharedWeights:
    """Return shared weights that start from the weights of a trained network.

    The channels of the source are sorted by importance first, because a narrower network uses the first channels. New
    channels follow them; they have random weights, and what reads them has zeros. Kernels are padded by zeros or
    cropped. Additional layers and other operators have random weights, and begin as their skip where all networks have
    one there. So the source's network in the space, and larger ones, compute the function of the source.

    Args:
        layers: Layers of the source at the places of the search space.
        source: Network with trained weights.
        classes: Names of the classes of the images. The classifier starts at zero unless they are the source's.

    Example:
        >>> from nas.evaluate.supernet.places import Places
        >>> from nas.models.build import build_model
        >>> from nas.space.files import find_space
        >>> space = find_space("nasbench_macro")
        >>> arch = space.from_indices((1,) * 8)
        >>> source = TrainedNetwork(arch, build_model(arch).state_dict())
        >>> shared = pretrained_weights(SourceLayers(Places(space, ("operator",)), arch), source, ("cat", "dog"))
        >>> bool(shared.tensors["head", "classifier", "weight"].any())
        False
    """
    places, fresh = layers.places, initial_weights(layers.places, quiet=False)
    weights = sort_channels(source.arch, source.tensors)
    # The functions of `nas.weights` take tensors by their names in a state dictionary.
    tensors = {".".join(name): tensor.detach() for name, tensor in fresh.tensors.items()}
    for (place, name), old in layers.nodes.items():
        new = places.widest[place, name]
        columns = torch.arange(1) if is_depthwise(new) else select(None, old.in_channels, new.in_channels)
        channels = Channels(select(None, old.shape.channels, new.shape.channels), columns)
        prefix = f"{place}.{name}."
        for key in [key for key in tensors if key.startswith(prefix)]:
            before = weights[f"{layers.layers[place].name}.{name}.{key.removeprefix(prefix)}"]
            tensors[key] = transfer(before.to(tensors[key]), tensors[key], channels)[0]
    if source.classes != classes:
        for parameter in ("weight", "bias"):
            tensors[f"head.classifier.{parameter}"].zero_()
    for place in places.variants:
        _adapt_branch(tensors, place, layers, weights)
    return SharedWeights(places, {name: tensors[".".join(name)] for name in fresh.tensors})


def _adapt_branch(
    tensors: MutableMapping[str, Tensor], place: str, layers: SourceLayers, weights: Mapping[str, Tensor]
) -> None:
    """Let a fresh branch begin as its skip, and make up for gates that the source lacks or that only it has."""
    variants = layers.places.variants[place]
    if place not in layers.branches:
        if all(map(find_skip, variants)):
            for variant in variants:
                begin_as_skip(tensors, variant)
        return
    source, old = layers.layers[place], gate_of(layers.layers[place])
    gated = [(variant, gate) for variant in variants if (gate := gate_of(variant))]
    if old is None and gated:
        # Networks with and without the gate share the weights after it, which stay as they are for the latter.
        (add_gate if len(gated) == len(variants) else open_gate)(tensors, *gated[0])
    if old is not None and not gated:
        factors = gate_value(old, weights[f"{source.name}.se_expand.bias"])
        widest = max(variants, key=gated_channels)
        index = select(None, len(factors), gated_channels(widest))
        scale_branch(tensors, widest, torch.where(index < 0, 1.0, factors[index]))
