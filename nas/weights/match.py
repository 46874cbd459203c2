"""Matching the tensors of another library's network to an architecture.

The convolutions and linear layers of both networks are compared in the order of computation, and so are the batch
normalizations. Names only give the order (`nas.weights.names`). Every tensor is accounted for.
"""

from collections.abc import Iterator, Mapping, Sequence

import attrs
import torch
from attrs import frozen
from torch import Tensor

from nas.arch.layers import Node, walk
from nas.arch.spec import Architecture
from nas.errors import WeightsError
from nas.weights.base import tensor_shapes
from nas.weights.families import candidates, with_settings
from nas.weights.names import in_order, library_of, unwrapped

REMEDY = (
    "give weights of an EfficientNet B0 to B7 or Lite0 to Lite4, a MobileNetV2 or V3, a MnasNet or a ResNet, or a file "
    "of nas.save_weights"
)
NORM = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"
Entry = tuple[str, str]


@frozen
class Account:
    """Hold what became of the tensors of a source.

    Attributes:
        used: Number of tensors of the source that the network has.
        dropped: Names of entries of the source that are not used, each with the reason.
        missing: Names of tensors of the network that the source does not have, each with what is there instead.
    """

    used: int
    dropped: tuple[Entry, ...] = ()
    missing: tuple[Entry, ...] = ()


@frozen(eq=False)
class Match:
    """Hold the architecture that weights fit.

    Attributes:
        name: Name of the architecture, such as "efficientnet-b0".
        library: Library whose settings the architecture has, or None if the weights have names of our own.
        arch: The architecture.
        tensors: Tensors by the names of the architecture's network.
        account: What became of the tensors of the source.
    """

    name: str
    library: str | None
    arch: Architecture
    tensors: Mapping[str, Tensor]
    account: Account


@frozen(eq=False)
class Layer:
    """Hold a module of the source: a convolution, a linear layer or a batch normalization.

    Attributes:
        name: Name of the module.
        tensors: Complete name and tensor of each parameter and buffer, by the last word of its name.
    """

    name: str
    tensors: Mapping[str, tuple[str, Tensor]]

    @property
    def is_norm(self) -> bool:
        """Return whether the module is a batch normalization."""
        return "running_mean" in self.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the weight; it has four dimensions, of which a linear layer's last two are 1."""
        shape = tuple(self.tensors["weight"][1].shape)
        return (*shape, 1, 1) if len(shape) == 2 else shape


class _Mismatch(Exception):  # noqa: N818 -- it selects the nearest candidate, and is no error of a user
    """Report the first difference of two networks, and the number of layers before it."""

    def __init__(self, text: str, same: int) -> None:
        super().__init__(text)
        self.same = same


def match(source: Mapping[str, Tensor], library: str | None = None) -> Match:
    """Return the architecture that weights fit, with the weights under the names of its torch module.

    Args:
        source: Tensors by the names of the source.
        library: Library that the weights come from, a key of `nas.weights.families.SETTINGS`. By default it is
            recognized by the names.

    Raises:
        WeightsError: The weights fit no architecture. The message names the first difference from the nearest one.
    """
    short = unwrapped(source)
    library = library or library_of(short.values())
    layers = _layers({short[name]: (name, tensor) for name, tensor in source.items()})
    nearest: tuple[int, str] = (-1, "")
    for name, plain in candidates():
        try:
            return _match_one(layers, name, _adapted(plain, layers), library)
        except _Mismatch as difference:
            nearest = max(nearest, (difference.same, f"the nearest is {name}: {difference}"), key=lambda one: one[0])
    raise WeightsError(f"the weights fit no architecture; {nearest[1]}", REMEDY)


def match_names(source: Mapping[str, Tensor]) -> Match | None:
    """Return the architecture whose torch module has these names and shapes, or None if the names are not our own.

    Raises:
        WeightsError: The names are our own, and no known architecture has these tensors.
    """
    if "stem.conv.conv.weight" not in source or "head.classifier.weight" not in source:
        return None
    shapes = {name: tensor.shape for name, tensor in source.items()}
    # A damaged tensor may have no dimensions, or none of any size.
    channels = max((1, *shapes["stem.conv.conv.weight"][1:2]))
    classes = max((1, *shapes["head.classifier.weight"][:1]))
    known = {name: attrs.evolve(plain, in_channels=channels, classes=classes) for name, plain in candidates()}
    # Building the module takes longer than listing the nodes, so only architectures with the nearest names are built.
    distances = {name: len(shapes.keys() ^ {*_names(arch)}) for name, arch in known.items()}
    nearest = [name for name in known if distances[name] == min(distances.values())]
    name = max(nearest, key=lambda one: len(shapes.items() & tensor_shapes(known[one]).items()))
    if (expected := tensor_shapes(known[name])) == shapes:
        return Match(name, None, known[name], dict(source), Account(len(source)))
    first = next(key for key in (*expected, *shapes) if shapes.get(key) != expected.get(key))
    found, needed = (tuple(sizes[first]) if first in sizes else "absent" for sizes in (shapes, expected))
    raise WeightsError(
        f"the weights have the names of nas and fit no known architecture; the nearest is {name}: tensor {first!r} is "
        f"{found} and needs to be {needed}",
        "save the network with nas.save_weights, because a state_dict() does not hold its architecture",
    )


