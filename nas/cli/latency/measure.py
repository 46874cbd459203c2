"""`nas latency measure`: the latency of networks on a device."""

from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.completion import complete_architecture
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import ARCH_HELP, NumberRange, adapting_options, device_option, json_option, source_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.api.latency import LatencyReport
    from nas.arch.spec import Architecture


@click.command(cls=Verb, epilog=ARCH_HELP)
@click.argument("references", metavar="ARCH...", nargs=-1, required=True, shell_complete=complete_architecture)
@device_option
@adapting_options()
@source_option
@option(
    Group.MEASUREMENT,
    "--spread",
    type=NumberRange(0.0005, 1),
    default=0.005,
    show_default=True,
    metavar="SHARE",
    help="Standard error at which a measurement ends, as a share of the latency.",
)
@option(
    Group.MEASUREMENT,
    "--seconds",
    type=NumberRange(0.1, 3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit of the whole measurement, in seconds.",
)
@json_option
def command(
    references: tuple[str, ...],
    devices: tuple[str, ...],
    resolution: int | None,
    classes: int | None,
    spread: float,
    seconds: float,
    as_json: bool,
    storage: str,
) -> None:
    """Measure the latency of networks in ONNX Runtime, in alternation with a reference network.

    \b
    Example:
      nas latency measure mnasnet-a1 mobilenetv2 --device cpu:threads=2
      nas latency measure study:demo:best --device ssh://me@board

    Weights are random, since latency does not depend on them. The reference is a small network that is part of nas.
    """
    from nas.api.architectures import find_architecture
    from nas.api.devices import connected
    from nas.api.latency import make_aim, measure_in_turn
    from nas.cli.shared.printing import print_json

    found = [find_architecture(reference, storage) for reference in references]
    named = [
        (name, arch.adapted(resolution=resolution or arch.resolution, classes=classes or arch.classes))
        for name, arch in found
    ]
    with connected(devices) as meter:
        report = measure_in_turn([arch for _, arch in named], meter, make_aim(spread, seconds))
    if as_json:
        print_json(_figures(named, report))
    else:
        _print(named, report)


def _figures(named: "list[tuple[str, Architecture]]", report: "LatencyReport") -> dict[str, Any]:
    """Return the JSON form of a report."""
    import attrs

    figures = attrs.asdict(report)
    figures["networks"] = [
        {"name": name, **_costs(arch), **latency}
        for (name, arch), latency in zip(named, figures["networks"], strict=True)
    ]
    return figures


def _costs(arch: "Architecture") -> dict[str, Any]:
    from nas.cost.analytic import cost

    counted = cost(arch)
    return {"resolution": arch.resolution, "macs": counted.macs, "params": counted.params}


def _print(named: "list[tuple[str, Architecture]]", report: "LatencyReport") -> None:
    from nas.cli.shared.printing import millions, print_table

    headers = ("network", "MACs", "latency ms", "spread", "min", "median", "p95", "repeats")
    measured = [
        (name, millions(_costs(arch)["macs"]), latency)
        for (name, arch), latency in zip(named, report.networks, strict=True)
    ]
    rows = [
        (
            name,
            macs,
            *(f"{ms:.3f}" for ms in (one.latency_ms, one.spread_ms, one.min_ms, one.median_ms, one.p95_ms)),
            str(one.repeats),
        )
        for name, macs, one in [*measured, ("(reference)", millions(None), report.reference)]
    ]
    print_table(headers, rows)
    click.echo(
        f"{report.device} on {report.cpu}{report.accelerator and ', '}{report.accelerator}, "
        f"{report.system}, ONNX Runtime {report.runtime}; batch {report.batch} in all"
    )
    if report.noisy:
        click.echo(
            f"the machine is noisy: the reference's times spread by {report.noise:.0%}; stop other work on it, "
            "or give --seconds more",
            err=True,
        )
