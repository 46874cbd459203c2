"""One form for all encodings of the same network.

Stages of like layers that follow each other become one; an identity skip where none is possible is the same as no skip;
a projection where an identity is possible is one, so that a stage that projects does so in its first layer alone;
a fused block that does not expand is a convolution; a gate's width is told by the input where both widths are equal.
Widths are compared as they are written: expansions or gate ratios that only round to the same channels stay apart.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import attrs

from nas.arch.layers import Shape, keeps_identity, stage_layers, walk_part
from nas.arch.spec import Architecture, Stage


@lru_cache(maxsize=65_536)
def canonical(arch: Architecture) -> Architecture:
    """The canonical form: equal for two architectures that are the same network."""
    stages: list[Stage] = []
    channels, free = arch.stem.channels, False
    for stage in arch.stages:
        for layer in stage_layers(stage):
            plain = plain_layer(layer, channels)
            if stages and (longer := _longer(stages[-1], plain, free)):
                stages[-1], free = longer, False
            else:
                stages.append(plain)
                free = plain.skip == "identity" and not keeps_identity(plain, channels)
            channels = layer.channels
    return attrs.evolve(arch, stages=tuple(stages))


def _longer(stage: Stage, layer: Stage, free: bool) -> Stage | None:
    """The stage with one more layer, if the layer is alike; a `free` stage has no skip so far and takes the layer's."""
    skip = "none" if free and layer.skip == "none" else stage.skip
    return _lengthened(stage, skip) if layer == _next_layer(stage, skip) else None


@lru_cache(maxsize=65_536)
def _next_layer(stage: Stage, skip: str) -> Stage:
    return attrs.evolve(stage, layers=1, stride=1, skip=AGAIN.get(skip, skip))


@lru_cache(maxsize=65_536)
def _lengthened(stage: Stage, skip: str) -> Stage:
    return attrs.evolve(stage, layers=stage.layers + 1, skip=skip)


# What a stage's skip is in the layers after its first, where an identity is always possible.
AGAIN: Mapping[str, str] = MappingProxyType({"projection": "identity"})


@lru_cache(maxsize=65_536)
def plain_layer(layer: Stage, channels: int) -> Stage:
    """The layer under its simplest name; "identity" is the name of a skip that cannot be."""
    if layer.operator == "fused" and layer.expansion == 1:
        layer = attrs.evolve(layer, operator="conv")
    if layer.skip == ("projection" if keeps_identity(layer, channels) else "none"):
        layer = attrs.evolve(layer, skip="identity")
    if layer.gate is not None and _gated_channels(layer, channels) == channels:
        layer = attrs.evolve(layer, gate=attrs.evolve(layer.gate, of="input"))
    return layer


def _gated_channels(layer: Stage, channels: int) -> int:
    nodes = walk_part(layer, Shape(channels, 1, 1), 1)
    return next(node.shape.channels for node in nodes if node.op == "scale")
