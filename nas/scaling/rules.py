"""Rules by which a network grows: how deep, wide and large it becomes at a compound coefficient phi.

Under a power rule depth is alpha^phi, width beta^phi and resolution gamma^phi; with alpha * beta^2 * gamma^2 = 2 each
step of phi doubles the MACs, but for rounding (Tan & Le 2019, arXiv 1905.11946, section 3.3). The published B1 to B7
are not such powers: they are a rule of their own, with the members that were published and no others.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from attrs import field, frozen

from nas.arch.presets import FAMILY, preset
from nas.errors import ScalingError

USUAL_SHARE = 0.8
DOUBLING = 2.0
TOLERANCE = 0.1  # admits the paper's own 1.92
MOST = 1e6

# The phi usually quoted for the members of the family.
FAMILY_PHIS: Mapping[str, float] = MappingProxyType(
    {"B1": 0.5, "B2": 1.0, "B3": 2.0, "B4": 3.5, "B5": 5.0, "B6": 6.0, "B7": 7.0}
)


@frozen
class Factors:
    """How much deeper, wider and larger.

    Attributes:
        depth: on layers.
        width: on channels.
        resolution: on the pixels of a side.
        dropout: at least so much before the classifier, where the network has any.
    """

    depth: float
    width: float
    resolution: float
    dropout: float = 0.0


@frozen
class PowerRule:
    """Depth alpha^phi, width beta^phi, resolution gamma^phi.

    Attributes:
        name: as `parse_rule` reads it.
        alpha: of depth.
        beta: of width.
        gamma: of resolution.
    """

    name: str
    alpha: float
    beta: float
    gamma: float
    phis: tuple[float, ...] = field(default=(), init=False)

    @property
    def product(self) -> float:
        """About how many times the MACs of phi are those of phi + 1."""
        return self.alpha * self.beta**2 * self.gamma**2

    def at(self, phi: float) -> Factors:
        """The factors at any phi.

        Raises:
            ScalingError: a factor is beyond all networks.
        """
        try:
            factors = Factors(self.alpha**phi, self.beta**phi, self.gamma**phi)
        except OverflowError:
            factors = Factors(math.inf, math.inf, math.inf)
        if not max(factors.depth, factors.width, factors.resolution) <= MOST:
            raise ScalingError(f"phi is {phi:g}, which multiplies by more than {MOST:,.0f}", "use one from -10 to 10")
        return factors


@frozen
class TableRule:
    """Members that were published, each at the phi usually quoted for it.

    Attributes:
        name: as `parse_rule` reads it.
        table: factors by phi.
    """

    name: str
    table: Mapping[float, Factors] = field(hash=False)

    @property
    def phis(self) -> tuple[float, ...]:
        """All there are."""
        return tuple(self.table)

    def at(self, phi: float) -> Factors:
        """The factors of the member at that phi.

        Raises:
            ScalingError: there is none.
        """
        if phi not in self.table:
            known = ", ".join(f"{phi:g}" for phi in self.table)
            raise ScalingError(
                f"rule {self.name} has no member at phi {phi:g}", f"use one of {known}, or another rule, like compound"
            )
        return self.table[phi]


Rule = PowerRule | TableRule


def fast(share: float = USUAL_SHARE) -> PowerRule:
    """A cost factor s goes into width as s^(share/2), depth s^((1-share)/2), resolution s^((1-share)/4).

    With 0.8 activations grow as s^0.6 (Dollar et al. 2021, arXiv 2103.06877).

    Raises:
        ScalingError: a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ScalingError(f"the share of rule fast is {share:g}", "use a number from 0 to 1; 0.8 is usual")
    rest = 1 - share
    name = "fast" if share == USUAL_SHARE else f"fast:{plain(share)}"
    return PowerRule(name, DOUBLING ** (rest / 2), DOUBLING ** (share / 2), DOUBLING ** (rest / 4))


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
_FORMS = f"use one of {', '.join(RULES)}, fast:SHARE, or coefficients like 1.2,1.1,1.15 (depth, width, resolution)"


def own(alpha: float, beta: float, gamma: float) -> PowerRule:
    """A rule of the user's own coefficients.

    Raises:
        ScalingError: one is no number above 0.
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not 0 < value <= MOST:
            raise ScalingError(f"{name} is {value:g}", "use a number above 0, like those of 1.2,1.1,1.15")
    return PowerRule(",".join(map(plain, (alpha, beta, gamma))), alpha, beta, gamma)


def plain(value: float) -> str:
    """A number as it is typed, all its digits and no more."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def parse_rule(text: str, *, any_product: bool = False) -> Rule:
    """Read a rule; a rule's name is its text.

    Args:
        text: "compound", "published", "depth", "width", "resolution", "fast", "fast:0.7" or "1.2,1.1,1.15".
        any_product: allow coefficients of which phi + 1 does not double the MACs.

    Raises:
        ScalingError: no such rule, or coefficients that break a rule.
    """
    if text in _NAMED:
        return _NAMED[text]()
    word, colon, share = text.partition(":")
    try:
        if word == "fast" and colon:
            return fast(_number(share))
        if text.count(",") == 2:
            return _balanced(own(*map(_number, text.split(","))), any_product)
    except ValueError:
        pass
    raise ScalingError(f"no rule is called {text!r}", _FORMS)


def _number(text: str) -> float:
    if not re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?\s*", text):
        raise ValueError(text)
    return float(text)


def _balanced(rule: PowerRule, any_product: bool) -> PowerRule:
    if any_product or abs(rule.product - DOUBLING) <= TOLERANCE + 1e-9:
        return rule
    raise ScalingError(
        f"alpha * beta^2 * gamma^2 of {rule.name} is {rule.product:.4g}, and a step of phi should double the MACs",
        f"use coefficients that give {DOUBLING - TOLERANCE:g} to {DOUBLING + TOLERANCE:g}, or say --any-product",
    )
