"""Networks whose channels are sorted by importance, so that the first channels are the most important ones."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from nas.arch.layers import walk
from nas.arch.spec import Architecture
from nas.weights.channels import IMAGE, ChannelSets, channel_sets, importance, is_depthwise, select
from nas.weights.transfer import Channels, transfer


def sort_channels(arch: Architecture, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights of the same function whose channels have a descending importance in each channel set.

    All layers that write or read a channel set are permuted in the same way. Channels of the image, the logits, and
    streams that a skip cuts or fills up with zeros keep their order, because there the position has a meaning.

    Args:
        arch: Architecture of the network.
        weights: State dictionary of the network.

    >>> from nas.arch.code import parse_text
    >>> from nas.models.build import build_model
    >>> arch = parse_text("net classes=2;stem conv c4;conv c4;head pool".replace(";", chr(10)))
    >>> weights = build_model(arch).state_dict()
    >>> weights["stages.0.0.conv.norm.weight"].copy_(torch.tensor([0.1, 0.3, 0.2, 0.4]))
    tensor([0.1000, 0.3000, 0.2000, 0.4000])
    >>> _ = weights["head.classifier.weight"].fill_(1), weights["stem.conv.norm.weight"].zero_()
    >>> sort_channels(arch, weights)["stages.0.0.conv.norm.weight"]
    tensor([0.4000, 0.3000, 0.2000, 0.1000])
    """
    sets = channel_sets(arch)
    fixed = _fixed_sets(arch, sets)
    orders = {
        name: scores.argsort(descending=True, stable=True).cpu()
        for name, scores in importance(arch, weights).items()
        if name not in fixed
    }
    nodes = {f"{placed.name}.{node.name}": node for placed in walk(arch) for node in placed.nodes if node.weights}
    result = dict(weights)
    for name, node in nodes.items():
        rows = orders.get(sets.writes[name], select(None, node.shape.channels, node.shape.channels))
        columns = orders.get(sets.reads[name], select(None, node.in_channels, node.in_channels))
        channels = Channels(rows, torch.arange(1) if is_depthwise(node) else columns)
        for key in [key for key in weights if key.startswith(f"{name}.")]:
            result[key] = transfer(weights[key], weights[key], channels)[0]
    return MappingProxyType(result)


def _fixed_sets(arch: Architecture, sets: ChannelSets) -> set[str]:
    """Return the channel sets whose channels have a meaning by their number."""
    resized = [f"{placed.name}.{node.name}" for placed in walk(arch) for node in placed.nodes if node.op == "resize"]
    return {IMAGE, *(side[name] for name in resized for side in (sets.reads, sets.writes))}
