"""Where a network of a space finds its weights among those that all its networks share.

A place is a layer of a part of the space, or its stem or head, together with the options that have weights of their own
there. It is told before architectures are brought into canonical form, so a layer that is left out leaves the places of
those after it as they are. At each place every node has the weights of the widest one; a network's are cut out of them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import attrs
from attrs import frozen

from nas.arch.code import format_text
from nas.arch.layers import Node, Shape, stage_layers, walk_part
from nas.arch.spec import Architecture, ConvStem, Part, PoolHead, Stage
from nas.space.decode import SearchSpace

Picks = Sequence[int]
Key = tuple[str, str]  # a place, and a node there


@frozen(eq=False)
class Places:
    """The places of a space.

    Attributes:
        space: whose networks, for the images' number of classes.
        own: fields of a stage whose options have weights of their own; options of the others share.
    """

    space: SearchSpace
    own: tuple[str, ...]

    def of(self, picks: Picks) -> tuple[str, ...]:
        """The places of the network of these option numbers, one for each part of the network, in order."""
        return tuple(place for part, form in self._chosen(picks) for place, _ in self._layers(part, form))

    def _chosen(self, picks: Picks) -> Iterator[tuple[str, Part | None]]:
        start = 0
        for part in self.space.parts:
            end = start + len(part.choices)
            yield part.name, part.part(tuple(picks[start:end]))
            start = end

    def _layers(self, name: str, form: Part | None) -> Iterator[tuple[str, Part]]:
        """What is walked by itself, each with its place."""
        if isinstance(form, Stage):
            for i, layer in enumerate(stage_layers(form)):
                yield f"{name}.{i}.{'-'.join(format(getattr(layer, one)) for one in self.own)}", layer
        elif form is not None:
            yield name, form

    @cached_property
    def _walked(self) -> tuple[dict[Key, Node], dict[Key, bool]]:
        """For each key the widest node with weights, and whether it always ends a branch that is added to a skip."""
        widest: dict[Key, Node] = {}
        added: dict[Key, bool] = {}
        for place, nodes in self._all():
            ends = _added(nodes)
            for node in nodes:
                if node.weights:
                    key = (place, node.name)
                    widest[key] = _wider(widest.get(key, node), node)
                    added[key] = added.get(key, True) and node.name == ends
        return widest, added

    def _all(self) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """Every layer of every form, after every number of channels that can come before it."""
        net = frame(self.space)
        reached = {net.in_channels}
        for part in self.space.parts:
            after: set[int] = set()
            walks: dict[tuple[str, Part, int], tuple[Node, ...]] = {}
            for channels in sorted(reached):
                for form in part.forms:
                    end = channels
                    for place, layer in self._layers(part.name, form):
                        key = (place, layer, end)
                        if key not in walks:
                            walks[key] = walk_part(layer, Shape(end, 1, 1), net.classes)
                        end = walks[key][-1].shape.channels
                    after.add(end)
            yield from ((place, nodes) for (place, _, _), nodes in walks.items())
            reached = after

    @property
    def widest(self) -> Mapping[Key, Node]:
        """The widest node for every place and name of a node with weights."""
        return MappingProxyType(self._walked[0])

    @property
    def added(self) -> frozenset[Key]:
        """The nodes that always end a branch that is added to a skip."""
        return frozenset(key for key, always in self._walked[1].items() if always)


def _wider(a: Node, b: Node) -> Node:
    """A node of which both can be cut out."""
    shape = Shape(max(a.shape.channels, b.shape.channels), 1, 1)
    sizes = {name: max(getattr(a, name), getattr(b, name)) for name in ("in_channels", "kernel", "groups")}
    return attrs.evolve(a, shape=shape, **sizes)


def _added(nodes: Sequence[Node]) -> str:
    """The name of the convolution that ends a branch which is added to its skip, "" where there is none."""
    by_name = {node.name: node for node in nodes}
    if "add" not in by_name:
        return ""
    end = by_name[by_name["add"].inputs[0]]
    if end.op == "scale":
        end = by_name[end.inputs[0]]
    return end.name if end.op == "conv" else ""


def frame(space: SearchSpace) -> Architecture:
    """What a space's networks have in common beside their parts: images, classes, padding and so on."""
    return Architecture(ConvStem(1), (Stage("conv", 1),), PoolHead(), **space.net)


def digest(space: SearchSpace) -> str:
    """12 hex digits that change with any choice, option or network of a space, whatever its images are."""
    net = frame(space.for_target(resolution=1, classes=2))
    parts = [
        [
            part.name,
            [[c.name, list(c.values)] for c in part.choices],
            [repr(part.part(picks)) for picks in part.picks()],
        ]
        for part in space.parts
    ]
    return hashlib.sha256(json.dumps([format_text(net), parts]).encode()).hexdigest()[:12]
