"""The operations of an architecture and the shapes of their outputs, node by node.

This is the only place where shapes are computed. MACs, parameters, memory, the torch module and the ONNX graph are all
derived from the nodes that are built here. The nodes of a part (the stem, one layer of a stage, or the head) depend
only on the part and on the shape of its input, so the cost of a part can be computed once and reused.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import attrs
from attrs import frozen

from nas.arch.rounding import round_channels
from nas.arch.spec import Architecture, ConvHead, ConvStem, Gate, Input, MaxPoolStem, MlpHead, Part, PoolHead, Stage

INPUT = "input"


@frozen(cache_hash=True)
class Shape:
    """Represent the shape of the tensor of one image, `(channels, height, width)`."""

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """Return the number of elements of the tensor."""
        return self.channels * self.height * self.width

    def strided(self, stride: int, channels: int) -> "Shape":
        """Return the shape after a padded convolution: each side becomes ceil(side / stride).

        >>> Shape(3, 75, 75).strided(2, 32)
        Shape(channels=32, height=38, width=38)
        """
        # Both paddings give this size: symmetric padding with an odd kernel gives floor((side - 1) / stride) + 1.
        return Shape(channels, -(-self.height // stride), -(-self.width // stride))


@frozen
class Node:
    """Represent one operation of a part.

    Attributes:
        op: Kind of the operation: "conv", "linear", "activation", "mean" (global average pooling), "scale" (multiply by
            the factors of a gate), "pool" (3x3 average pooling that leaves padding out of the average), "maxpool" (3x3
            max pooling, padded by 1 on every side), "resize" (cut channels, or add channels of zeros), "add" or
            "dropout".
        name: Name of the node and of its output, unique within the part.
        inputs: Names of the nodes whose outputs are the inputs; `INPUT` is the input of the part.
        shape: Shape of the output.
        in_channels: Number of channels of the first input.
        kernel: Height and width of the kernel of a convolution or pooling.
        stride: Stride of a convolution or pooling.
        groups: Number of groups of a convolution.
        norm: Whether batch normalization follows the convolution. Such a convolution has no bias.
        activation: Activation function of an "activation" node, including the functions of gates.
        rate: Dropout rate of a "dropout" node.
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
        """Return the number of weights of the kernel or matrix, without biases and normalization."""
        if self.op not in ("conv", "linear"):
            return 0
        return self.kernel**2 * self.in_channels // self.groups * self.shape.channels


