"""The baseline: a known network of the same cost, to compare the result of a search with."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial

import attrs

from nas.arch.multiply import multiply
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.base import Predicting, Target
from nas.space.decode import SearchSpace

WIDTHS = tuple(percent / 100 for percent in range(10, 401))
NEAR = 0.95
ROUNDS = 4
AIM = 0.98  # of the limits after the first round, so that a measurement seldom exceeds them


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
    """Return the network at the largest width that fits, or at one that comes near to that where costs are measured.

    Each round is a binary search by predicted costs, since costs grow with the width. Only its result is measured,
    since a measurement may take minutes, and the predictions of the next round are corrected by it.
    """
    grown = [multiply(arch, width=width, keep=() if width > 1 else ("head",)) for width in WIDTHS]
    limits, found = [target.limit for target in targets], None
    for _ in range(ROUNDS):
        fitting = bisect_left(grown, True, key=partial(_exceeds, targets, limits))
        if not fitting:
            break
        wide = grown[fitting - 1]
        costs = [target.cost.estimate(wide).value for target in targets]
        predicted = [_predict(target, wide) for target in targets]
        if _fits(wide, targets):
            found = (f"{name} x{WIDTHS[fitting - 1]:g}", wide)
            if costs == predicted or costs[0] >= NEAR * targets[0].limit:
                break
        rows = zip(targets, predicted, costs, strict=True)
        limits = [AIM * target.limit * prediction / cost for target, prediction, cost in rows]
    return found


def _exceeds(targets: Sequence[Target], limits: Sequence[float], arch: Architecture) -> bool:
    return any(_predict(target, arch) > limit for target, limit in zip(targets, limits, strict=True))


def _predict(target: Target, arch: Architecture) -> float:
    """Return a cost without a measurement, as far as there is such a prediction."""
    cost = target.cost
    return cost.predict_roughly(arch) if isinstance(cost, Predicting) else cost.estimate(arch).value
