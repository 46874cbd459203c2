"""A known network of the same cost, to compare a winner with."""

import attrs

from nas.arch.multiply import multiply
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.base import Target
from nas.space.decode import SearchSpace

WIDTHS = tuple(percent / 100 for percent in range(400, 9, -1))


def find_baseline(space: SearchSpace, target: Target) -> tuple[str, Architecture] | None:
    """The space's baseline preset, its width multiplied so that it comes nearest below the target.

    The head grows with widths above 1 and stays below, as MobileNetV2's does (arXiv 1801.04381, section 6.1).

    Returns:
        Its name, like "mobilenetv2 x1.16", and itself; None where the space names none or none is small enough.
    """
    if space.baseline is None:
        return None
    names = ("in_channels", "resolution", "classes")
    known = attrs.evolve(preset(space.baseline), **{name: space.net[name] for name in names if name in space.net})
    for width in WIDTHS:
        arch = multiply(known, width=width, head=width > 1)
        if target.cost.estimate(arch).value <= target.limit:
            return f"{space.baseline} x{width:g}", arch
    return None
