"""Scaling rules: the depth, width and resolution of a network at a compound coefficient phi.

A power rule multiplies depth by alpha^phi, width by beta^phi and resolution by gamma^phi. With
alpha * beta^2 * gamma^2 = 2, each step of phi doubles the MACs, apart from rounding (Tan & Le 2019, arXiv 1905.11946,
section 3.3). The multipliers of the published EfficientNet-B1 to B7 are not such powers, so a table rule has the
published members and no others.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from attrs import field, frozen

from nas.arch.presets import FAMILY, preset
from nas.errors import ScalingError

DEFAULT_SHARE = 0.8
DOUBLING = 2.0
TOLERANCE = 0.1  # accepts the paper's own coefficients, whose product is 1.92
LARGEST_FACTOR = 1e6

# The phi that is usually quoted for each member of the EfficientNet family.
FAMILY_PHIS: Mapping[str, float] = MappingProxyType(
    {"B1": 0.5, "B2": 1.0, "B3": 2.0, "B4": 3.5, "B5": 5.0, "B6": 6.0, "B7": 7.0}
)


@frozen
class Factors:
    """Hold the factors by which a network is scaled.

    Attributes:
        depth: Factor of the number of layers.
        width: Factor of the number of channels.
        resolution: Factor of the image's height and width in pixels.
        dropout: Smallest dropout rate before the classifier; it applies only to networks that have dropout.
    """

    depth: float
    width: float
    resolution: float
    dropout: float = 0.0


@frozen
class PowerRule:
    """Scale depth by alpha^phi, width by beta^phi and resolution by gamma^phi.

    Attributes:
        name: Text of the rule, as `parse_rule` reads it.
        alpha: Base of the depth factor.
        beta: Base of the width factor.
        gamma: Base of the resolution factor.
        phis: Always empty, since every phi is allowed.

    Example:
        >>> rule = parse_rule("compound")
        >>> factors = rule.at(2)
        >>> round(factors.depth, 4), round(factors.width, 4), round(factors.resolution, 4)
        (1.44, 1.21, 1.3225)
    """

    name: str
    alpha: float
    beta: float
    gamma: float
    phis: tuple[float, ...] = field(default=(), init=False)

    @property
    def product(self) -> float:
        """Return the factor by which the MACs grow with each step of phi, apart from rounding."""
        return self.alpha * self.beta**2 * self.gamma**2

    def at(self, phi: float) -> Factors:
        """Return the factors at a compound coefficient.

        Args:
            phi: Compound coefficient; it may be negative or fractional.

        Raises:
            ScalingError: A factor is above 1,000,000.
        """
        try:
            factors = Factors(self.alpha**phi, self.beta**phi, self.gamma**phi)
        except OverflowError:
            factors = Factors(math.inf, math.inf, math.inf)
        if not max(factors.depth, factors.width, factors.resolution) <= LARGEST_FACTOR:
            raise ScalingError(
                f"phi is {phi:g}; at this phi rule {self.name} multiplies by more than {LARGEST_FACTOR:,.0f}, which is "
                "the largest factor that is allowed",
                "use a phi from -10 to 10",
            )
        return factors


@frozen
class TableRule:
    """Scale by the factors of a table, which has one row for each published member of a family.

    Attributes:
        name: Text of the rule, as `parse_rule` reads it.
        table: Factors by phi; the phi of a member is the one usually quoted for it.

    Example:
        >>> parse_rule("published").at(2.0).depth
        1.4
    """

    name: str
    table: Mapping[float, Factors] = field(hash=False)

    @property
    def phis(self) -> tuple[float, ...]:
        """Return every phi that has a member."""
        return tuple(self.table)

    def at(self, phi: float) -> Factors:
        """Return the factors of the member at a compound coefficient.

        Args:
            phi: Compound coefficient; one of `phis`.

        Raises:
            ScalingError: The table has no member at this phi.
        """
        if phi not in self.table:
            known = ", ".join(f"{phi:g}" for phi in self.table)
            raise ScalingError(
                f"rule {self.name} has no member at phi {phi:g}; it has only its published members",
                f"use a phi of {known}, or a rule that allows every phi, such as compound",
            )
        return self.table[phi]


Rule = PowerRule | TableRule


def fast(share: float = DEFAULT_SHARE) -> PowerRule:
    """Return the rule of Dollar et al. 2021 (arXiv 2103.06877), which keeps activations small.

    To multiply the MACs by s, the rule multiplies width by s^(share/2), depth by s^((1-share)/2) and resolution by
    s^((1-share)/4). With a share of 0.8, activations grow as s^0.6.

    Args:
        share: Share of width in the growth of the MACs, from 0 to 1.

    Raises:
        ScalingError: The share is not from 0 to 1.

    Example:
        >>> rule = fast(0.5)
        >>> rule.name, round(rule.product, 6)
        ('fast:0.5', 2.0)
    """
    if not 0 <= share <= 1:
        raise ScalingError(
            f"the share of rule fast is {share:g}; the share of width must be from 0 to 1",
            "use a number from 0 to 1, such as the usual 0.8",
        )
    others = 1 - share
    name = "fast" if share == DEFAULT_SHARE else f"fast:{plain(share)}"
    return PowerRule(name, DOUBLING ** (others / 2), DOUBLING ** (share / 2), DOUBLING ** (others / 4))


def _published() -> TableRule:
    base = preset("efficientnet-b0")
    members = zip(FAMILY_PHIS.values(), FAMILY.values(), strict=True)
    table = {
        phi: Factors(member.depth, member.width, member.resolution / base.resolution, member.dropout)
        for phi, member in members
    }
    return TableRule("published", MappingProxyType({0.0: Factors(1.0, 1.0, 1.0)} | table))


_NAMED: Mapping[str, Callable[[], Rule]] = MappingProxyType(
    {
        "compound": lambda: PowerRule("compound", 1.2, 1.1, 1.15),
        "published": _published,
        "depth": lambda: PowerRule("depth", DOUBLING, 1.0, 1.0),
        "width": lambda: PowerRule("width", 1.0, math.sqrt(DOUBLING), 1.0),
        "resolution": lambda: PowerRule("resolution", 1.0, 1.0, math.sqrt(DOUBLING)),
        "fast": fast,
    }
)
RULES = tuple(_NAMED)
_FORMS = (
    f"use one of {', '.join(RULES)}, fast:SHARE, or coefficients for depth, width and resolution such as 1.2,1.1,1.15"
)


def own(alpha: float, beta: float, gamma: float) -> PowerRule:
    """Return the power rule with the given coefficients.

    Args:
        alpha: Base of the depth factor.
        beta: Base of the width factor.
        gamma: Base of the resolution factor.

    Raises:
        ScalingError: A coefficient is not above 0, or is above 1,000,000.

    Example:
        >>> own(1.2, 1.1, 1.15).name
        '1.2,1.1,1.15'
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not 0 < value <= LARGEST_FACTOR:
            raise ScalingError(
                f"{name} is {value:g}; a coefficient must be above 0 and at most {LARGEST_FACTOR:,.0f}",
                "use coefficients such as 1.2,1.1,1.15",
            )
    return PowerRule(",".join(map(plain, (alpha, beta, gamma))), alpha, beta, gamma)


