"""Small networks to scale, and counts that do not use `nas.scaling`."""

import attrs

from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvHead, ConvStem, Stage

B0 = preset("efficientnet-b0")
# A network of one layer, of which nothing is left at any smaller depth.
ONE_LAYER = Architecture(ConvStem(16), (Stage("conv", 16),), ConvHead(64), resolution=32, classes=10)
TWO_LAYERS = attrs.evolve(ONE_LAYER, stages=(Stage("conv", 16), Stage("conv", 32, stride=2)))


def layers(arch: Architecture) -> int:
    """Return the number of layers in all stages."""
    return sum(stage.layers for stage in arch.stages)


def channels(arch: Architecture) -> int:
    """Return the sum of the channels of the stem, the stages and the convolutional head."""
    assert isinstance(arch.head, ConvHead)
    return arch.stem.channels + sum(stage.channels for stage in arch.stages) + arch.head.channels
