"""The layers of a network as they are shown: equal ones together, with shapes, skips and costs, and in words."""

from collections.abc import Callable, Sequence
from itertools import groupby

from attrs import frozen

from nas.arch.layers import PlacedPart, Shape, input_shape, walk
from nas.arch.spec import Architecture, ConvHead, Gate, MaxPoolStem, MlpHead, Part, PoolHead, Stage
from nas.cost.analytic import layer_cost
from nas.cost.base import format_amount

OPERATOR_WORDS = {
    "conv": "Conv",
    "dsconv": "Separable conv",
    "mbconv": "MBConv",
    "inverted": "MBConv",
    "fused": "Fused MBConv",
    "basic": "Basic block",
    "bottleneck": "Bottleneck",
}
Latency = Callable[[Part, Shape], float]


@frozen
class Layers:
    """Represent equal layers that follow each other in a network.

    Attributes:
        place: "stem", "stage1" and so on, or "head".
        part: The stem, the head, or one of the equal layers.
        count: Number of layers.
        input: Shape of the input of the first one.
        output: Shape of the output of the last one.
        skip: "identity", "pool" or "projection" where a skip is added, else "".
        macs: Multiply-adds of all of them.
        params: Parameters of all of them.
        ms: Predicted latency of all of them in milliseconds; None where it is unknown.
    """

    place: str
    part: Part
    count: int
    input: Shape
    output: Shape
    skip: str
    macs: int
    params: int
    ms: float | None = None


def layer_groups(arch: Architecture, latency: Latency | None = None) -> tuple[Layers, ...]:
    """Return the layers of a network from stem to head, equal ones together.

    Args:
        arch: The network.
        latency: Function that returns the predicted latency of a layer in milliseconds, given its input; None where it
            is unknown.

    Example:
        >>> from nas.arch.presets import preset
        >>> [(group.place, group.count) for group in layer_groups(preset("mnasnet-small"))][:4]
        [('stem', 1), ('stage1', 1), ('stage2', 1), ('stage3', 1)]
    """
    parts = groupby(walk(arch), key=lambda placed: (_place(placed.name), placed.part, placed.shape))
    return tuple(_group(place, list(same), arch.classes, latency) for (place, *_), same in parts)


def _place(name: str) -> str:
    kind, _, rest = name.partition(".")
    return f"stage{int(rest.partition('.')[0]) + 1}" if kind == "stages" else kind


def _group(place: str, same: Sequence[PlacedPart], classes: int, latency: Latency | None) -> Layers:
    first, count = same[0], len(same)
    counted = layer_cost(first.part, first.shape, classes)
    return Layers(
        place,
        first.part,
        count,
        first.shape,
        counted.shape,
        _skip(first),
        count * counted.macs,
        count * counted.params,
        None if latency is None else count * latency(first.part, first.shape),
    )


def _skip(placed: PlacedPart) -> str:
    """Return the kind of the skip that a layer has, whatever is written for it."""
    names = {node.name for node in placed.nodes}
    if "add" not in names:
        return ""
    return "projection" if "skip_conv" in names else "pool" if "skip_pool" in names else "identity"


def shape_text(shape: Shape) -> str:
    """Return a shape as channels x height x width.

    >>> shape_text(Shape(24, 56, 56))
    '24 × 56 × 56'
    """
    return f"{shape.channels} × {shape.height} × {shape.width}"


def heading(group: Layers) -> str:
    """Return what kind of layers a group has, such as "3 × MBConv 5×5"."""
    part, times = group.part, f"{group.count} × " if group.count > 1 else ""
    if isinstance(part, Stage):
        return f"{times}{OPERATOR_WORDS[part.operator]} {part.kernel}×{part.kernel}"
    if isinstance(part, ConvHead | MlpHead):
        return "Conv 1×1, pool, classifier"
    if isinstance(part, PoolHead):
        return "Pool, classifier"
    pool = ", max pool 3×3" if isinstance(part, MaxPoolStem) else ""
    return f"Conv {part.kernel}×{part.kernel}{pool}"


def details(group: Layers, usual: str) -> tuple[str, ...]:
    """Return what else distinguishes layers.

    Args:
        group: The layers.
        usual: Activation that is not mentioned.
    """
    part = group.part
    if isinstance(part, ConvHead | MlpHead):
        linear = (f"linear {part.features}",) if isinstance(part, MlpHead) else ()
        return (f"{part.channels} channels", *linear, *_activation(part.activation, usual))
    if isinstance(part, PoolHead):
        return ()
    if not isinstance(part, Stage):
        stride = 2 * part.stride if isinstance(part, MaxPoolStem) else part.stride
        return (f"stride {stride}", part.activation.replace("_", "-"))
    return (
        *((f"expansion {part.expansion:.3g}",) if _expands(part) else ()),
        *((f"stride {part.stride}",) if part.stride > 1 else ()),
        *_gate(part.gate),
        *((f"{group.skip} skip",) if group.skip else ("no skip",)),
        *_activation(part.activation, usual),
    )


def _expands(part: Stage) -> bool:
    return part.operator in ("mbconv", "inverted", "fused", "bottleneck")


def _gate(gate: Gate | None) -> tuple[str, ...]:
    return () if gate is None else (f"SE {gate.ratio:.3g}",)


def _activation(activation: str, usual: str) -> tuple[str, ...]:
    return () if activation == usual else (activation.replace("_", "-"),)


def share_text(share: float) -> str:
    """Return a share as a percentage; a small one is not shown as zero."""
    return "< 0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def description(groups: Sequence[Layers], arch: Architecture) -> str:
    """Return a network in words, for readers who do not see the diagram."""
    macs = sum(group.macs for group in groups)
    said = "; ".join(
        f"{group.place}: {', '.join((heading(group), *details(group, arch.stem.activation)))}, "
        f"to {shape_text(group.output)}, {share_text(group.macs / macs if macs else 0.0)} of the MACs"
        for group in groups
    )
    whole = f"{shape_text(input_shape(arch))} to {arch.classes} classes, {format_amount(macs, 'MACs')}"
    return f"From an input of {whole}. {said}."