class _NodeBuilder:
    """Build the nodes of one part in order.

    `last` is the name of the value that the next node reads first, and `shape` is its shape.
    """

    def __init__(self, shape: Shape) -> None:
        self.nodes: list[Node] = []
        self.last = INPUT
        self.shape = shape

    def append(self, op: str, name: str, shape: Shape, *others: str, **data: object) -> str:
        node = Node(op, name, (self.last, *others), shape, self.shape.channels, **data)  # type: ignore[arg-type]
        self.nodes.append(node)
        self.last, self.shape = name, shape
        return name

    def conv(
        self, name: str, channels: int, activation: str, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        """Append a convolution with batch normalization and an activation."""
        shape = self.shape.strided(stride, channels)
        self.append("conv", name, shape, kernel=kernel, stride=stride, groups=groups, norm=True)
        self.activate(f"{name}_act", activation)

    def activate(self, name: str, activation: str) -> None:
        if activation != "linear":
            self.append("activation", name, self.shape, activation=activation)

    def resume_from(self, name: str, shape: Shape) -> None:
        self.last, self.shape = name, shape


Operator = Callable[[_NodeBuilder, Stage], None]


def _append_gate(builder: _NodeBuilder, gate: Gate | None, input_channels: int) -> None:
    if gate is None:
        return
    gated, shape = builder.last, builder.shape
    width = {"input": input_channels, "expanded": shape.channels}[gate.of]
    builder.append("mean", "se_mean", Shape(shape.channels, 1, 1))
    # Without normalization, so that both convolutions of the gate have biases, as in the papers' code.
    builder.append("conv", "se_reduce", Shape(_squeezed_channels(gate, width), 1, 1))
    builder.activate("se_reduce_act", gate.activation)
    builder.append("conv", "se_expand", Shape(shape.channels, 1, 1))
    builder.activate("se_gate", gate.gate)
    factors = builder.last
    builder.resume_from(gated, shape)
    builder.append("scale", "se_scale", shape, factors)


def _squeezed_channels(gate: Gate, channels: int) -> int:
    # EfficientNet and MnasNet truncate the width; MobileNetV3 rounds it to a multiple of 8.
    if gate.divisor == 1:
        return max(1, int(gate.ratio * channels))
    return round_channels(channels, gate.ratio, gate.divisor)


def _append_conv(builder: _NodeBuilder, layer: Stage) -> None:
    channels = builder.shape.channels
    builder.conv("conv", layer.channels, layer.activation, layer.kernel, layer.stride)
    _append_gate(builder, layer.gate, channels)


def _append_depthwise(builder: _NodeBuilder, layer: Stage, input_channels: int) -> None:
    channels = builder.shape.channels
    builder.conv("depthwise", channels, layer.activation, layer.kernel, layer.stride, groups=channels)
    _append_gate(builder, layer.gate, input_channels)


def _append_dsconv(builder: _NodeBuilder, layer: Stage) -> None:
    _append_depthwise(builder, layer, builder.shape.channels)
    builder.conv("pointwise", layer.channels, layer.activation)


def _append_mbconv(builder: _NodeBuilder, layer: Stage) -> None:
    if layer.expansion != 1:
        return _append_inverted(builder, layer)
    return _append_projected_depthwise(builder, layer, builder.shape.channels)


def _append_inverted(builder: _NodeBuilder, layer: Stage) -> None:
    channels = builder.shape.channels
    builder.conv("expand", expanded(channels, layer), layer.activation)
    _append_projected_depthwise(builder, layer, channels)


def _append_projected_depthwise(builder: _NodeBuilder, layer: Stage, channels: int) -> None:
    # By default the gate is relative to the input of the block, not to the expanded channels (EfficientNet, MnasNet).
    _append_depthwise(builder, layer, channels)
    # Without an activation: the linear bottleneck of MobileNetV2 (arXiv 1801.04381, section 3.2).
    builder.conv("project", layer.channels, "linear")


def _append_fused(builder: _NodeBuilder, layer: Stage) -> None:
    if layer.expansion == 1:
        return _append_conv(builder, layer)
    channels = builder.shape.channels
    builder.conv("expand", expanded(channels, layer), layer.activation, layer.kernel, layer.stride)
    _append_gate(builder, layer.gate, channels)
    return builder.conv("project", layer.channels, "linear")


def expanded(channels: int, layer: Stage) -> int:
    """Return the number of channels inside a block that expands `channels` input channels."""
    return _inside(channels * layer.expansion, layer.divisor)


def _inside(channels: float, divisor: int) -> int:
    return max(1, round(channels)) if divisor == 1 else round_channels(1, channels, divisor)


def _append_basic(builder: _NodeBuilder, layer: Stage) -> None:
    channels = builder.shape.channels
    builder.conv("conv1", layer.channels, layer.activation, layer.kernel, layer.stride)
    builder.conv("conv2", layer.channels, "linear", layer.kernel)
    _append_gate(builder, layer.gate, channels)


def _append_bottleneck(builder: _NodeBuilder, layer: Stage) -> None:
    channels, inside = builder.shape.channels, _inside(layer.channels / layer.expansion, layer.divisor)
    builder.conv("reduce", inside, layer.activation)
    # The stride is in this convolution, as in torchvision; see `nas.arch.presets`.
    builder.conv("spatial", inside, layer.activation, layer.kernel, layer.stride)
    builder.conv("restore", layer.channels, "linear")
    _append_gate(builder, layer.gate, channels)


OPERATORS: dict[str, Operator] = {
    "conv": _append_conv,
    "dsconv": _append_dsconv,
    "mbconv": _append_mbconv,
    "inverted": _append_inverted,
    "fused": _append_fused,
    "basic": _append_basic,
    "bottleneck": _append_bottleneck,
}
# ResNet's blocks apply the activation to the sum of the branch and the skip.
ACTIVATED_SUMS = frozenset({"basic", "bottleneck"})


def keeps_identity(layer: Stage, input_channels: int) -> bool:
    """Return whether the layer's output has the shape of its input, so that an identity skip is possible."""
    return layer.stride == 1 and layer.channels == input_channels


def _add_identity(builder: _NodeBuilder, layer: Stage, start: Shape) -> None:
    if keeps_identity(layer, start.channels):
        builder.append("add", "add", builder.shape, INPUT)


def _add_computed_skip(builder: _NodeBuilder, start: Shape, append_skip: Callable[[Shape], None]) -> None:
    """Append the skip that `append_skip` builds on the layer's input, then the sum of the branch and the skip.

    Args:
        builder: Builder that has just built the branch.
        start: Shape of the layer's input.
        append_skip: Function that appends the nodes of the skip; it receives the shape of the branch's output.
    """
    branch, shape = builder.last, builder.shape
    builder.resume_from(INPUT, start)
    append_skip(shape)
    skip = builder.last
    builder.resume_from(branch, shape)
    builder.append("add", "add", shape, skip)


def _add_pool(builder: _NodeBuilder, layer: Stage, start: Shape) -> None:
    def append_skip(shape: Shape) -> None:
        builder.append("pool", "skip_pool", start.strided(layer.stride, start.channels), kernel=3, stride=layer.stride)
        if start.channels != shape.channels:
            builder.append("resize", "skip_resize", shape)

    _add_computed_skip(builder, start, append_skip)


def _add_projection(builder: _NodeBuilder, layer: Stage, start: Shape) -> None:
    if keeps_identity(layer, start.channels):
        return _add_identity(builder, layer, start)
    return _add_computed_skip(
        builder, start, lambda shape: builder.conv("skip_conv", shape.channels, "linear", 1, layer.stride)
    )


def _add_nothing(_builder: _NodeBuilder, _layer: Stage, _start: Shape) -> None:
    return


SKIPS: dict[str, Callable[[_NodeBuilder, Stage, Shape], None]] = {
    "identity": _add_identity,
    "pool": _add_pool,
    "none": _add_nothing,
    "projection": _add_projection,
}


def _walk_layer(builder: _NodeBuilder, layer: Stage) -> None:
    start = builder.shape
    OPERATORS[layer.operator](builder, layer)
    SKIPS[layer.skip](builder, layer, start)
    if layer.operator in ACTIVATED_SUMS:
        builder.activate("act", layer.activation)


def _walk_stem(builder: _NodeBuilder, stem: ConvStem | MaxPoolStem, _classes: int) -> None:
    builder.conv("conv", stem.channels, stem.activation, stem.kernel, stem.stride)


def _walk_max_pool_stem(builder: _NodeBuilder, stem: MaxPoolStem, classes: int) -> None:
    _walk_stem(builder, stem, classes)
    builder.append("maxpool", "pool", builder.shape.strided(2, stem.channels), kernel=3, stride=2)


def _classify(builder: _NodeBuilder, dropout: float, classes: int) -> None:
    if dropout:
        builder.append("dropout", "dropout", builder.shape, rate=dropout)
    builder.append("linear", "classifier", Shape(classes, 1, 1))


def _walk_pool_head(builder: _NodeBuilder, head: PoolHead | ConvHead, classes: int) -> None:
    builder.append("mean", "mean", Shape(builder.shape.channels, 1, 1))
    _classify(builder, head.dropout, classes)


def _walk_conv_head(builder: _NodeBuilder, head: ConvHead, classes: int) -> None:
    builder.conv("conv", head.channels, head.activation)
    _walk_pool_head(builder, head, classes)


def _walk_mlp_head(builder: _NodeBuilder, head: MlpHead, classes: int) -> None:
    builder.conv("conv", head.channels, head.activation)
    builder.append("mean", "mean", Shape(head.channels, 1, 1))
    builder.append("linear", "features", Shape(head.features, 1, 1))
    builder.activate("features_act", head.activation)
    _classify(builder, head.dropout, classes)


def walk_part(part: Part, shape: Shape, classes: int) -> tuple[Node, ...]:
    """Return the nodes of a part in the order of computation.

    Args:
        part: A stem, a head, or one layer of a stage (a stage with one layer).
        shape: Shape of the part's input.
        classes: Number of classes; only a head uses it.

    >>> [node.name for node in walk_part(Stage("mbconv", 16, expansion=6), Shape(16, 8, 8), 10)]
    ['expand', 'expand_act', 'depthwise', 'depthwise_act', 'project', 'add']
    """
    builder = _NodeBuilder(shape)
    WALKS[type(part)](builder, part, classes)
    return tuple(builder.nodes)


WALKS: dict[type, Callable[..., None]] = {
    ConvStem: _walk_stem,
    MaxPoolStem: _walk_max_pool_stem,
    Stage: lambda builder, layer, _classes: _walk_layer(builder, layer),
    ConvHead: _walk_conv_head,
    PoolHead: _walk_pool_head,
    MlpHead: _walk_mlp_head,
}


@lru_cache(maxsize=65_536)
def stage_layers(stage: Stage) -> tuple[Stage, ...]:
    """Return the layers of a stage as stages with one layer each; only the first keeps the stride.

    >>> [layer.stride for layer in stage_layers(Stage("conv", 16, layers=3, stride=2))]
    [2, 1, 1]
    """
    first = attrs.evolve(stage, layers=1)
    return (first, *[attrs.evolve(first, stride=1)] * (stage.layers - 1))


def same_padding(side: int, kernel: int, stride: int) -> int:
    """Return the number of pixels that TensorFlow's "same" padding adds to one dimension, both ends together."""
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def resized(shape: Shape, place: Input | None) -> Shape:
    """Return the shape behind a place without layers: an input has a resolution, and a stage that is left out none."""
    return shape if place is None else Shape(shape.channels, place.resolution, place.resolution)


def input_shape(arch: Architecture) -> Shape:
    """Return the shape of one input image of the architecture."""
    return Shape(arch.in_channels, arch.resolution, arch.resolution)


@frozen
class PlacedPart:
    """Represent a part at its place in a network.

    Attributes:
        name: "stem", "head", or for example "stages.2.0" for the first layer of the third stage.
        part: The stem, the head or the single layer.
        shape: Shape of the part's input.
        nodes: Operations of the part in order.
    """

    name: str
    part: Part
    shape: Shape
    nodes: tuple[Node, ...]


def walk(arch: Architecture) -> Iterator[PlacedPart]:
    """Yield the parts of an architecture from stem to head, each with the shape of its input and its nodes.

    >>> from nas.arch.presets import preset
    >>> parts = list(walk(preset("efficientnet-b0")))
    >>> parts[0].name, parts[1].name, parts[-1].shape
    ('stem', 'stages.0.0', Shape(channels=320, height=7, width=7))
    """
    return walk_parts((arch.stem, *arch.stages, arch.head), input_shape(arch), arch.classes)


def walk_parts(parts: Iterable[Part], shape: Shape, classes: int) -> Iterator[PlacedPart]:
    """Yield stems, stages and heads that follow each other; `shape` is the shape of the first part's input."""
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
