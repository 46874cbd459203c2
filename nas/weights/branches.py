"""The branches of layers: new ones begin as identities, and their scale makes up for gates that come or go."""

from collections.abc import Mapping, MutableMapping

import torch
from attrs import frozen
from torch import Tensor

from nas.arch.layers import INPUT, Node, PlacedPart
from nas.arch.spec import Gate, Stage

# The bias of a gate that is added, by the function of the gate. The gate then has nearly the value 1, but is not so
# saturated that it could not learn.
ADDED_BIAS: Mapping[str, float] = {"sigmoid": 4.0, "hard_sigmoid": 2.9}
# An added gate differs from 1 by less than this.
ADDED_ERROR = 0.018
# ReLU has the gradient 0 at 0. With this value before it, a new branch that ends in ReLU can learn.
_ABOVE_ZERO = 1e-8
_STOPS_GRADIENTS = ("relu", "relu6")
# Functions f with f(c x) = c f(x) for c > 0.
_HOMOGENEOUS = ("relu", "linear")
# The convolutions that read the channels that a gate scales, where the gate is not at the end of the branch.
_READERS = ("project", "pointwise")


@frozen
class BranchEnd:
    """Hold the end of a layer's branch.

    Attributes:
        conv: Full name of the convolution that ends the branch.
        activation: Activation after it, still inside the branch.
    """

    conv: str
    activation: str


def find_skip(placed: PlacedPart) -> Node | None:
    """Return the node that adds the skip of a layer, or None."""
    return next((node for node in placed.nodes if node.op == "add"), None)


def has_identity_skip(placed: PlacedPart) -> bool:
    """Return whether a layer adds its input to the output of its branch."""
    skip = find_skip(placed)
    return skip is not None and skip.inputs[1] == INPUT


def branch_end(placed: PlacedPart) -> BranchEnd:
    """Return the end of a layer's branch."""
    by_name, skip = {node.name: node for node in placed.nodes}, find_skip(placed)
    # Without a skip, an activation after "conv" or "pointwise" is inside the branch as well.
    node = by_name[skip.inputs[0]] if skip else placed.nodes[-1]
    activation = "linear"
    while node.op != "conv":
        activation = node.activation if node.op == "activation" else activation
        node = by_name[node.inputs[0]]
    return BranchEnd(f"{placed.name}.{node.name}", activation)


def begin_as_skip(tensors: MutableMapping[str, Tensor], placed: PlacedPart) -> None:
    """Set the scale of a new branch to zero, in place, if a skip leads around it."""
    if find_skip(placed) is None:
        return
    end = branch_end(placed)
    tensors[f"{end.conv}.norm.weight"].zero_()
    tensors[f"{end.conv}.norm.bias"].fill_(_ABOVE_ZERO if end.activation in _STOPS_GRADIENTS else 0.0)


def gate_of(placed: PlacedPart) -> Gate | None:
    """Return the gate of a layer, or None."""
    return placed.part.gate if isinstance(placed.part, Stage) else None


def add_gate(tensors: MutableMapping[str, Tensor], placed: PlacedPart, gate: Gate) -> None:
    """Let a new gate begin near 1, in place, and divide the weights after it by its value where that is possible.

    Where it is not possible (see `can_scale`), the gated values are too small by a factor between `1 - ADDED_ERROR`
    and 1.
    """
    bias = open_gate(tensors, placed, gate)
    if can_scale(placed):
        scale_branch(tensors, placed, 1.0 / gate_value(gate, bias))


def open_gate(tensors: MutableMapping[str, Tensor], placed: PlacedPart, gate: Gate) -> Tensor:
    """Let a new gate begin near 1, in place, and return its bias."""
    tensors[f"{placed.name}.se_expand.weight"].zero_()
    return tensors[f"{placed.name}.se_expand.bias"].fill_(ADDED_BIAS[gate.gate])


def gate_value(gate: Gate, values: Tensor) -> Tensor:
    """Return the function of a gate, applied to values."""
    return torch.sigmoid(values) if gate.gate == "sigmoid" else torch.nn.functional.hardsigmoid(values)


def can_scale(placed: PlacedPart) -> bool:
    """Return whether factors of the channels that a gate scales can be moved into weights exactly."""
    return _reader(placed) is not None or branch_end(placed).activation in _HOMOGENEOUS


def scale_branch(tensors: MutableMapping[str, Tensor], placed: PlacedPart, factors: Tensor) -> None:
    """Multiply the channels that a gate scales, or would scale, by factors, in place.

    The factors go into the convolution that reads the channels. Where the gate is at the end of the branch, they go
    into the last batch normalization, which is exact unless an activation such as ReLU6 follows it.

    Args:
        tensors: State dictionary.
        placed: Layer.
        factors: Positive factor of each channel.
    """
    if reader := _reader(placed):
        tensors[f"{reader}.conv.weight"].mul_(factors[None, :, None, None])
        return
    for name in ("weight", "bias"):
        tensors[f"{branch_end(placed).conv}.norm.{name}"].mul_(factors)


def gated_channels(placed: PlacedPart) -> int:
    """Return the number of channels that a gate of a layer scales, or would scale."""
    readers = [node.in_channels for node in placed.nodes if node.name in _READERS]
    return readers[0] if readers else placed.nodes[-1].shape.channels


def _reader(placed: PlacedPart) -> str | None:
    """Return the full name of the convolution in the branch that reads the channels that a gate scales."""
    names = [node.name for node in placed.nodes if node.name in _READERS]
    return f"{placed.name}.{names[0]}" if names else None
