"""The layers of a trained network that correspond to the places of a search space."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

import attrs
from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.layers import Node, PlacedPart, walk
from nas.arch.spec import Architecture
from nas.evaluate.supernet.extremes import smallest_and_largest
from nas.evaluate.supernet.places import Key, Places
from nas.space.decode import SearchSpace
from nas.space.inverse import Inverse
from nas.weights.exactness import find_reasons
from nas.weights.pairing import Pair, Pairing, is_beside_branch, is_gate_node, pair_nodes, pair_parts


def source_indices(space: SearchSpace, arch: Architecture) -> tuple[int, ...] | None:
    """Return the choice indices of a trained network in a search space, or None if the space does not contain it.

    Resolution, number of classes and the other settings of whole networks do not matter.

    >>> from nas.arch.presets import preset
    >>> from nas.space.files import find_space
    >>> source_indices(find_space("mnasnet"), preset("mobilenetv2")) is None
    True
    """
    return Inverse(space).indices(canonical(attrs.evolve(arch, **space.net)))


@frozen(eq=False)
class SourceLayers:
    """Assign the layers and nodes of a trained network to the places of a search space.

    Attributes:
        places: Places of the search space.
        arch: Architecture of the trained network.
    """

    places: Places
    arch: Architecture

    @cached_property
    def indices(self) -> tuple[int, ...] | None:
        """Return the choice indices of the trained network in the space, or None if the space does not contain it."""
        return source_indices(self.places.space, self.arch)

    @cached_property
    def _reference(self) -> tuple[int, ...]:
        """Return the network of the space whose layers are compared: the trained one, or else the largest one."""
        return smallest_and_largest(self.places.space)[1] if self.indices is None else self.indices

    @cached_property
    def _pairing(self) -> Pairing:
        target = self.places.space.from_indices(self._reference)
        if self.indices is None:
            return pair_parts(self.arch, target)
        # The layers of both are equal, however the space divides them into stages.
        return Pairing(tuple(Pair(new, old) for new, old in zip(walk(target), walk(self.arch), strict=True)), ())

    @cached_property
    def layers(self) -> Mapping[str, PlacedPart]:
        """Return for each place the layer of the trained network there; places of additional layers have none."""
        places = self.places.of_network(self._reference)
        pairs = zip(places, self._pairing.pairs, strict=True)
        at = {self.places.positions[place]: pair.source for place, pair in pairs}
        found = {place: at.get(position) for place, position in self.places.positions.items()}
        return MappingProxyType({place: layer for place, layer in found.items() if layer is not None})

    @cached_property
    def nodes(self) -> Mapping[Key, Node]:
        """Return for each place and node the node of the trained network whose weights the supernet starts from."""
        return MappingProxyType(
            {
                (place, name): node
                for place, layer in self.layers.items()
                for variant in self.places.variants[place]
                for name, node in pair_nodes(Pair(variant, layer)).items()
                if (place, name) in self.places.widest
            }
        )

    @cached_property
    def branches(self) -> frozenset[str]:
        """Return the places whose branch, and not only a gate or a skip, starts from the trained network."""
        return frozenset(place for (place, _), node in self.nodes.items() if not is_beside_branch(node))

    def notes(self) -> Iterator[str]:
        """Yield sentences about what differs from the trained network, and about the options that it cannot serve."""
        space = self.places.space
        if self.indices is None:
            yield f"the source is not in space {space.name}; the largest network of the space takes its place"
        target = space.from_indices(self._reference)
        target = target.adapted(resolution=self.arch.resolution, classes=self.arch.classes)
        if reasons := find_reasons(self.arch, target, self._pairing):
            yield f"this network of the space only approximates the source. {' '.join(map(str, reasons))}"
        if fresh := dict.fromkeys(self._fresh_options()):
            yield f"these options start with fresh weights, because the source has none for them: {'; '.join(fresh)}"
        positions = self.places.positions.items()
        if added := dict.fromkeys(f"{part}.{i + 1}" for place, (part, i) in positions if place not in self.layers):
            yield f"these layers are not in the source, and start as identities where they can: {', '.join(added)}"

    def _fresh_options(self) -> Iterator[str]:
        """Yield descriptions of what starts with fresh weights at places where the trained network has a layer."""
        for (place, name), node in self.places.widest.items():
            if place in self.layers and (place, name) not in self.nodes:
                part, _ = self.places.positions[place]
                option = place.removeprefix(f"{part}.").partition(".")[2]
                is_whole = place not in self.branches and option
                yield f"{part} {option}" if is_whole else f"{part} {_noun(node)}"


def _noun(node: Node) -> str:
    return "gate (se)" if is_gate_node(node) else node.name
