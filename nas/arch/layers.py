"""The one walk over shapes: what an architecture computes, node by node.

MACs, parameters, memory, the torch module and the ONNX graph are all read off the nodes made here. A part (stem, one
layer of a stage, head) is walked by itself, from the shape of its input alone, so that parts can be costed once and
shared.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import attrs
from attrs import frozen

from nas.arch.rounding import round_channels
from nas.arch.spec import Architecture, ConvHead, ConvStem, Gate, MaxPoolStem, MlpHead, Part, PoolHead, Stage

INPUT = "input"


@frozen(cache_hash=True)
class Shape:
    """One image's tensor: `(channels, height, width)`."""

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return self.channels * self.height * self.width

    def strided(self, stride: int, channels: int) -> "Shape":
        """After a padded convolution: sides of ceil(side / stride)."""
        return Shape(channels, -(-self.height // stride), -(-self.width // stride))


@frozen
class Node:
    """One operation. Its output has the node's own name.

    Attributes:
        op: "conv", "linear", "activation", "mean" (global average pooling), "scale" (times a gate's factors), "pool"
            (3x3 average pooling that leaves padding out of the average), "maxpool" (3x3 max-pooling, padded by 1 on
            every side), "resize" (channels cut or zero-filled),
            "add", "dropout".
        inputs: names of the nodes read, `INPUT` for the part's own input.
        shape: of the output.
        in_channels: of the first input.
        norm: batch normalisation follows (and the convolution has no bias).
        activation: of an "activation" node; gates count as such.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    shape: Shape
    in_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    norm: bool = False
    activation: str = "linear"
    rate: float = 0.0

    @property
    def weights(self) -> int:
        """Numbers in the kernel or matrix, without biases and normalisation."""
        if self.op not in ("conv", "linear"):
            return 0
        return self.kernel**2 * self.in_channels // self.groups * self.shape.channels


class _Tape:
    """Nodes in the making; `last` and `shape` are the end of the chain so far."""

    def __init__(self, shape: Shape) -> None:
        self.nodes: list[Node] = []
        self.last = INPUT
        self.shape = shape

    def put(self, op: str, name: str, shape: Shape, *others: str, **data: object) -> str:
        node = Node(op, name, (self.last, *others), shape, self.shape.channels, **data)  # type: ignore[arg-type]
        self.nodes.append(node)
        self.last, self.shape = name, shape
        return name

    def conv(
        self, name: str, channels: int, activation: str, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        """A convolution with BN and its activation."""
        shape = self.shape.strided(stride, channels)
        self.put("conv", name, shape, kernel=kernel, stride=stride, groups=groups, norm=True)
        self.activate(f"{name}_act", activation)

    def activate(self, name: str, activation: str) -> None:
        if activation != "linear":
            self.put("activation", name, self.shape, activation=activation)

    def back_to(self, name: str, shape: Shape) -> None:
        self.last, self.shape = name, shape


Operator = Callable[[_Tape, Stage], None]


def _gate(tape: _Tape, gate: Gate | None, input_channels: int) -> None:
    if gate is None:
        return
    gated, shape = tape.last, tape.shape
    width = {"input": input_channels, "expanded": shape.channels}[gate.of]
    tape.put("mean", "se_mean", Shape(shape.channels, 1, 1))
    tape.put("conv", "se_reduce", Shape(_squeezed(gate, width), 1, 1))
    tape.activate("se_reduce_act", gate.activation)
    tape.put("conv", "se_expand", Shape(shape.channels, 1, 1))
    tape.activate("se_gate", gate.gate)
    factors = tape.last
    tape.back_to(gated, shape)
    tape.put("scale", "se_scale", shape, factors)


def _squeezed(gate: Gate, channels: int) -> int:
    if gate.divisor == 1:
        return max(1, int(gate.ratio * channels))
    return round_channels(channels, gate.ratio, gate.divisor)


def _conv(tape: _Tape, layer: Stage) -> None:
    channels = tape.shape.channels
    tape.conv("conv", layer.channels, layer.activation, layer.kernel, layer.stride)
    _gate(tape, layer.gate, channels)


def _depthwise(tape: _Tape, layer: Stage, input_channels: int) -> None:
    channels = tape.shape.channels
    tape.conv("depthwise", channels, layer.activation, layer.kernel, layer.stride, groups=channels)
    _gate(tape, layer.gate, input_channels)


def _dsconv(tape: _Tape, layer: Stage) -> None:
    _depthwise(tape, layer, tape.shape.channels)
    tape.conv("pointwise", layer.channels, layer.activation)


def _mbconv(tape: _Tape, layer: Stage) -> None:
    channels = tape.shape.channels
    if layer.expansion != 1:
        tape.conv("expand", expanded(channels, layer), layer.activation)
    _depthwise(tape, layer, channels)
    tape.conv("project", layer.channels, "linear")


def _fused(tape: _Tape, layer: Stage) -> None:
    if layer.expansion == 1:
        return _conv(tape, layer)
    channels = tape.shape.channels
    tape.conv("expand", expanded(channels, layer), layer.activation, layer.kernel, layer.stride)
    _gate(tape, layer.gate, channels)
    return tape.conv("project", layer.channels, "linear")


def expanded(channels: int, layer: Stage) -> int:
    """Channels inside a block."""
    return max(1, round(channels * layer.expansion))


def _basic(tape: _Tape, layer: Stage) -> None:
    channels = tape.shape.channels
    tape.conv("conv1", layer.channels, layer.activation, layer.kernel, layer.stride)
    tape.conv("conv2", layer.channels, "linear", layer.kernel)
    _gate(tape, layer.gate, channels)


def _bottleneck(tape: _Tape, layer: Stage) -> None:
    channels, inside = tape.shape.channels, max(1, round(layer.channels / layer.expansion))
    tape.conv("reduce", inside, layer.activation)
    tape.conv("spatial", inside, layer.activation, layer.kernel, layer.stride)
    tape.conv("restore", layer.channels, "linear")
    _gate(tape, layer.gate, channels)


OPERATORS: dict[str, Operator] = {
    "conv": _conv,
    "dsconv": _dsconv,
    "mbconv": _mbconv,
    "fused": _fused,
    "basic": _basic,
    "bottleneck": _bottleneck,
}
ACTIVE_SUMS = frozenset({"basic", "bottleneck"})  # an activation follows what the skip is added to


def keeps_identity(layer: Stage, input_channels: int) -> bool:
    """Whether an identity skip is possible here at all."""
    return layer.stride == 1 and layer.channels == input_channels


def _add_identity(tape: _Tape, layer: Stage, start: Shape) -> None:
    if keeps_identity(layer, start.channels):
        tape.put("add", "add", tape.shape, INPUT)


def _add_beside(tape: _Tape, start: Shape, put_skip: Callable[[Shape], None]) -> None:
    """The branch so far, plus what `put_skip` makes of the layer's input and the branch's shape."""
    branch, shape = tape.last, tape.shape
    tape.back_to(INPUT, start)
    put_skip(shape)
    skip = tape.last
    tape.back_to(branch, shape)
    tape.put("add", "add", shape, skip)


def _add_pool(tape: _Tape, layer: Stage, start: Shape) -> None:
    def put_skip(shape: Shape) -> None:
        tape.put("pool", "skip_pool", start.strided(layer.stride, start.channels), kernel=3, stride=layer.stride)
        if start.channels != shape.channels:
            tape.put("resize", "skip_resize", shape)

    _add_beside(tape, start, put_skip)


def _add_projection(tape: _Tape, layer: Stage, start: Shape) -> None:
    if keeps_identity(layer, start.channels):
        return _add_identity(tape, layer, start)
    return _add_beside(tape, start, lambda shape: tape.conv("skip_conv", shape.channels, "linear", 1, layer.stride))


def _add_nothing(_tape: _Tape, _layer: Stage, _start: Shape) -> None:
    return


SKIPS: dict[str, Callable[[_Tape, Stage, Shape], None]] = {
    "identity": _add_identity,
    "pool": _add_pool,
    "none": _add_nothing,
    "projection": _add_projection,
}


def _walk_layer(tape: _Tape, layer: Stage) -> None:
    start = tape.shape
    OPERATORS[layer.operator](tape, layer)
    SKIPS[layer.skip](tape, layer, start)
    if layer.operator in ACTIVE_SUMS:
        tape.activate("act", layer.activation)


def _walk_stem(tape: _Tape, stem: ConvStem | MaxPoolStem, _classes: int) -> None:
    tape.conv("conv", stem.channels, stem.activation, stem.kernel, stem.stride)


def _walk_max_pool_stem(tape: _Tape, stem: MaxPoolStem, classes: int) -> None:
    _walk_stem(tape, stem, classes)
    tape.put("maxpool", "pool", tape.shape.strided(2, stem.channels), kernel=3, stride=2)


def _classify(tape: _Tape, dropout: float, classes: int) -> None:
    if dropout:
        tape.put("dropout", "dropout", tape.shape, rate=dropout)
    tape.put("linear", "classifier", Shape(classes, 1, 1))


def _walk_pool_head(tape: _Tape, head: PoolHead | ConvHead, classes: int) -> None:
    tape.put("mean", "mean", Shape(tape.shape.channels, 1, 1))
    _classify(tape, head.dropout, classes)


def _walk_conv_head(tape: _Tape, head: ConvHead, classes: int) -> None:
    tape.conv("conv", head.channels, head.activation)
    _walk_pool_head(tape, head, classes)


def _walk_mlp_head(tape: _Tape, head: MlpHead, classes: int) -> None:
    tape.conv("conv", head.channels, head.activation)
    tape.put("mean", "mean", Shape(head.channels, 1, 1))
    tape.put("linear", "features", Shape(head.features, 1, 1))
    tape.activate("features_act", head.activation)
    _classify(tape, head.dropout, classes)


def walk_part(part: Part, shape: Shape, classes: int) -> tuple[Node, ...]:
    """The nodes of a stem, a head, or one layer of a stage (a stage of a single layer), given its input's shape."""
    tape = _Tape(shape)
    WALKS[type(part)](tape, part, classes)
    return tuple(tape.nodes)


WALKS: dict[type, Callable[..., None]] = {
    ConvStem: _walk_stem,
    MaxPoolStem: _walk_max_pool_stem,
    Stage: lambda tape, layer, _classes: _walk_layer(tape, layer),
    ConvHead: _walk_conv_head,
    PoolHead: _walk_pool_head,
    MlpHead: _walk_mlp_head,
}


@lru_cache(maxsize=65_536)
def stage_layers(stage: Stage) -> tuple[Stage, ...]:
    """A stage as stages of one layer; the stride is the first one's."""
    first = attrs.evolve(stage, layers=1)
    return (first, *[attrs.evolve(first, stride=1)] * (stage.layers - 1))


def same_padding(side: int, kernel: int, stride: int) -> int:
    """Pixels that TensorFlow's "same" adds to one dimension, both ends together."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def input_shape(arch: Architecture) -> Shape:
    """The shape of one input image."""
    return Shape(arch.in_channels, arch.resolution, arch.resolution)


@frozen
class PlacedPart:
    """A part with its place: "stem", "stages.2.0" (the first layer of the third stage), "head"."""

    name: str
    part: Part
    shape: Shape
    nodes: tuple[Node, ...]


def walk(arch: Architecture) -> Iterator[PlacedPart]:
    """Every part in order, each with its input's shape and its nodes."""
    return walk_parts((arch.stem, *arch.stages, arch.head), input_shape(arch), arch.classes)


def walk_parts(parts: Iterable[Part], shape: Shape, classes: int) -> Iterator[PlacedPart]:
    """Stems, stages and heads one after another, from the shape of the first one's input."""
    for name, part in _layers(parts):
        nodes = walk_part(part, shape, classes)
        yield PlacedPart(name, part, shape, nodes)
        shape = nodes[-1].shape


def _layers(parts: Iterable[Part]) -> Iterator[tuple[str, Part]]:
    stages = 0
    for part in parts:
        if isinstance(part, Stage):
            yield from ((f"stages.{stages}.{j}", layer) for j, layer in enumerate(stage_layers(part)))
            stages += 1
        else:
            yield ENDS[type(part)], part


ENDS: dict[type, str] = {
    **dict.fromkeys((ConvStem, MaxPoolStem), "stem"),
    **dict.fromkeys((ConvHead, PoolHead, MlpHead), "head"),
}