def _names(arch: Architecture) -> list[str]:
    """Return the names of the tensors of an architecture's torch module."""
    words = ((".conv.weight", *(f".norm.{word}" for word in (*NORM, COUNTER))), (".weight", ".bias"))
    return [f"{place}{word}" for place, node in _slots(arch) for word in words[not node.norm]]


def _adapted(arch: Architecture, layers: Sequence[Layer]) -> Architecture:
    """Return an architecture with the input channels and classes of the source."""
    shapes = [layer.shape for layer in layers if not layer.is_norm]
    return attrs.evolve(arch, in_channels=max(1, shapes[0][1]), classes=max(1, shapes[-1][0]))


def _layers(source: Mapping[str, tuple[str, Tensor]]) -> list[Layer]:
    """Return the modules of a source in the order of the network.

    Raises:
        WeightsError: A tensor belongs to none of the known kinds of modules.
    """
    parts: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for name, tensor in source.items():
        module, _, word = name.rpartition(".")
        parts.setdefault(module, {})[word] = tensor
    layers = [Layer(name, parts[name]) for name in in_order(parts)]
    for layer in layers:
        _check_kind(layer)
    if all(layer.is_norm for layer in layers):
        raise WeightsError("the weights have no convolution", REMEDY)
    return layers


def _check_kind(layer: Layer) -> None:
    allowed = (*NORM, COUNTER) if layer.is_norm else ("weight", "bias")
    sizes = (1,) if layer.is_norm else (2, 4)
    for word, (name, tensor) in layer.tensors.items():
        if word not in allowed or (word == "weight" and tensor.dim() not in sizes):
            raise WeightsError(
                f"tensor {name!r} of shape {tuple(tensor.shape)} belongs to no convolution, linear layer or batch "
                "normalization",
                REMEDY,
            )
    needed = NORM if layer.is_norm else ("weight",)
    lacking = next((word for word in needed if word not in layer.tensors), None)
    if lacking is not None:
        raise WeightsError(f"the weights have no tensor '{layer.name}.{lacking}'", REMEDY)


def _match_one(layers: Sequence[Layer], name: str, arch: Architecture, library: str | None) -> Match:
    weighted = [layer for layer in layers if not layer.is_norm]
    norms = [layer for layer in layers if layer.is_norm]
    slots = list(_slots(arch))
    normed = [slot for slot in slots if slot[1].norm]
    taken: dict[str, tuple[str, Tensor]] = {}
    for i, (layer, slot) in enumerate(zip(weighted, slots, strict=False)):
        taken |= _pair(layer, slot, i)
    _check_counts(weighted, slots)
    for layer, slot in zip(norms, normed, strict=False):
        taken |= _pair_norm(layer, slot, len(slots))
    _check_counts(norms, normed)
    arch = arch if library is None else with_settings(name, arch, library)
    tensors, missing = {}, []
    for key, shape in tensor_shapes(arch).items():
        if key in taken:
            tensors[key] = taken[key][1].reshape(shape)
        else:  # only the counters of batches are optional
            tensors[key] = torch.zeros(shape, dtype=torch.int64)
            missing.append((key, "a source without it starts the count at 0"))
    return Match(name, library, arch, tensors, Account(len(taken), (), tuple(missing)))


Slot = tuple[str, Node]


def _slots(arch: Architecture) -> Iterator[Slot]:
    """Yield the nodes of an architecture that have weights, each with its name in the torch module."""
    for placed in walk(arch):
        yield from ((f"{placed.name}.{node.name}", node) for node in placed.nodes if node.weights)


def _pair(layer: Layer, slot: Slot, same: int) -> dict[str, tuple[str, Tensor]]:
    """Return the weight and the bias of a layer by our names."""
    place, node = slot
    expected = (node.shape.channels, node.in_channels // node.groups, node.kernel, node.kernel)
    if layer.shape != expected:
        found, _ = layer.tensors["weight"]
        raise _Mismatch(f"tensor {found!r} is {layer.shape}, and its layer {place} needs {expected}", same)
    if ("bias" in layer.tensors) == node.norm:
        says = "has a bias, and its layer {} has none" if node.norm else "has no bias, and its layer {} has one"
        raise _Mismatch(f"module {layer.name!r} {says.format(place)}", same)
    inside = f"{place}.conv" if node.norm else place
    return {f"{inside}.{word}": tensor for word, tensor in layer.tensors.items()}


def _pair_norm(layer: Layer, slot: Slot, same: int) -> dict[str, tuple[str, Tensor]]:
    """Return the tensors of a batch normalization by our names."""
    place, node = slot
    for word in NORM:
        name, tensor = layer.tensors[word]
        if tuple(tensor.shape) != (node.shape.channels,):
            raise _Mismatch(
                f"tensor {name!r} is {tuple(tensor.shape)}, and the batch normalization of {place} needs "
                f"({node.shape.channels},)",
                same,
            )
    return {f"{place}.norm.{word}": tensor for word, tensor in layer.tensors.items()}


def _check_counts(layers: Sequence[Layer], slots: Sequence[Slot]) -> None:
    """Check that there is a layer for each node and a node for each layer."""
    same = min(len(layers), len(slots))
    if len(slots) > same:
        raise _Mismatch(f"the weights have no tensor for its layer {slots[same][0]}", same)
    if len(layers) > same:
        name, _ = layers[same].tensors["weight"]
        raise _Mismatch(f"tensor {name!r} has no place in it", same)
