"""The baseline: a known network of the same cost, to compare the result of a search with."""

from bisect import bisect_left
from collections.abc import Sequence

import attrs

from nas.arch.multiply import multiply
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.base import Target
from nas.space.decode import SearchSpace

WIDTHS = tuple(percent / 100 for percent in range(10, 401))
NEAR = 0.95


def find_baseline(space: SearchSpace, targets: Sequence[Target]) -> tuple[str, Architecture] | None:
    """Return the known network within all targets whose cost comes nearest to the first target.

    It is the first of the space's baselines that comes within 5% as published; otherwise the nearest one of all
    baselines with multiplied widths. The head grows with widths above 1 and is not reduced below that, as in
    MobileNetV2 (arXiv 1801.04381).

    Returns:
        Name, such as "mobilenetv2 x1.16", and architecture; None where the space names no baseline or none is small
        enough.
    """
    first = targets[0]
    known = [(name, on_task(preset(name), space)) for name in space.baselines]
    fitting = [(name, arch) for name, arch in known if _fits(arch, targets)]
    near = [pair for pair in fitting if first.cost.estimate(pair[1]).value >= NEAR * first.limit]
    if near:
        return near[0]
    grown = (_widest(name, arch, targets) for name, arch in known)
    found = [candidate for candidate in grown if candidate is not None]
    return max(found, key=lambda pair: first.cost.estimate(pair[1]).value, default=None)


def _fits(arch: Architecture, targets: Sequence[Target]) -> bool:
    return all(target.cost.estimate(arch).value <= target.limit for target in targets)


def on_task(arch: Architecture, space: SearchSpace) -> Architecture:
    """Return a network for the images and the classes of the target task, at the largest resolution of the space."""
    names = ("in_channels", "classes")
    return attrs.evolve(arch, resolution=space.resolutions[-1], **{name: space.net[name] for name in names})


def _widest(name: str, arch: Architecture, targets: Sequence[Target]) -> tuple[str, Architecture] | None:
    """Return the network at the largest width that fits; a binary search, since costs grow with the width."""
    grown = [multiply(arch, width=width, keep=() if width > 1 else ("head",)) for width in WIDTHS]
    fitting = bisect_left(grown, True, key=lambda wide: not _fits(wide, targets))
    return (f"{name} x{WIDTHS[fitting - 1]:g}", grown[fitting - 1]) if fitting else None
