"""`nas latency measure`: the latency of networks on devices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nas.api.latency import SECONDS
from nas.cli.shared.completion import complete_architecture
from nas.cli.shared.options import (
    ARCH_HELP,
    adapting_options,
    device_option_of,
    json_option,
    seconds_option,
    source_option,
    spread_option,
)
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.api.candidates import Candidate
    from nas.api.latency import Latency
    from nas.api.latency_comparison import LatencyReport, NetworkLatency

_HEADERS = (
    *("network", "device", "precision", "MACs"),
    *("latency ms", "spread", "min", "median", "p95", "repeats", "ratio"),
)
_SEVERAL = "Several are compared; everything on one machine runs in turn."


@click.command(cls=Verb, epilog=ARCH_HELP)
@click.argument("references", metavar="NETWORK...", nargs=-1, required=True, shell_complete=complete_architecture)
@device_option_of(_SEVERAL)
@adapting_options()
@source_option
@spread_option
@seconds_option("the whole measurement.", SECONDS)
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
    """Measure the latency of each NETWORK in ONNX Runtime, in alternation with a reference network.

    \b
    Example:
      nas latency measure mnasnet-a1 mobilenetv2 --device cpu:threads=2
      nas latency measure study:demo:best --device ssh://me@board
      nas latency measure b0.onnx runs/x --device cpu --device cpu:threads=2

    NETWORK is an ARCH, an ONNX file, or a CHECKPOINT (a folder of `nas train`, or a weights file). An ARCH runs with
    random weights, since latency does not depend on them, and a CHECKPOINT with its own. An ONNX file is checked first.
    It takes fp32 images (N, C, H, W) or uint8 images (N, H, W, C), and has a precision of its own. The reference is a
    small network that is part of nas.
    """
    import attrs

    from nas.api.candidates import find_candidates
    from nas.api.latency import make_aim
    from nas.api.latency_comparison import measure_together
    from nas.cli.shared.printing import print_json

    aim = make_aim(spread, seconds)
    candidates = find_candidates(references, storage, resolution=resolution, classes=classes, say=_say)
    reports = measure_together(candidates, devices, aim)
    if as_json:
        figures = [attrs.asdict(report) for report in reports]
        print_json(figures[0] if len(devices) == 1 else {"devices": figures})
    else:
        _print(reports)
    _warn(candidates, reports)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print(reports: "Sequence[LatencyReport]") -> None:
    from nas.cli.shared.printing import print_table

    networks = [(report, network) for report in reports for network in report.networks]
    rows = [
        [network.name, *_setting(report, network.precision, network.macs), *_times(network, network)]
        for report, network in networks
    ]
    # The reference runs once on each machine, on the first of its devices.
    first_reports = {(report.cpu, report.reference): report for report in reversed(reports)}
    rows += [
        ["(reference)", *_setting(report, report.precision, None), *_times(report.reference, None)]
        for report in reversed(first_reports.values())
    ]
    columns = dict(zip(_HEADERS, zip(*rows, strict=True), strict=True))
    if len(reports) == 1 and len({network.precision for _, network in networks}) == 1:
        del columns["device"], columns["precision"]  # The line about the device has them.
    if len(networks) == 1:
        del columns["ratio"]
    print_table([*columns], zip(*columns.values(), strict=True), left=3 if "device" in columns else 1)
    for report in reports:
        click.echo(
            f"{_device(report)} on {report.cpu}{report.accelerator and ', '}{report.accelerator}, "
            f"{report.system}, ONNX Runtime {report.runtime}; batch {report.batch} in all"
        )


def _setting(report: "LatencyReport", precision: str, macs: int | None) -> list[str]:
    from nas.cli.shared.printing import millions

    return [_device(report).replace(f",precision={report.precision}", ""), precision, millions(macs)]


def _device(report: "LatencyReport") -> str:
    return f"{report.place}?{report.device}" if report.place else report.device


def _times(latency: "Latency", compared: "NetworkLatency | None") -> list[str]:
    """Return the cells of a latency, and the ratio to the first network; a tilde marks that of separate runs."""
    times = (latency.latency_ms, latency.spread_ms, latency.min_ms, latency.median_ms, latency.p95_ms)
    ratio = f"{'' if compared.paired else '~'}{compared.ratio:.3f} ± {compared.ratio_spread:.3f}" if compared else ""
    return [*(f"{ms:.3f}" for ms in times), str(latency.repeats), ratio]


def _warn(candidates: "Sequence[Candidate]", reports: "Sequence[LatencyReport]") -> None:
    """Say on standard error what a reader of the figures should know."""
    files = [each.name for each in candidates if each.file is not None]
    if files and any(report.precision == "int8" for report in reports):
        _say(f"{', '.join(files)}: an ONNX file has a precision of its own, and is not quantized for precision=int8")
    for noise in {report.noise for report in reports if report.noisy}:
        _say(
            f"the machine is noisy: the reference's times spread by {noise:.0%}; stop other work on it, "
            "or give --seconds more"
        )
