"""The channels of a network that belong together, and their importance.

The values of a residual stream are added channel by channel, so a channel can only be removed from all layers that
write or read the stream. The same holds for the channels inside an inverted residual, which the depthwise convolution
filters one by one. Such values share a *channel set*. Only dense convolutions and linear layers lead from one set to
another.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from attrs import frozen
from torch import Tensor

from nas.arch.layers import INPUT, Node, walk
from nas.arch.spec import Architecture

IMAGE = "image"


@frozen
class ChannelSets:
    """Hold the channel sets that the nodes of a network read and write.

    Attributes:
        reads: Name of the set of the first input of each node. Nodes have their full names, such as
            "stages.0.1.expand".
        writes: Name of the set of the output of each node.
    """

    reads: Mapping[str, str]
    writes: Mapping[str, str]


def channel_sets(arch: Architecture) -> ChannelSets:
    """Return the channel sets of a network. The set of the image's channels is called `IMAGE`.

    >>> from nas.arch.code import parse_text
    >>> sets = channel_sets(parse_text("net;stem conv c8;mbconv r2 e6 c16;head pool".replace(";", chr(10))))
    >>> sets.writes["stages.0.0.project"] == sets.writes["stages.0.1.project"]
    True
    >>> sets.writes["stages.0.0.expand"] == sets.writes["stages.0.1.expand"]
    False
    """
    reads, writes, last = {}, {}, IMAGE
    # For a set that is tied to another one, the name of that one.
    tied: dict[str, str] = {}
    for placed in walk(arch):
        outputs = {INPUT: last}
        for node in placed.nodes:
            name = f"{placed.name}.{node.name}"
            reads[name] = outputs[node.inputs[0]]
            outputs[node.name] = writes[name] = name if _begins_set(node) else reads[name]
            if node.op in ("add", "scale"):
                first, second = (_root(tied, outputs[read]) for read in node.inputs)
                if first != second:
                    tied[first] = second
        last = outputs[placed.nodes[-1].name]
    return ChannelSets(*({name: _root(tied, one) for name, one in side.items()} for side in (reads, writes)))


def _begins_set(node: Node) -> bool:
    return node.op in ("linear", "resize") or (node.op == "conv" and not is_depthwise(node))


def is_depthwise(node: Node) -> bool:
    """Return whether a node filters each channel on its own."""
    # A depthwise convolution of one channel has one group, so the number of groups does not tell.
    return node.name == "depthwise"


def _root(tied: Mapping[str, str], name: str) -> str:
    while name in tied:
        name = tied[name]
    return name


def importance(arch: Architecture, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the importance of every channel of each channel set that is written and read inside a network.

    The importance is the sum of the magnitudes with which the channel is written, times the sum of the L1 norms of the
    weights that read it. The magnitude is the absolute scale of the batch normalization, and without normalization the
    L1 norm of the weights. For a channel inside an inverted residual this is the L1 norm of its weights in the
    projection times the scale of its depthwise batch normalization; for a residual stream all layers that write it or
    read it contribute. Gates do not count as writers and readers of the channels that they scale.

    Args:
        arch: Architecture of the network.
        weights: State dictionary of the network.
    """
    sets, written, read = channel_sets(arch), dict[str, Tensor](), dict[str, Tensor]()
    for placed in walk(arch):
        replaced = _before_depthwise(placed.nodes)
        for node in (node for node in placed.nodes if node.weights):
            name = f"{placed.name}.{node.name}"
            if node.name not in (replaced, "se_expand"):
                _add(written, sets.writes[name], _magnitude(weights, name))
            if not is_depthwise(node) and node.name != "se_reduce":
                _add(read, sets.reads[name], _column_norms(_weight(weights, name)))
    return MappingProxyType({name: written[name] * read[name] for name in written.keys() & read.keys()})


def _before_depthwise(nodes: Sequence[Node]) -> str:
    """Return the convolution whose output the depthwise convolution reads; its scale is replaced there."""
    by_name = {node.name: node for node in nodes}
    if "depthwise" not in by_name:
        return ""
    name = by_name["depthwise"].inputs[0]
    while name in by_name and by_name[name].op == "activation":
        name = by_name[name].inputs[0]
    return name


def _add(sums: dict[str, Tensor], name: str, values: Tensor) -> None:
    sums[name] = sums[name] + values if name in sums else values


def _magnitude(weights: Mapping[str, Tensor], name: str) -> Tensor:
    scale = weights.get(f"{name}.norm.weight")
    return scale.abs() if scale is not None else _weight(weights, name).flatten(1).abs().sum(1)


def _weight(weights: Mapping[str, Tensor], name: str) -> Tensor:
    return weights[f"{name}.conv.weight" if f"{name}.conv.weight" in weights else f"{name}.weight"]


def _column_norms(weight: Tensor) -> Tensor:
    return weight.abs().transpose(0, 1).flatten(1).sum(1)


def select(scores: Tensor | None, old: int, new: int) -> Tensor:
    """Return for each of `new` channels the number of the old channel that it inherits, or -1 for an added channel.

    The most important channels are kept in their order; added channels are the last ones.

    Args:
        scores: Importance of the old channels. With None, the first channels are the most important ones.
        old: Number of old channels.
        new: Number of new channels.

    >>> select(torch.tensor([0.1, 3.0, 0.2, 2.0]), 4, 2), select(None, 2, 4)
    (tensor([1, 3]), tensor([ 0,  1, -1, -1]))
    """
    if new >= old:
        return torch.cat([torch.arange(old), torch.full((new - old,), -1)])
    if scores is None:
        return torch.arange(new)
    return scores.argsort(descending=True, stable=True)[:new].sort().values.cpu()
