"""`nas latency measure`: the latency of networks on a device."""

from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.completion import complete_architecture
from nas.cli.shared.groups import Group, option
from nas.cli.shared.on_device import connected
from nas.cli.shared.options import ARCH_HELP, adapting_options, device_option, json_option, source_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.device.client import Meter
    from nas.device.timing import Timing, Turns


@click.command(cls=Verb, epilog=ARCH_HELP)
@click.argument("references", metavar="ARCH...", nargs=-1, required=True, shell_complete=complete_architecture)
@device_option
@adapting_options()
@source_option
@option(
    Group.MEASUREMENT,
    "--spread",
    type=click.FloatRange(0.0005, 1),
    default=0.005,
    show_default=True,
    metavar="SHARE",
    help="Standard error at which a measurement ends, as a share of the latency.",
)
@option(
    Group.MEASUREMENT,
    "--seconds",
    type=click.FloatRange(0.1, 3600),
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
    from nas.cli.shared.printing import print_json
    from nas.cli.shared.reference import find_architecture
    from nas.device.timing import Aim

    named = [find_architecture(reference, storage) for reference in references]
    named = [
        (name, arch.adapted(resolution=resolution or arch.resolution, classes=classes or arch.classes))
        for name, arch in named
    ]
    with connected(devices) as meter:
        report = _report(named, meter, Aim(spread=spread, seconds=seconds, most=10_000))
    if as_json:
        print_json(report)
    else:
        _print(report)


def _report(named: "list[tuple[str, Architecture]]", meter: "Meter", aim: Any) -> dict[str, Any]:
    from nas.graph.fragment import whole

    turns = meter.measure([whole(arch) for _, arch in named], aim)
    machine = meter.machine
    return {
        "device": str(meter.device),
        "provider": meter.device.provider,
        "threads": meter.device.threads,
        "batch": meter.device.batch,
        "precision": meter.device.precision,
        "cpu": machine.cpu,
        "accelerator": machine.accelerator,
        "system": machine.system,
        "runtime": machine.runtime,
        "noise": turns.noise,
        "noisy": turns.noisy,
        "warmups": turns.warmups,
        "reference": _times(turns, turns.reference) | {"spread_ms": turns.noise * turns.reference.median_ms},
        "networks": [
            {"name": name, **_costs(arch), **_times(turns, timing)}
            for (name, arch), timing in zip(named, turns.timings, strict=True)
        ],
    }


def _costs(arch: "Architecture") -> dict[str, Any]:
    from nas.cost.analytic import cost

    counted = cost(arch)
    return {"resolution": arch.resolution, "macs": counted.macs, "params": counted.params}


def _times(turns: "Turns", timing: "Timing") -> dict[str, Any]:
    """Latency is the ratio to the reference times what the reference took in the middle of its runs."""
    latency_ms = timing.ratio * turns.reference.median_ms
    return {
        "latency_ms": latency_ms,
        "spread_ms": timing.spread * latency_ms,
        "min_ms": timing.min_ms,
        "median_ms": timing.median_ms,
        "p95_ms": timing.p95_ms,
        "repeats": timing.repeats,
    }


def _print(report: dict[str, Any]) -> None:
    from nas.cli.shared.printing import millions, print_table

    headers = ("network", "MACs", "latency ms", "spread", "min", "median", "p95", "repeats")
    rows = [
        (
            row["name"],
            millions(row.get("macs")),
            f"{row['latency_ms']:.3f}",
            f"{row['spread_ms']:.3f}",
            *(f"{row[key]:.3f}" for key in ("min_ms", "median_ms", "p95_ms")),
            str(row["repeats"]),
        )
        for row in [*report["networks"], {"name": "(reference)", **report["reference"]}]
    ]
    print_table(headers, rows)
    click.echo(
        f"{report['device']} on {report['cpu']}{report['accelerator'] and ', '}{report['accelerator']}, "
        f"{report['system']}, ONNX Runtime {report['runtime']}; batch {report['batch']} in all"
    )
    if report["noisy"]:
        click.echo(
            f"the machine is noisy: the reference's times spread by {report['noise']:.0%}; stop other work on it, "
            "or give --seconds more",
            err=True,
        )
