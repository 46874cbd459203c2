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
    """`layers * depth`, rounded up; what a product of floats is above a whole number by is left out."""
    return math.ceil(round(layers * depth, 9))


def multiply(
    arch: Architecture,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    resolution: int | None = None,
    keep: Collection[str] = (),
) -> Architecture:
    """A wider, deeper, larger architecture.

    Args:
        arch: what is multiplied.
        width: on the channels of the stem, the stages and the head.
        depth: on the layers of every stage, first and last included.
        resolution: pixels of a side; the same as before where it is left out.
        keep: parts whose channels stay, "stem" or "head": EfficientNet's head grows with the width, MnasNet's stays.

    Raises:
        ArchitectureError: naming the part that cannot be as large.
    """
    stages = (_grown(f"stage{i}", stage, width, depth) for i, stage in enumerate(arch.stages, 1))
    return attrs.evolve(
        arch,
        stem=arch.stem if "stem" in keep else _wider("stem", arch.stem, width),
        stages=tuple(stages),
        head=arch.head if "head" in keep else _wider("head", arch.head, width),
        resolution=resolution or arch.resolution,
    )


def widths(part: Part) -> dict[str, int]:
    """The fields of a stem, a stage or a head that its width multiplies."""
    return {name: getattr(part, name) for name in WIDTH_FIELDS if hasattr(part, name)}


def _wider(place: str, part: P, width: float) -> P:
    if width == 1:
        return part
    return _evolved(place, part, {name: round_channels(old, width) for name, old in widths(part).items()})


def _grown(place: str, stage: Stage, width: float, depth: float) -> Stage:
    return _evolved(place, _wider(place, stage, width), {"layers": round_layers(stage.layers, depth)})


def _evolved(place: str, part: P, fields: Mapping[str, int]) -> P:
    try:
        return attrs.evolve(part, **fields)  # type: ignore[arg-type]  # each field is one of the part's own
    except ArchitectureError as error:
        raise ArchitectureError(f"{place}: {error.problem}", error.remedy) from None
