"""Width and depth multipliers, rounded as in the EfficientNet paper's code (arXiv 1905.11946)."""

import math

import attrs

from nas.arch.spec import Architecture, ConvHead, Head, Stage, Stem

DIVISOR = 8


def round_channels(channels: int, width: float) -> int:
    """`channels * width` to the nearest multiple of 8, at least 8, and never more than 10% below."""
    wanted = channels * width
    rounded = max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * wanted else rounded


def round_layers(layers: int, depth: float) -> int:
    """`layers * depth`, rounded up."""
    return math.ceil(layers * depth)


def multiply(
    arch: Architecture, *, width: float = 1.0, depth: float = 1.0, resolution: int | None = None, head: bool = True
) -> Architecture:
    """A wider, deeper, larger architecture.

    Args:
        arch: what is multiplied.
        width: on the channels of the stem, the stages and, where `head` says so, the head.
        depth: on the layers of every stage, first and last included.
        resolution: pixels of a side; the same as before where it is left out.
        head: EfficientNet's head grows with the width, MnasNet's stays.
    """
    return attrs.evolve(
        arch,
        stem=_wider(arch.stem, width),
        stages=tuple(_grown(stage, width, depth) for stage in arch.stages),
        head=_wider_head(arch.head, width) if head else arch.head,
        resolution=resolution or arch.resolution,
    )


def _wider(stem: Stem, width: float) -> Stem:
    return stem if width == 1 else attrs.evolve(stem, channels=round_channels(stem.channels, width))


def _wider_head(head: Head, width: float) -> Head:
    if width == 1 or not isinstance(head, ConvHead):
        return head
    return attrs.evolve(head, channels=round_channels(head.channels, width))


def _grown(stage: Stage, width: float, depth: float) -> Stage:
    channels = stage.channels if width == 1 else round_channels(stage.channels, width)
    return attrs.evolve(stage, channels=channels, layers=round_layers(stage.layers, depth))
