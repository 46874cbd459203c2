"""The reasons why a network with inherited weights does not compute the function of its source."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen

from nas.arch.layers import ACTIVATED_SUMS, Node, PlacedPart, Shape, same_padding
from nas.arch.spec import Architecture, MaxPoolStem, Stage
from nas.weights.branches import ADDED_ERROR, can_scale, gate_of, has_identity_skip
from nas.weights.pairing import Pair, Pairing, pair_nodes
from nas.weights.report import Reason

# Activations f with f(f(x)) = f(x), which a new residual block can apply once more without a change.
_IDEMPOTENT = ("relu", "relu6")
_SKIP_NODES = ("add", "skip_pool", "skip_resize", "skip_conv")

# What must be equal in two whole networks, each with the function that returns it.
_SETTINGS: Mapping[str, Callable[[Architecture], Any]] = MappingProxyType(
    {
        "resolution": lambda arch: arch.resolution,
        "number of channels of the image": lambda arch: arch.in_channels,
        "padding": lambda arch: arch.padding,
        "constant of the batch normalization": lambda arch: arch.norm.eps,
        "number of classes": lambda arch: arch.classes,
    }
)


def find_reasons(source: Architecture, target: Architecture, pairing: Pairing) -> tuple[Reason, ...]:
    """Return the reasons why the target network does not compute the function of the source network.

    Args:
        source: Architecture of the source network.
        target: Architecture of the target network.
        pairing: Corresponding parts of both.
    """
    settings = [
        Reason(f"The {name} changes from {get(source)} to {get(target)}.")
        for name, get in _SETTINGS.items()
        if get(source) != get(target)
    ]
    places: dict[str, list[str]] = {}
    before = pairing.pairs[0]
    for pair in pairing.pairs:
        for text in _pair_reasons(pair, before, target):
            places.setdefault(text, []).append(pair.target.name)
        before = pair
    if pairing.dropped:
        places["The layer of the source is dropped."] = [layer.name for layer in pairing.dropped]
    return (*settings, *(Reason(text, tuple(names)) for text, names in places.items()))


def _pair_reasons(pair: Pair, before: Pair, target: Architecture) -> Iterator[str]:
    if pair.source is None:
        if not _is_identity(pair.target, before.target):
            yield "The layer is new and is not an identity."
        return
    if not pair.is_same_operator:
        yield "The operator changes, so its weights are not inherited."
        return
    yield from _field_reasons(pair.source, pair.target)
    yield from _gate_reasons(pair.source, pair.target)
    yield from _size_reasons(pair, target.padding)


def _is_identity(layer: PlacedPart, before: PlacedPart) -> bool:
    """Return whether a layer whose branch gives zeros does not change the output of the part before it."""
    stage = layer.part
    if not isinstance(stage, Stage) or not has_identity_skip(layer):
        return False
    if stage.operator not in ACTIVATED_SUMS or stage.activation == "linear":
        return True
    return stage.activation in _IDEMPOTENT and stage.activation == _last_activation(before)


def _last_activation(placed: PlacedPart) -> str:
    """Return the activation that gives the output of a part, or "linear"."""
    nodes = [node for node in placed.nodes if node.op != "maxpool"]
    return nodes[-1].activation


@frozen
class _Behavior:
    """Hold what a part computes apart from the sizes of its weights and its gate."""

    activation: str
    stride: int
    skip: tuple[tuple[str, int], ...]
    pools: bool


def _behavior(placed: PlacedPart) -> _Behavior:
    part = placed.part
    return _Behavior(
        activation=getattr(part, "activation", "linear"),
        stride=getattr(part, "stride", 1),
        skip=tuple((node.name, node.stride) for node in placed.nodes if node.name in _SKIP_NODES),
        pools=isinstance(part, MaxPoolStem),
    )


def _field_reasons(source: PlacedPart, target: PlacedPart) -> Iterator[str]:
    old, new = _behavior(source), _behavior(target)
    if old.activation != new.activation:
        yield f"The activation changes from {old.activation} to {new.activation}."
    if old.stride != new.stride:
        yield f"The stride changes from {old.stride} to {new.stride}."
    if [name for name, _ in old.skip] != [name for name, _ in new.skip]:
        yield "The skip changes."
    if old.pools != new.pools:
        yield "The pooling of the stem changes."


def _gate_reasons(source: PlacedPart, target: PlacedPart) -> Iterator[str]:
    old, new = gate_of(source), gate_of(target)
    if old is None and new is not None and not can_scale(target):
        yield f"A gate is added; its initial values differ from 1 by less than {ADDED_ERROR}."
    if old is not None and new is None:
        yield "The gate is removed and replaced by its mean."
    if old is not None and new is not None and (old.activation, old.gate) != (new.activation, new.gate):
        yield "The functions of the gate change."


def _size_reasons(pair: Pair, padding: str) -> Iterator[str]:
    sources = pair_nodes(pair)
    paired = [(sources[node.name], node) for node in pair.target.nodes if node.name in sources]
    dense = [(old, new) for old, new in paired if new.name != "classifier"]
    if any(_channels(old) > _channels(new) or old.in_channels > new.in_channels for old, new in dense):
        yield "Channels are removed."
    if any(old.kernel > new.kernel for old, new in dense):
        yield "The kernel is cropped to its center."
    if padding == "same" and any(_is_shifted(old, new, pair.target.shape) for old, new in dense):
        yield "The larger kernel has another center, because the padding of this stride is not symmetric."
    if _fills_zeros(pair.source, pair.target):
        yield "The skip has new channels where it had zeros."


def _channels(node: Node) -> int:
    return node.shape.channels


def _is_shifted(old: Node, new: Node, shape: Shape) -> bool:
    """Return whether a padded kernel covers other pixels than before, given the shape of the part's input."""
    ends = [
        {node.kernel: same_padding(side, node.kernel, node.stride) // 2 for node in (old, new)}
        for side in (shape.height, shape.width)
    ]
    larger = (new.kernel - old.kernel) // 2
    return new.stride > 1 and any(end[new.kernel] - end[old.kernel] != larger for end in ends)


def _fills_zeros(source: PlacedPart | None, target: PlacedPart) -> bool:
    """Return whether a skip that adds channels of zeros now has new channels of its input there."""
    resizes = [node for placed in (source, target) if placed for node in placed.nodes if node.op == "resize"]
    if len(resizes) < 2:
        return False
    old, new = resizes
    return old.in_channels < _channels(old) and new.in_channels > old.in_channels
