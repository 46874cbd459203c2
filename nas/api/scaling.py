"""Larger and smaller networks from one architecture."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import field, frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.errors import ScalingError, TargetError

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.cost.measured import Stopwatch
    from nas.scaling.budget import Budget, Growth
    from nas.scaling.grow import Scaled
    from nas.scaling.rules import Factors


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


@check_arguments
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
        keep: What is not scaled: the channels of the "stem" or the "head", the "features" of the head's linear layer,
            or "first-last-depth", the number of layers of the first and the last stage.
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
    return _record(Member(make_growth(arch, rule, keep, any_product=any_product).at(phi)))


@check_arguments
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
        keep: What is not scaled: the channels of the "stem" or the "head", the "features" of the head's linear layer,
            or "first-last-depth", the number of layers of the first and the last stage.
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

    growth = make_growth(arch, rule, keep, any_product=any_product)
    return [_record(Member(scaled)) for scaled in family(growth.base, growth.rule, growth.keep)]


@check_arguments
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
        keep: What is not scaled: the channels of the "stem" or the "head", the "features" of the head's linear layer,
            or "first-last-depth", the number of layers of the first and the last stage.
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
    growth = make_growth(arch, rule, keep, any_product=any_product)
    with open_stopwatch(arch, [device] if isinstance(device, str) else device, [budget]) as watch:
        return _record(meet_budget(growth, read_budget(budget, precision, watch), watch, free=free))


@frozen
class Member:
    """Hold a scaled network, with its measured latency if a device was given.

    Attributes:
        scaled: The network, and how it was scaled.
        latency: Latency in milliseconds with its uncertainty; None if no device was given.
    """

    scaled: "Scaled"
    latency: "Cost | None" = None


def make_growth(arch: "Architecture", rule: str, keep: Collection[str] = (), *, any_product: bool = False) -> "Growth":
    """Return how an architecture is scaled, after a check of the rule and of the parts that do not change.

    Args:
        arch: The architecture to scale.
        rule: Scaling rule, as in `nas.scale`.
        keep: What is not scaled: the channels of the "stem" or the "head", the "features" of the head's linear layer,
            or "first-last-depth", the number of layers of the first and the last stage.
        any_product: Whether alpha * beta^2 * gamma^2 of own coefficients may be far from 2.

    Raises:
        ScalingError: There is no such rule or no such part.
    """
    from nas.api.architectures import check_architecture
    from nas.arch.multiply import KEEPABLE
    from nas.scaling.budget import Growth
    from nas.scaling.rules import parse_rule

    check_architecture(arch)
    parts = frozenset([keep] if isinstance(keep, str) else keep)
    if unknown := sorted(parts - {*KEEPABLE}):
        raise ScalingError(f"keep has {unknown[0]!r}", f"use {', '.join(KEEPABLE)}")
    if "features" in parts and not hasattr(arch.head, "features"):
        raise ScalingError(
            "keep has 'features', and the head of this network has no linear layer with features before its classifier",
            "leave features out; head keeps the channels of the whole head",
        )
    return Growth(arch, parse_rule(rule, any_product=any_product), parts)


@contextmanager
def open_stopwatch(
    arch: "Architecture", devices: Sequence[str], budgets: Iterable[str] = ()
) -> "Iterator[Stopwatch | None]":
    """Connect to devices while the context lasts, and yield what measures latencies there; None without a device.

    Args:
        arch: The architecture to scale, which is measured first.
        devices: Devices as users write them, for example "cpu:threads=4"; equal ones share the work.
        budgets: Budgets that will be met. They are read before a device is connected.

    Raises:
        TargetError: A budget cannot be read, or depends on a device and none is given.
        DeviceError: The device fails.
    """
    from nas.api.devices import connected, stopwatch
    from nas.cost.target import needs_device, read_target

    needing = [text for text in budgets if needs_device([text])]
    if devices:
        with connected(devices) as meter:
            yield stopwatch(meter, arch)
        return
    if needing:
        raise _no_device(read_target(needing[0]).text)
    yield None


def read_budget(text: str, precision: str, watch: "Stopwatch | None") -> "Budget":
    """Read a budget, `NAME=AMOUNT`.

    Args:
        text: The budget, for example "flops=1.8G" or "latency=20ms".
        precision: Precision of weights and activations, for budgets in bytes.
        watch: What measures latencies; None without a device.

    Raises:
        TargetError: The budget cannot be read, or depends on a device and none is given.
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
        raise _no_device(asked.text)
    trial = Trial(Judge(watch.meter, watch.reference_ms), MACS)
    return Budget(asked.text, asked.limit, asked.kind.unit, watch, trial)


def _no_device(budget: str) -> TargetError:
    return TargetError(f"budget {budget} is about a device, and none is named", "name one, like --device cpu")


def meet_budget(
    growth: "Growth",
    budget: "Budget",
    watch: "Stopwatch | None",
    *,
    free: bool,
    strict: bool = False,
    say: Callable[[str], None] = lambda _message: None,
) -> Member:
    """Return the largest network within a budget, with its latency if a device was given.

    Args:
        growth: Architecture and scaling rule.
        budget: Largest cost.
        watch: What measures latencies; None without a device.
        free: Whether depth, width and resolution may each deviate a little from the rule to use the budget up.
        strict: Whether the deviation stays small even if no network comes near the budget then.
        say: Function that is called with a sentence if the network stays well below the budget although `free` is set.

    Raises:
        ScalingError: No network of the rule is within the budget.
        DeviceError: The device fails.
    """
    from nas.scaling.budget import ENOUGH, REACHES, largest, nearest_below
    from nas.scaling.measured import largest_measured

    if budget.trial is not None:
        met = largest_measured(growth, budget, budget.trial, free=free)
        return Member(met.scaled, met.measured)
    found = nearest_below(growth, budget, REACHES[: 1 if strict else None]) if free else largest(growth, budget)
    if free and budget.of(found.arch) < ENOUGH * budget.limit:
        say(
            f"rule {growth.rule.name} comes only to {budget.amount(found.arch)} of {budget.text}: its members and "
            "rounding allow no more"
        )
    return Member(found, measure(found.arch, watch))


def measure(arch: "Architecture", watch: "Stopwatch | None") -> "Cost | None":
    """Return the latency of an architecture in milliseconds, or None without a device.

    Raises:
        DeviceError: The device fails.
    """
    return None if watch is None else watch.estimate(arch)


def compare_costs(watch: "Stopwatch | None") -> "Callable[[Sequence[Architecture]], Sequence[Cost]]":
    """Return a function that measures networks on the device in turn, or that counts their MACs without a device."""
    from nas.cost.analytic import MACS
    from nas.cost.measured import Judge

    if watch is None:
        return lambda archs: [MACS.estimate(arch) for arch in archs]
    return Judge(watch.meter, watch.reference_ms).together


def _record(member: Member) -> ScaledArchitecture:
    scaled = member.scaled
    return ScaledArchitecture(
        architecture=scaled.arch,
        base=scaled.base,
        name=scaled.name,
        rule=scaled.rule,
        phi=scaled.phi,
        asked=scaled.asked,
        realized=scaled.realized,
        latency_ms=None if member.latency is None else member.latency.value,
    )
