"""A known network of the same cost, to compare a winner with."""

import attrs

from nas.arch.multiply import multiply
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.base import Target
from nas.space.decode import SearchSpace

WIDTHS = tuple(percent / 100 for percent in range(400, 9, -1))


NEAR = 0.95


def find_baseline(space: SearchSpace, target: Target) -> tuple[str, Architecture] | None:
    """The known network whose cost comes nearest below the target.

    The first of the space's baselines that is within 5% as it was published; else the nearest among all of them with
    their widths multiplied. The head grows with widths above 1 and stays below it, as MobileNetV2's does (arXiv
    1801.04381).

    Returns:
        Its name, like "mobilenetv2 x1.16", and itself; None where the space names none or none is small enough.
    """
    known = [(name, _on_task(preset(name), space)) for name in space.baselines]
    as_published = [(name, arch, target.cost.estimate(arch).value) for name, arch in known]
    near = [(name, arch) for name, arch, cost in as_published if NEAR * target.limit <= cost <= target.limit]
    if near:
        return near[0]
    grown = (_widest(name, arch, target) for name, arch in known)
    found = [candidate for candidate in grown if candidate is not None]
    return max(found, key=lambda pair: target.cost.estimate(pair[1]).value, default=None)


def _on_task(arch: Architecture, space: SearchSpace) -> Architecture:
    names = ("in_channels", "resolution", "classes")
    return attrs.evolve(arch, **{name: space.net[name] for name in names if name in space.net})


def _widest(name: str, arch: Architecture, target: Target) -> tuple[str, Architecture] | None:
    for width in WIDTHS:
        wide = multiply(arch, width=width, head=width > 1)
        if target.cost.estimate(wide).value <= target.limit:
            return f"{name} x{width:g}", wide
    return None
