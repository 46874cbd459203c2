"""The weights of a graph: those of a trained model with folded batch normalization, or random ones.

Folding means that the scale and the offset of a batch normalization become part of the convolution before it. The names
of weights are like those of a torch model's parameters, for example `stages.2.0.depthwise.weight`. Every convolution
and every linear layer has a `weight` and a `bias`.
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
    """Return an iterator over the nodes that have weights, each with its name in the network."""
    return ((f"{placed.name}.{node.name}", node) for placed in parts for node in placed.nodes if node.weights)


def weight_shape(node: Node) -> tuple[int, ...]:
    """Return the shape of a node's weight.

    It is `(out, in / groups, kernel, kernel)` for a convolution and `(out, in)` for a linear layer.
    """
    if node.op == "linear":
        return (node.shape.channels, node.in_channels)
    return (node.shape.channels, node.in_channels // node.groups, node.kernel, node.kernel)


def random_weights(parts: Iterable[PlacedPart], seed: int = 0) -> dict[str, Array]:
    """Return random weights by name, for measurements of latency, with biases of 0.

    The weights are uniform with variance 2 / fan_in (He et al., arXiv 1502.01852). This keeps the scale of activations
    from layer to layer, so that activations of deep networks neither overflow nor vanish.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, node in weighted(parts):
        shape = weight_shape(node)
        # A uniform distribution on [-bound, bound] has the variance bound^2 / 3.
        bound = np.float32((6 / np.prod(shape[1:])) ** 0.5)
        weights[f"{name}.weight"] = (2 * bound) * rng.random(shape, dtype=np.float32) - bound
        weights[f"{name}.bias"] = np.zeros(node.shape.channels, dtype=np.float32)
    return weights


def folded_weights(arch: Architecture, state: Mapping[str, Any]) -> dict[str, Array]:
    """Return the weights of a trained model by name, with batch normalization folded into the convolutions.

    Args:
        arch: Architecture of the model.
        state: The model's `state_dict()` as arrays.

    Raises:
        ArchitectureError: A parameter is missing, or its shape does not match the architecture.
    """
    weights: dict[str, Array] = {}
    for name, node in weighted(walk(arch)):
        fold = _folded if node.norm else _unnormalized
        weight, bias = fold(name, node, state, arch.norm.eps)
        weights |= {f"{name}.weight": weight.astype(np.float32), f"{name}.bias": bias.astype(np.float32)}
    return weights


def _unnormalized(name: str, node: Node, state: Mapping[str, Any], _eps: float) -> tuple[NDArray[Any], NDArray[Any]]:
    return _get_parameter(state, f"{name}.weight", weight_shape(node)), _get_parameter(
        state, f"{name}.bias", (node.shape.channels,)
    )


def _folded(name: str, node: Node, state: Mapping[str, Any], eps: float) -> tuple[NDArray[Any], NDArray[Any]]:
    channels = (node.shape.channels,)
    gamma, beta, mean, var = (
        _get_parameter(state, f"{name}.norm.{part}", channels)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    # Batch normalization computes gamma * (x - mean) / sqrt(var + eps) + beta, with x = kernel * input.
    scale = gamma / np.sqrt(var + eps)
    kernel = _get_parameter(state, f"{name}.conv.weight", weight_shape(node))
    return kernel * scale[:, None, None, None], beta - mean * scale


def _get_parameter(state: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    # Folding computes in fp64, so that each weight is rounded to fp32 only once.
    found = np.asarray(state[name], dtype=np.float64) if name in state else None
    if found is None or found.shape != shape:
        has = "missing" if found is None else f"of shape {found.shape}"
        raise ArchitectureError(
            f"parameter {name} is {has}, and the architecture needs it with shape {shape}",
            f"give a model of this architecture, whose {name} has shape {shape}",
        )
    return found
