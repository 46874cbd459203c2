"""Width and depth multipliers, rounded as in the EfficientNet paper's code (arXiv 1905.11946)."""

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

import attrs

from nas.arch.rounding import round_channels
from nas.arch.spec import Architecture, Part, Stage
from nas.errors import ArchitectureError

WIDTH_FIELDS = ("channels", "features")
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
        depth: Multiplier of the number of layers of every stage, including the first and the last.
        resolution: Height and width of the input in pixels. By default the resolution does not change.
        keep: Parts whose channels do not change: "stem", "head" or both. The head of EfficientNet is scaled with the
            width (arXiv 1905.11946), the head of MnasNet is not (arXiv 1807.11626).

    Raises:
        ArchitectureError: A part would exceed the limits of an architecture. The message names the part.

    >>> from nas.arch.presets import preset
    >>> wide = multiply(preset("efficientnet-b0"), width=1.1, depth=1.2, resolution=260)
    >>> wide.head.channels, [stage.layers for stage in wide.stages]
    (1408, [2, 3, 3, 4, 4, 5, 2])
    """
    stages = (_scale_stage(f"stage{i}", stage, width, depth) for i, stage in enumerate(arch.stages, 1))
    return attrs.evolve(
        arch,
        stem=arch.stem if "stem" in keep else _scale_width("stem", arch.stem, width),
        stages=tuple(stages),
        head=arch.head if "head" in keep else _scale_width("head", arch.head, width),
        resolution=resolution or arch.resolution,
    )


def widths(part: Part) -> dict[str, int]:
    """Return the fields of a stem, a stage or a head that the width multiplier applies to, by name."""
    return {name: getattr(part, name) for name in WIDTH_FIELDS if hasattr(part, name)}


def _scale_width(place: str, part: P, width: float) -> P:
    # Width 1 changes nothing, not even channels that are not multiples of 8.
    if width == 1:
        return part
    return _replace_fields(place, part, {name: round_channels(old, width) for name, old in widths(part).items()})


def _scale_stage(place: str, stage: Stage, width: float, depth: float) -> Stage:
    return _replace_fields(place, _scale_width(place, stage, width), {"layers": round_layers(stage.layers, depth)})


def _replace_fields(place: str, part: P, fields: Mapping[str, int]) -> P:
    """Return the part with other values of some fields; `place` names the part in error messages."""
    try:
        return attrs.evolve(part, **fields)  # type: ignore[arg-type]  # each field is one of the part's own
    except ArchitectureError as error:
        raise ArchitectureError(f"{place}: {error.problem}", error.remedy) from None
