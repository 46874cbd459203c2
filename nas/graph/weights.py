"""The weights of a graph: batch normalisation folded into the convolutions before it, or drawn at random.

Weights are named like a torch model's parameters, e.g. `stages.2.0.depthwise.weight`; every convolution and the
classifier have a `weight` and a `bias`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.layers import Node, PlacedPart, walk
from nas.arch.spec import Architecture
from nas.errors import ArchitectureError

Array = NDArray[np.float32]
Weights = Mapping[str, Array]


def weighted(parts: Iterable[PlacedPart]) -> Iterator[tuple[str, Node]]:
    """Every node that has weights, with its whole name."""
    return ((f"{placed.name}.{node.name}", node) for placed in parts for node in placed.nodes if node.weights)


def weight_shape(node: Node) -> tuple[int, ...]:
    """Of a convolution `(out, in / groups, kernel, kernel)`, of a matrix `(out, in)`."""
    if node.op == "linear":
        return (node.shape.channels, node.in_channels)
    return (node.shape.channels, node.in_channels // node.groups, node.kernel, node.kernel)


def random_weights(parts: Iterable[PlacedPart], seed: int = 0) -> dict[str, Array]:
    """Weights that keep the activations' scale, for timing: uniform with variance 2 / fan_in, biases 0."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, node in weighted(parts):
        shape = weight_shape(node)
        bound = np.float32((6 / np.prod(shape[1:])) ** 0.5)
        weights[f"{name}.weight"] = (2 * bound) * rng.random(shape, dtype=np.float32) - bound
        weights[f"{name}.bias"] = np.zeros(node.shape.channels, dtype=np.float32)
    return weights


def folded_weights(arch: Architecture, state: Mapping[str, Any]) -> dict[str, Array]:
    """What a trained model's convolutions compute together with their normalisations.

    Args:
        arch: of the model.
        state: its `state_dict()` as arrays.

    Raises:
        ArchitectureError: a parameter is missing or has another shape than the architecture says.
    """
    weights: dict[str, Array] = {}
    for name, node in weighted(walk(arch)):
        fold = _folded if node.norm else _plain
        weight, bias = fold(name, node, state, arch.norm.eps)
        weights |= {f"{name}.weight": weight.astype(np.float32), f"{name}.bias": bias.astype(np.float32)}
    return weights


def _plain(name: str, node: Node, state: Mapping[str, Any], _eps: float) -> tuple[NDArray[Any], NDArray[Any]]:
    return _take(state, f"{name}.weight", weight_shape(node)), _take(state, f"{name}.bias", (node.shape.channels,))


def _folded(name: str, node: Node, state: Mapping[str, Any], eps: float) -> tuple[NDArray[Any], NDArray[Any]]:
    channels = (node.shape.channels,)
    gamma, beta, mean, var = (
        _take(state, f"{name}.norm.{part}", channels) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + eps)
    kernel = _take(state, f"{name}.conv.weight", weight_shape(node))
    return kernel * scale[:, None, None, None], beta - mean * scale


def _take(state: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    found = np.asarray(state[name], dtype=np.float64) if name in state else None
    if found is None or found.shape != shape:
        has = "missing" if found is None else f"of shape {found.shape}"
        raise ArchitectureError(f"parameter {name} is {has}", f"give a model of this architecture, with shape {shape}")
    return found
