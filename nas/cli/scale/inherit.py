"""The weights that scaled networks inherit: their files, and their accuracy before any further training."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.api.architectures import file_stem
from nas.api.inheritance import Inheritance, InheritedNetwork
from nas.cli.shared.validation import interval_row, interval_text
from nas.errors import NasError, WeightsError
from nas.output_kinds import NETWORK, WEIGHTS, check_output

if TYPE_CHECKING:
    from nas.noise import Estimate
    from nas.scaling.grow import Scaled


def weights_path(folder: Path, base_name: str, member: "Scaled", inheritance: Inheritance) -> Path:
    """Return the path of the file for the weights of a scaled network.

    Raises:
        WeightsError: The normalization of the source is unknown, and a saved network needs it.
        NasError: There is such a file already.
    """
    if inheritance.source.normalization is None:
        raise WeightsError(
            "the normalization of the images of the source is unknown, and a saved network needs it",
            "give --normalization imagenet, 0..1, -1..1 or MEAN/STD",
        )
    path = folder / f"{file_stem(base_name, member.name)}{WEIGHTS.endings[0]}"
    check_output(path, WEIGHTS)
    check_output(path.with_suffix(NETWORK.endings[0]), NETWORK)
    # Training may have changed the weights of such a file.
    if path.exists():
        raise NasError(f"file {path} exists; weights are not overwritten", "choose another folder with --save")
    return path


def grow_weights(member: "Scaled", inheritance: Inheritance, path: Path | None, *, onnx: bool) -> InheritedNetwork:
    """Return a scaled network with inherited weights, and write its files.

    Args:
        member: The scaled network.
        inheritance: What gives it its weights.
        path: Path of the safetensors file; None writes no file.
        onnx: Whether an ONNX file is written as well.

    Raises:
        NasError: The images cannot be read, or a file cannot be written.
    """
    from nas.api.networks import to_onnx
    from nas.api.weights import save_weights
    from nas.files import write_atomically

    found = inheritance.network(member.arch)
    if path is not None:
        save_weights(found.network, path)
        if onnx:
            data: bytes = to_onnx(member.arch, found.network.tensors).SerializeToString()
            write_atomically(path.with_suffix(NETWORK.endings[0]), data)
    return found


def weights_row(found: InheritedNetwork, path: Path | None) -> Mapping[str, Any]:
    """Return what a network inherited, and its accuracy, as JSON values."""
    before = found.accuracy
    return {
        "file": None if path is None else str(path),
        "share": found.share,
        "exact": found.exact,
        "report": found.report.splitlines(),
        "note": found.note or None,
        "before_training": None
        if before is None
        else {
            "images": before.images,
            "source": _accuracy(before.source),
            "network": _accuracy(before.network),
            "difference": before.difference.value,
            "difference_half_width": before.difference.half_width(),
        },
    }


def _accuracy(found: "Estimate") -> dict[str, Any]:
    return {"accuracy": found.value, "interval": interval_row(found)}


def print_weights(name: str, found: InheritedNetwork) -> None:
    """Print what a network inherited, and its accuracy before any further training."""
    from nas.cli.shared.printing import plain

    click.echo(plain(f"{name}:"))
    for line in (*found.report.splitlines(), *_accuracy_lines(found)):
        click.echo(plain(f"  {line}"))


def _accuracy_lines(found: InheritedNetwork) -> list[str]:
    before, notes = found.accuracy, [found.note] if found.note else []
    if before is None:
        return notes
    network, source = (interval_text(interval_row(one), one.value) for one in (before.network, before.source))
    half = 100 * before.difference.half_width()
    return [
        f"The accuracy before any further training is {network} on {before.images:,} validation images; that of the "
        f"source is {source}. The difference is {100 * before.difference.value:+.1f} ± {half:.1f} points (95%).",
        *notes,
    ]
