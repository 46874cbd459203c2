"""Scaling of an architecture by the factors of a rule, with a record of what rounding changed."""

import math
from collections.abc import Collection, Iterator

import attrs
from attrs import frozen

from nas.arch.multiply import multiply, scaled_widths, widths
from nas.arch.spec import Architecture, Head, Part
from nas.errors import NasError, ScalingError
from nas.scaling.rules import FAMILY_PHIS, Factors, Rule, plain


@frozen
class Scaled:
    """Hold an architecture that was scaled from another one.

    Attributes:
        name: Name of the network: "B3", "phi=1.5" or the text of a budget.
        rule: Name of the scaling rule.
        phi: Compound coefficient.
        asked: Factors that the rule gives, before rounding.
        base: Architecture that was scaled.
        arch: Scaled architecture.
    """

    name: str
    rule: str
    phi: float
    asked: Factors
    base: Architecture
    arch: Architecture

    @property
    def realized(self) -> Factors:
        """Return the factors after rounding: the ratios of layers, channels and resolution to those of the base.

        The number of channels is the sum over all parts of the network.
        """
        return Factors(
            depth=count_layers(self.arch) / count_layers(self.base),
            width=_channels(self.arch) / _channels(self.base),
            resolution=self.arch.resolution / self.base.resolution,
        )


def count_layers(arch: Architecture) -> int:
    """Return the number of layers in all stages.

    Example:
        >>> from nas.arch.presets import preset
        >>> count_layers(preset("efficientnet-b0"))
        16
    """
    return sum(stage.layers for stage in arch.stages)


def _channels(arch: Architecture) -> int:
    return sum(sum(widths(part).values()) for _, part in named_parts(arch))


def named_parts(arch: Architecture) -> Iterator[tuple[str, Part]]:
    """Yield the stem, the stages and the head, each with its name: "stem", "stage1" and so on, "head"."""
    yield "stem", arch.stem
    yield from ((f"stage{i}", stage) for i, stage in enumerate(arch.stages, 1))
    yield "head", arch.head


def pixels(resolution: int, factor: float) -> int:
    """Return the scaled resolution, rounded to the nearest whole pixel; halves are rounded up.

    Example:
        >>> pixels(224, 1.15)
        258
    """
    return math.floor(resolution * factor + 0.5)


def grow(arch: Architecture, factors: Factors, keep: Collection[str] = ()) -> Architecture:
    """Return the architecture scaled by the factors, with the rounding of the EfficientNet code.

    The number of channels is rounded to a multiple of 8, the number of layers of each stage is rounded up, and the
    resolution is rounded to the nearest pixel (Tan & Le 2019, arXiv 1905.11946, and its published code).

    Args:
        arch: Architecture to scale.
        factors: Factors of depth, width and resolution.
        keep: What is not scaled: "stem", "head", "features" or "first-last-depth"; see `nas.arch.multiply.KEEPABLE`.

    Raises:
        ScalingError: Less than one layer, one channel of a part, or one pixel would be left.
        ArchitectureError: A part of the scaled architecture is larger than allowed; the error names the part.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.scaling.rules import Factors
        >>> grown = grow(preset("efficientnet-b0"), Factors(depth=1.2, width=1.1, resolution=260 / 224))
        >>> count_layers(grown), grown.stem.channels, grown.resolution
        (23, 32, 260)
    """
    _check_not_empty(arch, factors, keep)
    resolution = pixels(arch.resolution, factors.resolution)
    grown = multiply(arch, width=factors.width, depth=factors.depth, resolution=resolution, keep=keep)
    return attrs.evolve(grown, head=_with_dropout(grown.head, factors.dropout))


def _check_not_empty(arch: Architecture, factors: Factors, keep: Collection[str]) -> None:
    layers = count_layers(arch)
    # Rounding to nine digits keeps floating-point errors from turning exactly one layer or channel into less than one.
    if round(layers * factors.depth, 9) < 1:
        raise _nothing_left("the stages", layers, "layers", factors.depth)
    for place, part in named_parts(arch):
        fewest = min(scaled_widths(place, part, keep).values(), default=None)
        if fewest is not None and round(fewest * factors.width, 9) < 1:
            raise _nothing_left(place, fewest, "channels", factors.width)
    if pixels(arch.resolution, factors.resolution) < 1:
        raise _nothing_left("the image", arch.resolution, "pixels", factors.resolution)


def _nothing_left(place: str, number: int, what: str, factor: float) -> ScalingError:
    return ScalingError(
        f"nothing would be left of {place}: {number:,} {what} x {factor:.3g} are less than one; at least one must be "
        "left",
        "use a phi nearer to 0, or coefficients nearer to 1",
    )


def _with_dropout(head: Head, dropout: float) -> Head:
    """Raise the dropout rate to the given one, unless the head has no dropout.

    The larger members of the published family have higher dropout rates.
    """
    return attrs.evolve(head, dropout=dropout) if 0 < head.dropout < dropout else head


def scale(arch: Architecture, rule: Rule, phi: float, keep: Collection[str] = (), name: str = "") -> Scaled:
    """Return the architecture scaled by a rule at a compound coefficient.

    Args:
        arch: Architecture to scale.
        rule: Rule that gives the factors of depth, width and resolution.
        phi: Compound coefficient; 0 leaves the architecture as it is.
        keep: What is not scaled: "stem", "head", "features" or "first-last-depth"; see `nas.arch.multiply.KEEPABLE`.
        name: Name of the scaled network; "phi=1.5" and the like if it is empty.

    Raises:
        NasError: The rule has no factors at this phi, or the scaled architecture is too small or too large; see `grow`.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.scaling.rules import parse_rule
        >>> scaled = scale(preset("efficientnet-b0"), parse_rule("compound"), 3)
        >>> scaled.name, scaled.arch.resolution, round(scaled.asked.depth, 3), scaled.realized.depth
        ('phi=3', 341, 1.728, 1.9375)
    """
    if not math.isfinite(phi):
        raise ScalingError(f"phi is {phi}; phi must be a finite number", "use a number such as 1.5 or -1")
    factors = rule.at(phi)
    return Scaled(name or f"phi={plain(phi)}", rule.name, phi, factors, arch, grow(arch, factors, keep))


def family(arch: Architecture, rule: Rule, keep: Collection[str] = ()) -> tuple[Scaled, ...]:
    """Return the seven networks B1 to B7, each at the phi that is usually quoted for it.

    Args:
        arch: Architecture to scale.
        rule: Rule that gives the factors; "published" gives the multipliers of the published networks.
        keep: What is not scaled: "stem", "head", "features" or "first-last-depth"; see `nas.arch.multiply.KEEPABLE`.

    Raises:
        NasError: A member cannot be made; the error names the member and the part that is too small or too large.

    Example:
        >>> from nas.arch.presets import preset
        >>> from nas.scaling.rules import parse_rule
        >>> members = family(preset("efficientnet-b0"), parse_rule("published"))
        >>> [(member.name, member.arch.resolution) for member in members][:3]
        [('B1', 240), ('B2', 260), ('B3', 300)]
    """
    return tuple(_member(arch, rule, phi, keep, name) for name, phi in FAMILY_PHIS.items())


def _member(arch: Architecture, rule: Rule, phi: float, keep: Collection[str], name: str) -> Scaled:
    try:
        return scale(arch, rule, phi, keep, name)
    except NasError as error:
        raise ScalingError(f"{name} cannot be made: {error.problem}", error.remedy) from None
