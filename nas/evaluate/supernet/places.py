"""The assignment of a network's layers to the weights that all networks of a search space share.

A place is a position for weights: a layer of a part of the space, or the stem or head, together with the options that
have weights of their own there. Places are determined before architectures are brought into canonical form, so a layer
that is absent does not move the places of the layers after it. At each place every node has the weights of the widest
variant that occurs there, and a network uses a slice of them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import attrs
from attrs import frozen

from nas.arch.code import format_text
from nas.arch.layers import Node, PlacedPart, Shape, stage_layers, walk_part
from nas.arch.spec import Architecture, ConvStem, Input, Part, PoolHead, Stage
from nas.space.decode import Form, SearchSpace

ChoiceIndices = Sequence[int]
# The name of a part of the space, and the number of a layer in it.
Position = tuple[str, int]
# A place and the name of a node there.
Key = tuple[str, str]


@frozen(eq=False)
class Places:
    """Compute the places of a search space.

    Attributes:
        space: Search space, for the number of classes of the images.
        own: Fields of a stage whose options have weights of their own; the options of other fields share weights.

    Example:
        >>> from nas.space.files import find_space
        >>> places = Places(find_space("nasbench_macro"), ("operator",))
        >>> places.of_network([1] * 8)[:2]
        ('stem', 'layer1.0.mbconv')
    """

    space: SearchSpace
    own: tuple[str, ...]

    def of_network(self, indices: ChoiceIndices) -> tuple[str, ...]:
        """Return the place of each layer of a network, from the stem to the head.

        Args:
            indices: Choice indices of the network.
        """
        return tuple(place for part, form in self._chosen_forms(indices) for _, place, _ in self._layers(part, form))

    def _chosen_forms(self, indices: ChoiceIndices) -> Iterator[tuple[str, Form]]:
        """Yield the name of each part of the space and the form that the choice indices give it."""
        start = 0
        for part in self.space.parts:
            end = start + len(part.choices)
            yield part.name, part.part(tuple(indices[start:end]))
            start = end

    def _layers(self, name: str, form: Form) -> Iterator[tuple[Position, str, Part]]:
        """Yield the position, the place and the description of each layer of a form."""
        if isinstance(form, Stage):
            for i, layer in enumerate(stage_layers(form)):
                # Files of weights contain these names, so they must not change.
                yield (name, i), f"{name}.{i}.{'-'.join(format(getattr(layer, one)) for one in self.own)}", layer
        elif not isinstance(form, Input | None):
            yield (name, 0), name, form

    @cached_property
    def positions(self) -> Mapping[str, Position]:
        """Return the position of each place; places for several options are at the same position."""
        layers = (layer for part in self.space.parts for form in part.forms for layer in self._layers(part.name, form))
        return MappingProxyType({place: position for position, place, _ in layers})

    @cached_property
    def _walked(self) -> tuple[dict[Key, Node], dict[Key, bool]]:
        """Return for each key the widest node with weights, and whether it ends a residual branch in all networks."""
        widest: dict[Key, Node] = {}
        always_ends: dict[Key, bool] = {}
        for placed in self._all_layers:
            end = _residual_end(placed.nodes)
            for node in placed.nodes:
                if node.weights:
                    key = (placed.name, node.name)
                    widest[key] = _union(widest.get(key, node), node)
                    always_ends[key] = always_ends.get(key, True) and node.name == end
        return widest, always_ends

    @cached_property
    def variants(self) -> Mapping[str, tuple[PlacedPart, ...]]:
        """Return for each place all layers that networks have there; their names are that of the place."""
        variants: dict[str, list[PlacedPart]] = {}
        for placed in self._all_layers:
            variants.setdefault(placed.name, []).append(placed)
        return MappingProxyType({place: tuple(layers) for place, layers in variants.items()})

    @cached_property
    def _all_layers(self) -> tuple[PlacedPart, ...]:
        """Return every layer of every form, for every possible number of input channels.

        The random initial weights are drawn in the order of these layers, so the order must not change.

        The numbers of channels are propagated from part to part. Whole networks cannot be enumerated: a space may
        have more than 10^18 of them, while each part has few forms.
        """
        net = common_settings(self.space)
        reached = {net.in_channels}
        layers: list[PlacedPart] = []
        for part in self.space.parts:
            after: set[int] = set()
            walks: dict[tuple[str, Part, int], PlacedPart] = {}
            for channels in sorted(reached):
                for form in part.forms:
                    end = channels
                    for _, place, layer in self._layers(part.name, form):
                        key = (place, layer, end)
                        if key not in walks:
                            # Weights do not depend on the sides of an image, so one pixel is enough.
                            shape = Shape(end, 1, 1)
                            walks[key] = PlacedPart(place, layer, shape, walk_part(layer, shape, net.classes))
                        end = walks[key].nodes[-1].shape.channels
                    after.add(end)
            layers.extend(walks.values())
            reached = after
        return tuple(layers)

    @property
    def widest(self) -> Mapping[Key, Node]:
        """Return the widest node for every place and name of a node with weights."""
        return MappingProxyType(self._walked[0])

    @property
    def residual_ends(self) -> frozenset[Key]:
        """Return the nodes that end a residual branch in every network that has them."""
        return frozenset(key for key, always in self._walked[1].items() if always)


def _union(a: Node, b: Node) -> Node:
    """Return a node whose weights contain those of both nodes as slices."""
    shape = Shape(max(a.shape.channels, b.shape.channels), 1, 1)
    sizes = {name: max(getattr(a, name), getattr(b, name)) for name in ("in_channels", "kernel", "groups")}
    return attrs.evolve(a, shape=shape, **sizes)


def _residual_end(nodes: Sequence[Node]) -> str:
    """Return the name of the convolution that ends the layer's residual branch, or "" if it has none."""
    by_name = {node.name: node for node in nodes}
    if "add" not in by_name:
        return ""
    end = by_name[by_name["add"].inputs[0]]
    if end.op == "scale":
        end = by_name[end.inputs[0]]
    return end.name if end.op == "conv" else ""


def common_settings(space: SearchSpace) -> Architecture:
    """Return an architecture with the settings that all networks of a space share, such as resolution and padding."""
    return Architecture(ConvStem(1), (Stage("conv", 1),), PoolHead(), **space.net)


def space_digest(space: SearchSpace) -> str:
    """Return 12 hex digits that change with any choice, option or network of a space.

    Resolution and number of classes of the target have no effect, because the weights of a supernet depend on those of
    the images, and one file serves all targets.
    """
    net = attrs.evolve(common_settings(space), resolution=1, classes=2)
    parts = [
        [
            part.name,
            [[c.name, list(c.values)] for c in part.choices],
            [repr(part.part(indices)) for indices in part.indices()],
        ]
        for part in space.parts
    ]
    return hashlib.sha256(json.dumps([format_text(net), parts]).encode()).hexdigest()[:12]
