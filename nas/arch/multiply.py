"""Width and depth multipliers, rounded as in the EfficientNet paper's code (arXiv 1905.11946)."""

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

import attrs

from nas.arch.rounding import round_channels
from nas.arch.spec import Architecture, Part, Stage
from nas.errors import ArchitectureError

WIDTH_FIELDS = ("channels", "features")
FIRST_LAST_DEPTH = "first-last-depth"
# What a scaling can keep as it is: the channels of the stem or of the head, the features of the linear layer in the
# head of MobileNetV3, and the number of layers of the first and the last stage. MnasNet keeps the head (arXiv
# 1807.11626), MobileNetV3 the features (its code), and EfficientNet-Lite the stem, the head and the layers of the first
# and the last stage (its code), while EfficientNet scales everything.
KEEPABLE = ("stem", "head", "features", FIRST_LAST_DEPTH)
P = TypeVar("P", bound=Part)


def round_layers(layers: int, depth: float) -> int:
    """Return `layers * depth`, rounded up to a whole number.

    >>> round_layers(3, 1.4), round_layers(4, 1.0)
    (5, 4)
    """
    # The product can lie slightly above a whole number (100 * 1.1 is 110.00000000000001), which must not add a layer.
    return math.ceil(round(layers * depth, 9))


def multiply(
    arch: Architecture,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    resolution: int | None = None,
    keep: Collection[str] = (),
) -> Architecture:
    """Return an architecture with multiplied width and depth, and optionally another resolution.

    Args:
        arch: Architecture to scale.
        width: Multiplier of the channels of the stem, the stages and the head.
        depth: Multiplier of the number of layers of every stage, by default including the first and the last.
        resolution: Height and width of the input in pixels. By default the resolution does not change.
        keep: What does not change, from `KEEPABLE`.

    Raises:
        ArchitectureError: A part would exceed the limits of an architecture. The message names the part.

    >>> from nas.arch.presets import preset
    >>> wide = multiply(preset("efficientnet-b0"), width=1.1, depth=1.2, resolution=260)
    >>> wide.head.channels, [stage.layers for stage in wide.stages]
    (1408, [2, 3, 3, 4, 4, 5, 2])
    """
    ends = (1, len(arch.stages)) if FIRST_LAST_DEPTH in keep else ()
    stages = (
        _scale_stage(f"stage{i}", stage, width, 1.0 if i in ends else depth) for i, stage in enumerate(arch.stages, 1)
    )
    return attrs.evolve(
        arch,
        stem=_scale_width("stem", arch.stem, width, keep),
        stages=tuple(stages),
        head=_scale_width("head", arch.head, width, keep),
        resolution=resolution or arch.resolution,
    )


def widths(part: Part) -> dict[str, int]:
    """Return the fields of a stem, a stage or a head that a width multiplier can apply to, by name."""
    return {name: getattr(part, name) for name in WIDTH_FIELDS if hasattr(part, name)}


def scaled_widths(place: str, part: Part, keep: Collection[str]) -> dict[str, int]:
    """Return the fields that the width multiplier applies to, by name.

    Args:
        place: Place of the part: "stem", "head", or "stage1" and so on.
        part: A stem, a stage or a head.
        keep: What does not change, from `KEEPABLE`.
    """
    return {name: old for name, old in widths(part).items() if not {place, name} & {*keep}}


def _scale_width(place: str, part: P, width: float, keep: Collection[str] = ()) -> P:
    # Width 1 changes nothing, not even channels that are not multiples of 8.
    if width == 1:
        return part
    scaled = scaled_widths(place, part, keep)
    return _replace_fields(place, part, {name: round_channels(old, width) for name, old in scaled.items()})


def _scale_stage(place: str, stage: Stage, width: float, depth: float) -> Stage:
    return _replace_fields(place, _scale_width(place, stage, width), {"layers": round_layers(stage.layers, depth)})


def _replace_fields(place: str, part: P, fields: Mapping[str, int]) -> P:
    """Return the part with other values of some fields; `place` names the part in error messages."""
    try:
        return attrs.evolve(part, **fields)  # type: ignore[arg-type]  # each field is one of the part's own
    except ArchitectureError as error:
        raise ArchitectureError(f"{place}: {error.problem}", error.remedy) from None
