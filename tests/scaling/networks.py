"""Small networks to scale, and what is known of networks without `nas.scaling`."""

import attrs

from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvHead, ConvStem, Stage

B0 = preset("efficientnet-b0")
# One layer: every shrinking of its depth leaves nothing.
ONE_LAYER = Architecture(ConvStem(16), (Stage("conv", 16),), ConvHead(64), resolution=32, classes=10)
TWO_LAYERS = attrs.evolve(ONE_LAYER, stages=(Stage("conv", 16), Stage("conv", 32, stride=2)))


def layers(arch: Architecture) -> int:
    """Of all stages."""
    return sum(stage.layers for stage in arch.stages)


def channels(arch: Architecture) -> int:
    """Of stem, stages and a convolutional head together."""
    assert isinstance(arch.head, ConvHead)
    return arch.stem.channels + sum(stage.channels for stage in arch.stages) + arch.head.channels
