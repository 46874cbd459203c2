"""The layers and nodes of two architectures that correspond to each other.

Stages correspond in their order, and the layers of two stages correspond in their order. So the first layer of a stage,
which may change the shape, is always paired, and a stage with fewer layers loses its last ones. Where the numbers of
stages differ, for example because the canonical form joins equal stages, the layers are divided at changes of the
shape instead, and where these differ too, at strides.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, zip_longest
from types import MappingProxyType

from attrs import frozen

from nas.arch.layers import Node, PlacedPart, keeps_identity, walk
from nas.arch.spec import Architecture, ConvHead, MlpHead, PoolHead, Stage

Layers = tuple[PlacedPart, ...]


@frozen
class Pair:
    """Hold a part of the target network and the part of the source network that corresponds to it.

    Attributes:
        target: Part of the target network.
        source: Part of the source network, or None if the part of the target is new.
    """

    target: PlacedPart
    source: PlacedPart | None

    @property
    def is_same_operator(self) -> bool:
        """Return whether the branches of both parts consist of the same convolutions and linear layers."""
        return self.source is not None and branch(self.source) == branch(self.target)


@frozen
class Pairing:
    """Hold the corresponding parts of two networks.

    Attributes:
        pairs: All parts of the target network in order, each with its source.
        dropped: Parts of the source network that have no counterpart.
    """

    pairs: tuple[Pair, ...]
    dropped: Layers


def pair_parts(source: Architecture, target: Architecture) -> Pairing:
    """Return the corresponding parts of two networks.

    >>> from nas.arch.code import parse_text
    >>> text = "net;stem conv c8;conv r2 c8;conv r{} s2 c16;head pool".replace(";", chr(10))
    >>> pairing = pair_parts(parse_text(text.format(3)), parse_text(text.format(2)))
    >>> [layer.name for layer in pairing.dropped]
    ['stages.1.2']
    """
    before, after = tuple(walk(source)), tuple(walk(target))
    pairs, dropped = [Pair(after[0], before[0])], list[PlacedPart]()
    for old, new in _pair_groups(before[1:-1], after[1:-1]):
        pairs.extend(Pair(layer, old[i] if i < len(old) else None) for i, layer in enumerate(new))
        dropped.extend(old[len(new) :])
    return Pairing((*pairs, Pair(after[-1], before[-1])), tuple(dropped))


def _pair_groups(before: Layers, after: Layers) -> Iterable[tuple[Layers, Layers]]:
    for divide in (_stages, _shapes, _levels):
        groups = divide(before), divide(after)
        if len(groups[0]) == len(groups[1]):
            break
    return zip_longest(*groups, fillvalue=())


def _stages(layers: Layers) -> list[Layers]:
    return [tuple(group) for _, group in groupby(layers, lambda layer: layer.name.split(".")[1])]


def _shapes(layers: Layers) -> list[Layers]:
    def begins(layer: PlacedPart) -> bool:
        return not (isinstance(layer.part, Stage) and keeps_identity(layer.part, layer.shape.channels))

    return _divide(layers, begins)


def _levels(layers: Layers) -> list[Layers]:
    return _divide(layers, lambda layer: isinstance(layer.part, Stage) and layer.part.stride > 1)


def _divide(layers: Layers, begins: Callable[[PlacedPart], bool]) -> list[Layers]:
    """Return the layers in groups. Every layer that `begins` accepts begins a group; the first group can be empty."""
    groups: list[list[PlacedPart]] = [[]]
    for layer in layers:
        if begins(layer):
            groups.append([])
        groups[-1].append(layer)
    return [tuple(group) for group in groups]


def is_gate_node(node: Node) -> bool:
    """Return whether a node belongs to a gate (squeeze-and-excitation)."""
    return node.name.startswith("se_")


def branch(placed: PlacedPart) -> tuple[str, ...]:
    """Return the names of the nodes with weights, without those of the gate and of a computed skip.

    Two layers with equal names compute the same kind of function: "expand" is followed by "depthwise" in an inverted
    residual, and by "project" in a fused one.
    """
    return tuple(node.name for node in placed.nodes if node.weights and not is_beside_branch(node))


def is_beside_branch(node: Node) -> bool:
    """Return whether a node belongs to a gate or to a computed skip."""
    return is_gate_node(node) or node.name == "skip_conv"


def pair_nodes(pair: Pair) -> Mapping[str, Node]:
    """Return for names of nodes of the target part the node of the source part whose weights they can inherit."""
    if pair.source is None:
        return MappingProxyType({})
    nodes = {node.name: node for node in pair.source.nodes if node.weights}
    shared = _shared_branch(pair.source, pair.target)
    if isinstance(pair.target.part, Stage):
        # The gate has a meaning only for the channels of its own branch; a computed skip is independent of the branch.
        shared |= {name for name, node in nodes.items() if is_gate_node(node) and shared} | {"skip_conv"}
    return MappingProxyType({name: node for name, node in nodes.items() if name in shared})


def _shared_branch(source: PlacedPart, target: PlacedPart) -> set[str]:
    if branch(source) == branch(target):
        return set(branch(target))
    if isinstance(target.part, ConvHead | MlpHead) and not isinstance(source.part, PoolHead):
        # Both heads begin with the same convolution, but their classifiers read different features.
        return {"conv"}
    return set()


def changed_parts(source: Architecture, target: Architecture) -> tuple[str, ...]:
    """Return the names of the parts of a target network whose operators differ from those of the source.

    They cannot inherit weights. Neither can further layers of a stage, but these begin as identities.

    >>> from nas.arch.code import parse_text
    >>> text = "net;stem conv c8;{} c8;mbconv r{} e3 c16;head pool".replace(";", chr(10))
    >>> changed_parts(parse_text(text.format("mbconv e3", 1)), parse_text(text.format("conv", 2)))
    ('stages.0.0',)
    """
    pairs = pair_parts(source, target).pairs[:-1]  # The classifier depends on the classes and not on the operators.
    return tuple(
        pair.target.name
        for pair in pairs
        if pair.source is not None and not pair_nodes(pair).keys() & {*branch(pair.target)}
    )
