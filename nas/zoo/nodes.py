"""The walk through the records of a network, which derives shapes, parameters and MACs node by node.

MACs are the multiply-adds of convolutions, matrix products and the two products of attention. As in
`nas.cost.analytic`, normalization, biases, activations and pooling are not counted. Parameters are those that training
changes, with two for each channel of a batch normalization, although the graph has one bias instead.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import singledispatch
from types import MappingProxyType
from typing import Any

from attrs import frozen

from nas.zoo.records import (
    LINEAR,
    Activation,
    BatchNorm,
    Block,
    Cell,
    Cells,
    Channels,
    Conv,
    Depthwise,
    FirstToken,
    Flatten,
    GlobalAverage,
    GroupNorm,
    LayerNorm,
    Linear,
    Pad,
    Padding,
    Parallel,
    Pool,
    Products,
    Shuffle,
    Tokens,
    Transpose,
)

INPUT = "input"
Shape = tuple[int, ...]


@frozen
class Tensor:
    """Describe the weights of a node and how they are drawn when they are random.

    Attributes:
        name: Name within the node, for example "weight".
        shape: Shape, `(out, in / groups, height, width)` for a convolution and `(out, in)` for a matrix.
        deviation: Standard deviation of the random numbers; 0 for the constant `mean`.
        mean: Mean of the random numbers.
    """

    name: str
    shape: Shape
    deviation: float = 0.0
    mean: float = 0.0


@frozen
class Outcome:
    """Hold what one operation gives: the shape of its output, its counts for one image, and its weights."""

    shape: Shape
    params: int = 0
    macs: int = 0
    tensors: tuple[Tensor, ...] = ()


@frozen
class Node:
    """Represent one operation at its place in a network.

    Attributes:
        name: Name of the node and of its output, unique within the network.
        record: The operation, or a word for a join: "concat" or "add".
        inputs: Names of the nodes whose outputs it reads; `INPUT` is the image.
        in_shape: Shape of the first input.
        outcome: Output shape, counts and weights.
    """

    name: str
    record: Any
    inputs: tuple[str, ...]
    in_shape: Shape
    outcome: Outcome


@frozen
class Value:
    """Represent the output of a node: its name and its shape."""

    name: str
    shape: Shape


def four_sides(padding: Padding) -> tuple[int, int, int, int]:
    """Return the pixels of padding above, on the left, below and on the right."""
    return padding if isinstance(padding, tuple) else (padding,) * 4


def kernel_sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Return the height and the width of a kernel."""
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def conv_padding(record: Conv | Depthwise) -> tuple[int, int, int, int]:
    """Return the padding of a convolution on its four sides; by default half the kernel on each."""
    if record.padding is not None:
        return four_sides(record.padding)
    height, width = (side // 2 for side in kernel_sides(record.kernel))
    return height, width, height, width


def pool_padding(record: Pool, shape: Shape) -> tuple[int, int, int, int]:
    """Return the padding of a pooling on its four sides, with what rounding up adds below and on the right.

    The last window begins inside the image or its padding above and on the left, as in torch.
    """
    top, left, bottom, right = four_sides(record.padding)
    if not record.ceil:
        return top, left, bottom, right
    height, width = shape[1:]
    return top, left, _end_padding(height, top, bottom, record), _end_padding(width, left, right, record)


def _end_padding(side: int, start: int, end: int, record: Pool) -> int:
    windows = -(-(start + side + end - record.kernel) // record.stride) + 1
    if (windows - 1) * record.stride >= side + start:
        windows -= 1
    return max(end, (windows - 1) * record.stride + record.kernel - side - start)


def _slid(shape: Shape, channels: int, kernel: tuple[int, int], stride: int, pads: tuple[int, ...]) -> Shape:
    """Return the shape after a window has been slid over a padded feature map."""
    padded = (shape[1] + pads[0] + pads[2], shape[2] + pads[1] + pads[3])
    return channels, *((side - window) // stride + 1 for side, window in zip(padded, kernel, strict=True))


def _weighted(shape: Shape, weight: Shape, offset: str, macs: int) -> Outcome:
    """Return the outcome of a convolution or matrix, with He et al.'s random weights (arXiv 1502.01852)."""
    size, fan_in, channels = math.prod(weight), math.prod(weight[1:]), weight[0]
    tensors = (Tensor("weight", weight, (2 / fan_in) ** 0.5), Tensor("bias", (channels,)))
    params = size + {"norm": 2, "bias": 1, "none": 0}[offset] * channels
    return Outcome(shape, params, macs, tensors[:1] if offset == "none" else tensors)


def _conv(record: Conv, shape: Shape) -> Outcome:
    kernel = kernel_sides(record.kernel)
    out = _slid(shape, record.channels, kernel, record.stride, conv_padding(record))
    weight = (record.channels, shape[0] // record.groups, *kernel)
    return _weighted(out, weight, record.offset, math.prod(weight) * out[1] * out[2])


def _depthwise(record: Depthwise, shape: Shape) -> Outcome:
    kernel = kernel_sides(record.kernel)
    out = _slid(shape, shape[0], kernel, record.stride, conv_padding(record))
    weight = (shape[0], 1, *kernel)
    return _weighted(out, weight, record.offset, math.prod(weight) * out[1] * out[2])


def _linear(record: Linear, shape: Shape) -> Outcome:
    weight = (record.features, shape[-1])
    return _weighted((*shape[:-1], record.features), weight, "bias", math.prod(weight) * math.prod(shape[:-1]))


def _scale_and_shift(shape: Shape, channels: int, *statistics: Tensor) -> Outcome:
    tensors = (Tensor("scale", (channels,), mean=1), Tensor("shift", (channels,)), *statistics)
    return Outcome(shape, 2 * channels, tensors=tensors)


def _batch_norm(_: BatchNorm, shape: Shape) -> Outcome:
    channels = shape[0]
    statistics = Tensor("mean", (channels,)), Tensor("variance", (channels,), mean=1)
    return _scale_and_shift(shape, channels, *statistics)


def _pool(record: Pool, shape: Shape) -> Outcome:
    return Outcome(_slid(shape, shape[0], (record.kernel,) * 2, record.stride, pool_padding(record, shape)))


def _pad(record: Pad, shape: Shape) -> Outcome:
    return Outcome(_slid(shape, shape[0], (1, 1), 1, four_sides(record.padding)))


def _tokens(record: Tokens, shape: Shape) -> Outcome:
    count, features = shape[1] * shape[2] + record.class_token, shape[0]
    tensors = (
        *((Tensor("class_token", (1, 1, features), 0.02),) if record.class_token else ()),
        *((Tensor("positions", (1, count, features), 0.02),) if record.positions else ()),
    )
    return Outcome((count, features), sum(math.prod(tensor.shape) for tensor in tensors), tensors=tensors)


def _products(_: Products, shape: Shape) -> Outcome:
    tokens, features = shape[0], shape[1] // 3
    return Outcome((tokens, features), macs=2 * tokens * tokens * features)


OPERATIONS: Mapping[type, Callable[[Any, Shape], Outcome]] = MappingProxyType(
    {
        Conv: _conv,
        Depthwise: _depthwise,
        Linear: _linear,
        Activation: lambda _, shape: Outcome(shape),
        BatchNorm: _batch_norm,
        GroupNorm: lambda _, shape: _scale_and_shift(shape, shape[0]),
        LayerNorm: lambda _, shape: _scale_and_shift(shape, shape[-1]),
        Pool: _pool,
        GlobalAverage: lambda _, shape: Outcome((shape[0], 1, 1) if len(shape) == 3 else shape[1:]),
        Flatten: lambda _, shape: Outcome((math.prod(shape),)),
        Pad: _pad,
        Channels: lambda record, shape: Outcome((shape[0] // record.parts, *shape[1:])),
        Shuffle: lambda _, shape: Outcome(shape),
        Tokens: _tokens,
        Transpose: lambda _, shape: Outcome(shape[::-1]),
        FirstToken: lambda _, shape: Outcome(shape[1:]),
        Products: _products,
    }
)
"""Function that gives the outcome of an operation for the shape of its input, for each kind of operation."""


class _Walk:
    """Collect the nodes of a network in the order of computation."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def append(self, record: Any, values: Iterable[Value], outcome: Outcome) -> Value:
        first, *others = values
        kind = record if isinstance(record, str) else type(record).__name__.lower()
        name = f"{len(self.nodes)}.{kind}"
        inputs = (first.name, *(other.name for other in others))
        self.nodes.append(Node(name, record, inputs, first.shape, outcome))
        return Value(name, outcome.shape)

    def operate(self, record: Any, value: Value) -> Value:
        return self.append(record, [value], OPERATIONS[type(record)](record, value.shape))

    def activate(self, value: Value, function: str) -> Value:
        return value if function == LINEAR else self.operate(Activation(function), value)

    def join(self, values: list[Value], how: str) -> Value:
        first = values[0].shape
        shape = (sum(value.shape[0] for value in values), *first[1:]) if how == "concat" else first
        return self.append(how, values, Outcome(shape))


@singledispatch
def _follow(record: Any, walk: _Walk, value: Value) -> Value:
    """Append the nodes of a record to a walk and return their output."""
    return walk.activate(walk.operate(record, value), getattr(record, "activation", LINEAR))


@_follow.register(tuple)
def _follow_sequence(records: tuple[Block, ...], walk: _Walk, value: Value) -> Value:
    for record in records:
        value = _follow(record, walk, value)
    return value


@_follow.register(Parallel)
def _follow_parallel(record: Parallel, walk: _Walk, value: Value) -> Value:
    outputs = [_follow(path, walk, value) for path in record.paths]
    return walk.activate(walk.join(outputs, record.join), record.activation)


@_follow.register(Cells)
def _follow_cells(record: Cells, walk: _Walk, value: Value) -> Value:
    previous = value
    for cell in record.cells:
        previous, value = value, _follow_cell(cell, walk, previous, value)
    return value


def _follow_cell(cell: Cell, walk: _Walk, previous: Value, current: Value) -> Value:
    adjusted = _follow(cell.previous, walk, previous)
    values = [_follow(cell.current, walk, current), adjusted]
    for pair in cell.sums:
        values.append(walk.join([_follow(block, walk, values[number]) for number, block in pair], "add"))
    return walk.join([values[number] for number in cell.outputs], "concat")


def walk_network(records: Block, shape: Shape) -> tuple[Node, ...]:
    """Return the nodes of a network in the order of computation.

    Args:
        records: The network from the image to the logits.
        shape: Shape `(C, H, W)` of the image.

    >>> [node.name for node in walk_network((Conv(8, 3), Flatten(), Linear(10)), (3, 16, 16))]
    ['0.conv', '1.activation', '2.flatten', '3.linear']
    """
    walk = _Walk()
    _follow(records, walk, Value(INPUT, shape))
    return tuple(walk.nodes)
