"""Scaled networks as a table, as JSON and as files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.architectures import file_stem
from nas.api.scaling import Member
from nas.errors import NasError
from nas.output_kinds import NETWORK, check_output

if TYPE_CHECKING:
    from nas.arch.spec import Architecture
    from nas.cost.base import Cost
    from nas.scaling.grow import Scaled
    from nas.scaling.rules import Rule


def member_row(member: Member) -> dict[str, Any]:
    """Return a network in plain units: its factors before and after rounding, and its costs."""
    from nas.arch.code import format_text
    from nas.cost.analytic import cost

    scaled = member.scaled
    counted, base = cost(scaled.arch), cost(scaled.base)
    asked, got = scaled.asked, scaled.realized
    return {
        "name": scaled.name,
        "phi": scaled.phi,
        "depth": asked.depth,
        "width": asked.width,
        "resolution": scaled.arch.resolution,
        "params": counted.params,
        "macs": counted.macs,
        "peak_bytes": counted.peak_bytes(),
        "activations": counted.activations,
        "two_to_phi": 2.0**scaled.phi,
        "macs_ratio": counted.macs / base.macs,
        "resolution_asked": scaled.base.resolution * asked.resolution,
        "realised": {"depth": got.depth, "width": got.width, "resolution": got.resolution},
        **_latency(member.latency),
        "arch": format_text(scaled.arch),
    }


def _latency(latency: "Cost | None") -> dict[str, Any]:
    if latency is None:
        return {}
    return {"latency_ms": latency.value, "latency_ms_spread": latency.spread, "noisy": latency.noisy}


def rule_row(rule: "Rule") -> dict[str, Any]:
    """Return the name of a rule, with its coefficients if it has any."""
    from nas.scaling.rules import PowerRule

    if not isinstance(rule, PowerRule):
        return {"name": rule.name}
    return {"name": rule.name, "alpha": rule.alpha, "beta": rule.beta, "gamma": rule.gamma, "product": rule.product}


def base_row(name: str, arch: "Architecture", latency: "Cost | None" = None) -> dict[str, Any]:
    """Return the costs of the network that is scaled."""
    from nas.cost.analytic import cost

    counted = cost(arch)
    figures = {"resolution": arch.resolution, "params": counted.params, "macs": counted.macs}
    return {"name": name, **figures, "peak_bytes": counted.peak_bytes(), **_latency(latency)}


def print_members(base: dict[str, Any], rule: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Print the factors of the networks before and after rounding, and their costs beside 2^phi."""
    from nas.cli.shared.printing import millions, print_table

    timed = any("latency_ms" in row for row in rows)
    headers: tuple[str, ...] = ("network", "phi", "depth", "width", "resolution", "MACs", "x base", "2^phi", "params")
    start = ("", "1", "1", f"{base['resolution']} px", millions(base["macs"]), "1", "1", f"{base['params']:,}")
    lines: list[tuple[str, ...]] = [(base["name"], *start), *((row["name"], *_cells(row)) for row in rows)]
    if timed:
        headers = (*headers, "latency ms")
        lines = [(*line, _time(row)) for line, row in zip(lines, (base, *rows), strict=True)]
    click.echo(f"rule {rule['name']}{_coefficients(rule)}; depth, width and resolution as asked ► as made")
    print_table(headers, lines)


def _coefficients(rule: dict[str, Any]) -> str:
    if "alpha" not in rule:
        return ", as published for EfficientNet"
    return f": depth {rule['alpha']:.4g}^phi, width {rule['beta']:.4g}^phi, resolution {rule['gamma']:.4g}^phi"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from nas.cli.shared.printing import millions

    got = row["realised"]
    return (
        f"{row['phi']:g}",
        f"{row['depth']:.3f} ► {got['depth']:.3f}",
        f"{row['width']:.3f} ► {got['width']:.3f}",
        f"{row['resolution_asked']:.1f} ► {row['resolution']} px",
        millions(row["macs"]),
        f"{row['macs_ratio']:.2f}",
        f"{row['two_to_phi']:.2f}",
        f"{row['params']:,}",
    )


def _time(row: dict[str, Any]) -> str:
    return f"{row['latency_ms']:.4g} ± {row['latency_ms_spread']:.2g}" if "latency_ms" in row else "-"


def member_files(
    folder: Path, base_name: str, members: "Sequence[Scaled]", *, onnx: bool
) -> dict[Path, Callable[[], bytes]]:
    """Return an architecture file for each network and, with `onnx`, an ONNX file with random weights.

    Args:
        folder: Folder of the files, which is made.
        base_name: Name of the network that was scaled.
        members: The networks.
        onnx: Whether ONNX files are written too.

    Returns:
        Functions that make the content of the files, by path.

    Raises:
        NasError: The folder cannot be made, or a file of such a name holds something else.
    """
    from nas.arch.code import format_json

    _make(folder)
    files: dict[Path, Callable[[], bytes]] = {}
    for member in members:
        stem = file_stem(base_name, member.name)
        text, data = folder / f"{stem}.json", (format_json(member.arch) + "\n").encode()
        _check_free(text, data)
        files[text] = partial(bytes, data)
        if onnx:
            check_output(folder / f"{stem}.onnx", NETWORK)
            files[folder / f"{stem}.onnx"] = partial(_onnx_bytes, member.arch)
    return files


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(
            f"folder {folder} cannot be made: {error.strerror or error}", "choose another folder with --save"
        ) from None


def _check_free(path: Path, data: bytes) -> None:
    if path.exists() and not (path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data):
        raise NasError(
            f"file {path} exists and does not hold this network; it is not overwritten",
            "choose another folder with --save",
        )


def write_files(files: Mapping[Path, Callable[[], bytes]]) -> None:
    """Write files.

    Args:
        files: Functions that make the content of the files, by path.

    Raises:
        NasError: A file cannot be written, or the weights of a network do not fit into one file.
    """
    from nas.files import write_atomically

    for path, make in files.items():
        write_atomically(path, make())


def _onnx_bytes(arch: "Architecture") -> bytes:
    from nas.graph.build import build_graph
    from nas.graph.fragment import whole

    data: bytes = build_graph(whole(arch)).SerializeToString()
    return data
