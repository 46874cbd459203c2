"""The weights that scaled networks inherit: their files, and their accuracy before any further training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from nas.api.architectures import file_stem
from nas.api.inheritance import Inheritance, InheritedNetwork
from nas.cli.scale.options import ScaleOptions
from nas.cli.shared.printing import say
from nas.cli.shared.validation import interval_row, interval_text
from nas.errors import NasError, WeightsError
from nas.output_kinds import NETWORK, WEIGHTS, check_output

if TYPE_CHECKING:
    from nas.noise import Estimate
    from nas.scaling.grow import Scaled
    from nas.weights.base import TrainedNetwork


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


@frozen
class GrownWeights:
    """Hold what a scaled network inherited, without its weights.

    Attributes:
        row: What it inherited, and its accuracy, as JSON values.
        lines: The same as lines for people.
        files: Paths of the files that were written.
    """

    row: Mapping[str, Any]
    lines: tuple[str, ...]
    files: tuple[Path, ...]


def grow_weights(
    members: "Sequence[Scaled]", paths: Sequence[Path | None], inheritance: Inheritance, options: ScaleOptions
) -> list[GrownWeights]:
    """Let scaled networks inherit weights one after the other, and write their files.

    Args:
        members: The scaled networks.
        paths: Path of the safetensors file of each; None writes no file.
        inheritance: What gives them their weights.
        options: Options of the command.

    Raises:
        NasError: The images cannot be read, or a file cannot be written.
    """
    grown = []
    for member, path in zip(members, paths, strict=True):
        if inheritance.training is not None:
            say(f"{member.name}: reading images of {inheritance.training.data} at {member.arch.resolution} px")
        found = inheritance.network(member.arch)
        files = () if path is None else _write(found.network, path, onnx=options.onnx)
        lines = (f"{member.name}:", *(f"  {line}" for line in (*found.report.splitlines(), *_accuracy_lines(found))))
        grown.append(GrownWeights(_row(found, files), lines, files))
    return grown


def _write(network: "TrainedNetwork", path: Path, *, onnx: bool) -> tuple[Path, ...]:
    from nas.api.networks import to_onnx
    from nas.api.weights import save_weights
    from nas.files import write_atomically

    save_weights(network, path)
    if not onnx:
        return (path,)
    graph = path.with_suffix(NETWORK.endings[0])
    data: bytes = to_onnx(network.arch, network.tensors).SerializeToString()
    write_atomically(graph, data)
    return path, graph


def _row(found: InheritedNetwork, files: Sequence[Path]) -> Mapping[str, Any]:
    before = found.accuracy
    return {
        "file": str(files[0]) if files else None,
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
