"""One canonical form for all encodings of the same network.

The same network can be written in several ways. The canonical form settles each of them:

- Consecutive stages with equal layers are joined into one stage.
- "identity" is written where no identity skip is possible, because there it means the same as "none".
- "projection" is written as "identity" where an identity skip is possible. A stage with projection skips therefore
  projects in its first layer only.
- A fused block with expansion 1 is a convolution, and an "inverted" block with another expansion is an "mbconv".
- A divisor of the channels inside a block is left out where it does not change them.
- The width of a gate refers to the input channels where these equal the gated channels.

Expansions and gate ratios are compared as written: two values that are different but round to the same number of
channels give different canonical forms.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import attrs

from nas.arch.layers import Shape, keeps_identity, stage_layers, walk_part
from nas.arch.spec import Architecture, Stage


@lru_cache(maxsize=65_536)
def canonical(arch: Architecture) -> Architecture:
    r"""Return the canonical form of an architecture, which is equal for all encodings of the same network.

    >>> from nas.arch.code import format_text, parse_text
    >>> arch = parse_text("net\nstem conv c8\nconv c16 s2\nconv c16\nconv c16\nhead pool")
    >>> print(format_text(canonical(arch)).splitlines()[2])
    conv r3 k3 s2 c16
    """
    stages: list[Stage] = []
    channels, skip_is_open = arch.stem.channels, False
    for stage in arch.stages:
        for layer in stage_layers(stage):
            simple = plain_layer(layer, channels)
            if stages and (joined := _join(stages[-1], simple, skip_is_open)):
                stages[-1], skip_is_open = joined, False
            else:
                stages.append(simple)
                skip_is_open = simple.skip == "identity" and not keeps_identity(simple, channels)
            channels = layer.channels
    return attrs.evolve(arch, stages=tuple(stages))


def _join(stage: Stage, layer: Stage, skip_is_open: bool) -> Stage | None:
    """Return the stage with `layer` added to its end, or None if the layer differs from the stage's layers.

    `skip_is_open` means that the stage has a single layer in which no identity skip is possible. Its skip is then
    written as "identity", but it could equally be "none", so the stage takes over the skip of the next layer.
    """
    skip = "none" if skip_is_open and layer.skip == "none" else stage.skip
    return _with_one_more_layer(stage, skip) if layer == _next_layer(stage, skip) else None


@lru_cache(maxsize=65_536)
def _next_layer(stage: Stage, skip: str) -> Stage:
    return attrs.evolve(stage, layers=1, stride=1, skip=SKIPS_AFTER_FIRST_LAYER.get(skip, skip))


@lru_cache(maxsize=65_536)
def _with_one_more_layer(stage: Stage, skip: str) -> Stage:
    return attrs.evolve(stage, layers=stage.layers + 1, skip=skip)


# After the first layer of a stage, the stride is 1 and the channels are equal, so an identity is always possible.
SKIPS_AFTER_FIRST_LAYER: Mapping[str, str] = MappingProxyType({"projection": "identity"})


@lru_cache(maxsize=65_536)
def plain_layer(layer: Stage, channels: int) -> Stage:
    """Return the canonical form of a single layer.

    Args:
        layer: A stage with one layer.
        channels: Number of channels of the layer's input.
    """
    if layer.divisor != 1:
        layer = _without_idle_divisor(layer, channels)
    if layer.operator == "fused" and layer.expansion == 1:
        layer = attrs.evolve(layer, operator="conv")
    if layer.operator == "inverted" and layer.expansion != 1:
        layer = attrs.evolve(layer, operator="mbconv")
    if layer.skip == ("projection" if keeps_identity(layer, channels) else "none"):
        layer = attrs.evolve(layer, skip="identity")
    if layer.gate is not None and _gated_channels(layer, channels) == channels:
        layer = attrs.evolve(layer, gate=attrs.evolve(layer.gate, of="input"))
    return layer


def _without_idle_divisor(layer: Stage, channels: int) -> Stage:
    plain, shape = attrs.evolve(layer, divisor=1), Shape(channels, 1, 1)
    return plain if walk_part(plain, shape, 1) == walk_part(layer, shape, 1) else layer


def _gated_channels(layer: Stage, channels: int) -> int:
    nodes = walk_part(layer, Shape(channels, 1, 1), 1)
    return next(node.shape.channels for node in nodes if node.op == "scale")
