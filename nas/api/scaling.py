"""Larger and smaller networks from one architecture."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from nas.api.errors import explain_missing
from nas.errors import ScalingError, TargetError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.measured import Stopwatch
    from nas.scaling.budget import Budget, Growth
    from nas.scaling.grow import Scaled
    from nas.scaling.rules import Factors

_KEEPABLE = ("stem", "head")


@frozen
class ScaledArchitecture:
    """Hold a scaled architecture, and how it was scaled.

    Attributes:
        architecture: The scaled architecture.
        base: The architecture that was scaled.
        name: Name of the network: "B3", "phi=1.5" or the text of a budget.
        rule: Name of the scaling rule.
        phi: Compound coefficient.
        asked: Factors of `depth`, `width` and `resolution` that the rule gives, before rounding.
        realized: The same factors after rounding: layers, channels and pixels over those of the base.
        latency_ms: Measured latency in milliseconds; None if no device was given.

    >>> import nas
    >>> scaled = nas.scale(nas.load_architecture("efficientnet-b0"), phi=1)
    >>> round(scaled.asked.depth, 3), scaled.architecture.resolution
    (1.2, 258)
    """

    architecture: "Architecture"
    base: "Architecture" = field(repr=False)
    name: str
    rule: str
    phi: float
    asked: "Factors"
    realized: "Factors"
    latency_ms: float | None = None


def scale(
    arch: "Architecture",
    phi: float,
    rule: str = "compound",
    *,
    keep: Collection[str] = (),
    any_product: bool = False,
) -> ScaledArchitecture:
    """Scale an architecture by a compound coefficient.

    Under a rule with the coefficients alpha, beta and gamma, depth becomes alpha^phi, width beta^phi and resolution
    gamma^phi times as large (Tan & Le 2019, arXiv 1905.11946, section 3.3).

    Args:
        arch: The architecture to scale.
        phi: Compound coefficient; fractions and negative numbers are possible.
        rule: "compound" (1.2, 1.1, 1.15), "published" (the published B1 to B7), "depth", "width", "resolution",
            "fast", "fast:SHARE", or coefficients such as "1.2,1.1,1.15".
        keep: Parts whose channels do not change, "stem" or "head".
        any_product: Whether alpha * beta^2 * gamma^2 of own coefficients may be far from 2.

    Returns:
        The scaled architecture, with the factors before and after rounding.

    Raises:
        ScalingError: There is no such rule, or nothing would be left of a part.

    >>> import nas
    >>> larger = nas.scale(nas.load_architecture("efficientnet-b0"), phi=3)
    >>> larger.architecture.resolution, nas.cost(larger.architecture).params > 5_288_548
    (341, True)
    """
    return _record(_growth(arch, rule, keep, any_product).at(phi))


def scale_family(
    arch: "Architecture",
    rule: str = "published",
    *,
    keep: Collection[str] = (),
    any_product: bool = False,
) -> list[ScaledArchitecture]:
    """Scale an architecture to a family, B1 to B7, at the values of phi that are usually quoted for EfficientNet.

    Args:
        arch: The architecture to scale, the B0 of the family.
        rule: Scaling rule, as in `nas.scale`; "published" takes the factors of the published EfficientNets.
        keep: Parts whose channels do not change, "stem" or "head".
        any_product: Whether alpha * beta^2 * gamma^2 of own coefficients may be far from 2.

    Returns:
        Seven scaled architectures in increasing order.

    Raises:
        ScalingError: There is no such rule, or a member would have nothing left of a part.

    >>> import nas
    >>> family = nas.scale_family(nas.load_architecture("efficientnet-b0"))
    >>> [member.architecture.resolution for member in family]
    [240, 260, 300, 380, 456, 528, 600]
    >>> family[3].architecture == nas.load_architecture("efficientnet-b4")
    True
    """
    from nas.scaling.grow import family

    growth = _growth(arch, rule, keep, any_product)
    return [_record(scaled) for scaled in family(growth.base, growth.rule, growth.keep)]


@explain_missing()
def scale_to_budget(
    arch: "Architecture",
    budget: str,
    rule: str = "compound",
    *,
    free: bool = False,
    keep: Collection[str] = (),
    any_product: bool = False,
    precision: str = "fp32",
    device: str | Sequence[str] = (),
) -> ScaledArchitecture:
    """Scale an architecture to the largest network within a budget.

    Args:
        arch: The architecture to scale.
        budget: Largest cost: "flops=1.8G", "params=10M", "peak_memory=20MB", "size=20MB" or "latency=20ms". FLOPs are
            multiply-adds.
        rule: Scaling rule, as in `nas.scale`.
        free: Whether depth, width and resolution may each deviate a little from the rule to use the budget up.
        keep: Parts whose channels do not change, "stem" or "head".
        any_product: Whether alpha * beta^2 * gamma^2 of own coefficients may be far from 2.
        precision: Precision of weights and activations, for budgets in bytes.
        device: Device of a latency budget, as in `nas.measure_latency`. For another budget the latency of the network
            is measured there too.

    Returns:
        The scaled architecture. If a device is given, `latency_ms` is its measured latency in milliseconds.

    Raises:
        TargetError: The budget cannot be read, or it is a latency and no device is given.
        ScalingError: There is no such rule, or no network of the rule fits the budget.
        DeviceError: The device fails.

    >>> import nas
    >>> scaled = nas.scale_to_budget(nas.load_architecture("mobilenetv2"), "flops=600M")
    >>> 0.9 * 600e6 < nas.cost(scaled.architecture).macs <= 600e6
    True
    """
    from nas.api.devices import connected, stopwatch
    from nas.cost.target import read_target

    growth = _growth(arch, rule, keep, any_product)
    devices = [device] if isinstance(device, str) else device
    if not devices:
        return _meet(growth, _read_budget(budget, precision, None), None, free=free)
    read_target(budget)  # A budget that cannot be read is an error before a device is asked.
    with connected(devices) as meter:
        watch = stopwatch(meter, arch)
        return _meet(growth, _read_budget(budget, precision, watch), watch, free=free)


def _growth(arch: "Architecture", rule: str, keep: Collection[str], any_product: bool) -> "Growth":
    from nas.api.architectures import check_architecture
    from nas.scaling.budget import Growth
    from nas.scaling.rules import parse_rule

    check_architecture(arch)
    parts = frozenset([keep] if isinstance(keep, str) else keep)
    if unknown := sorted(parts - {*_KEEPABLE}):
        raise ScalingError(f"keep has {unknown[0]!r}", f"use {' or '.join(_KEEPABLE)}")
    return Growth(arch, parse_rule(rule, any_product=any_product), parts)


def _read_budget(text: str, precision: str, watch: "Stopwatch | None") -> "Budget":
    """Read a budget, `NAME=AMOUNT`.

    Raises:
        TargetError: It cannot be read, or refers to a device and none is given.
    """
    from nas.cost.analytic import MACS, peak_memory
    from nas.cost.measured import Judge
    from nas.cost.target import parse_target, read_target
    from nas.scaling.budget import Budget, Trial

    peak_memory(precision)  # An unknown precision is an error whatever the budget is.
    asked = read_target(text)
    if asked.kind.model is not None:
        target = parse_target(text, precision)
        return Budget(target.text, target.limit, target.unit, target.cost)
    if watch is None:
        raise TargetError(f"budget {asked.text} is about a device, and none is named", "name one, like --device cpu")
    trial = Trial(Judge(watch.meter, watch.reference_ms), MACS)
    return Budget(asked.text, asked.limit, asked.kind.unit, watch, trial)


def _meet(growth: "Growth", budget: "Budget", watch: "Stopwatch | None", *, free: bool) -> ScaledArchitecture:
    from nas.scaling.budget import largest, nearest_below
    from nas.scaling.measured import largest_measured

    if budget.trial is not None:
        met = largest_measured(growth, budget, budget.trial, free=free)
        return _record(met.scaled, met.measured.value)
    found = nearest_below(growth, budget) if free else largest(growth, budget)
    return _record(found, None if watch is None else watch.estimate(found.arch).value)


def _record(scaled: "Scaled", latency_ms: float | None = None) -> ScaledArchitecture:
    return ScaledArchitecture(
        architecture=scaled.arch,
        base=scaled.base,
        name=scaled.name,
        rule=scaled.rule,
        phi=scaled.phi,
        asked=scaled.asked,
        realized=scaled.realized,
        latency_ms=latency_ms,
    )