def plain(value: float) -> str:
    """Return the shortest text of a number that is read back as the same number.

    Example:
        >>> plain(2.0), plain(0.7)
        ('2', '0.7')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def parse_rule(text: str, *, any_product: bool = False) -> Rule:
    """Return the rule that a text names.

    Args:
        text: One of "compound", "published", "depth", "width", "resolution" and "fast"; "fast:0.7" for another share
            of width; or three coefficients such as "1.2,1.1,1.15".
        any_product: Whether coefficients are allowed with which a step of phi does not double the MACs.

    Raises:
        ScalingError: No rule has this name, or a coefficient is not allowed.

    Example:
        >>> rule = parse_rule("1.2,1.1,1.15")
        >>> rule.name, round(rule.product, 2)
        ('1.2,1.1,1.15', 1.92)
    """
    if text in _NAMED:
        return _NAMED[text]()
    word, colon, share = text.partition(":")
    try:
        if word == "fast" and colon:
            return fast(_number(share))
        if text.count(",") == 2:
            return _check_product(own(*map(_number, text.split(","))), any_product)
    except ValueError:
        pass
    raise ScalingError(f"no rule is called {text!r}; a rule is a name or three coefficients", _FORMS)


def _number(text: str) -> float:
    if not re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?\s*", text):
        raise ValueError(text)
    return float(text)


def _check_product(rule: PowerRule, any_product: bool) -> PowerRule:
    # The small constant accepts products that only floating-point rounding puts outside the tolerance.
    if any_product or abs(rule.product - DOUBLING) <= TOLERANCE + 1e-9:
        return rule
    raise ScalingError(
        f"alpha * beta^2 * gamma^2 of {rule.name} is {rule.product:.4g}; it must be about {DOUBLING:g}, so that a step "
        "of phi doubles the MACs",
        f"use coefficients that give {DOUBLING - TOLERANCE:g} to {DOUBLING + TOLERANCE:g}, or add --any-product",
    )
