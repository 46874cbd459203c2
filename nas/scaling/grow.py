"""An architecture by a rule's factors ► the larger or smaller architecture, and how far rounding moved it."""

import math
from collections.abc import Collection, Iterator

import attrs
from attrs import frozen

from nas.arch.multiply import multiply, widths
from nas.arch.spec import Architecture, Head, Part
from nas.errors import NasError, ScalingError
from nas.scaling.rules import FAMILY_PHIS, Factors, Rule, plain


@frozen
class Scaled:
    """One architecture grown from another.

    Attributes:
        name: of the member, "B3", "phi=1.5" or a budget's text.
        rule: its name.
        phi: the compound coefficient.
        asked: factors before rounding.
        base: what it was grown from.
        arch: what it became.
    """

    name: str
    rule: str
    phi: float
    asked: Factors
    base: Architecture
    arch: Architecture

    @property
    def realised(self) -> Factors:
        """Layers, channels and pixels of a side over the base's; channels are those of all parts added up."""
        return Factors(
            depth=count_layers(self.arch) / count_layers(self.base),
            width=_channels(self.arch) / _channels(self.base),
            resolution=self.arch.resolution / self.base.resolution,
        )


def count_layers(arch: Architecture) -> int:
    """Layers of all stages."""
    return sum(stage.layers for stage in arch.stages)


def _channels(arch: Architecture) -> int:
    return sum(sum(widths(part).values()) for _, part in named_parts(arch))


def named_parts(arch: Architecture) -> Iterator[tuple[str, Part]]:
    """Stem, stages and head with their places' names."""
    yield "stem", arch.stem
    yield from ((f"stage{i}", stage) for i, stage in enumerate(arch.stages, 1))
    yield "head", arch.head


def pixels(resolution: int, factor: float) -> int:
    """Pixels of a side to the nearest whole one, halves upwards."""
    return math.floor(resolution * factor + 0.5)


def grow(arch: Architecture, factors: Factors, keep: Collection[str] = ()) -> Architecture:
    """The architecture multiplied, rounded as in the papers' code.

    Args:
        arch: what is scaled.
        factors: how much.
        keep: parts whose channels stay, "stem" or "head".

    Raises:
        ScalingError: nothing is left of its layers, of a part's channels, or of its pixels.
        ArchitectureError: naming the part that cannot be as large.
    """
    _check_left(arch, factors, keep)
    resolution = pixels(arch.resolution, factors.resolution)
    grown = multiply(arch, width=factors.width, depth=factors.depth, resolution=resolution, keep=keep)
    return attrs.evolve(grown, head=_with_dropout(grown.head, factors.dropout))


def _check_left(arch: Architecture, factors: Factors, keep: Collection[str]) -> None:
    layers = count_layers(arch)
    if round(layers * factors.depth, 9) < 1:
        raise _nothing_left("the stages", layers, "layers", factors.depth)
    for place, part in named_parts(arch):
        fewest = min(widths(part).values(), default=None)
        if fewest is not None and place not in keep and round(fewest * factors.width, 9) < 1:
            raise _nothing_left(place, fewest, "channels", factors.width)
    if pixels(arch.resolution, factors.resolution) < 1:
        raise _nothing_left("the image", arch.resolution, "pixels", factors.resolution)


def _nothing_left(place: str, number: int, what: str, factor: float) -> ScalingError:
    return ScalingError(
        f"nothing would be left of {place}: {number:,} {what} x {factor:.3g} are less than one",
        "scale by less: a phi nearer to 0, or coefficients nearer to 1",
    )


def _with_dropout(head: Head, dropout: float) -> Head:
    """A larger network is published with more of it; one that has none stays without."""
    return attrs.evolve(head, dropout=dropout) if 0 < head.dropout < dropout else head


def scale(arch: Architecture, rule: Rule, phi: float, keep: Collection[str] = (), name: str = "") -> Scaled:
    """The architecture at a compound coefficient.

    Raises:
        NasError: see `grow`, and the rule's `at`.
    """
    if not math.isfinite(phi):
        raise ScalingError(f"phi is {phi}", "use a number, like 1.5 or -1")
    factors = rule.at(phi)
    return Scaled(name or f"phi={plain(phi)}", rule.name, phi, factors, arch, grow(arch, factors, keep))


def family(arch: Architecture, rule: Rule, keep: Collection[str] = ()) -> tuple[Scaled, ...]:
    """B1 to B7: at the phi usually quoted for them.

    Raises:
        NasError: naming the member and the part of it that cannot be.
    """
    return tuple(_member(arch, rule, phi, keep, name) for name, phi in FAMILY_PHIS.items())


def _member(arch: Architecture, rule: Rule, phi: float, keep: Collection[str], name: str) -> Scaled:
    try:
        return scale(arch, rule, phi, keep, name)
    except NasError as error:
        raise ScalingError(f"{name} cannot be made: {error.problem}", error.remedy) from None
