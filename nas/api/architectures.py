"""Architectures by the references that users write, as files, and as summaries for people."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from nas.api.arguments import check_arguments
from nas.arch.code import format_json, format_part, format_text, parse_json, parse_text
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture
from nas.errors import ArchitectureError, StudyError
from nas.files import read_text
from nas.output_kinds import ARCHITECTURE, DRAWING, WEIGHTS, write_output
from nas.studies.defaults import DEFAULT_STORAGE
from nas.weights.checkpoints import ARCHITECTURE_FILE, is_checkpoint_folder

if TYPE_CHECKING:
    from nas.studies.records import Record, StudyView

__all__ = [
    "Architecture",
    "ArchitectureSummary",
    "StageSummary",
    "check_architecture",
    "find_architecture",
    "find_record",
    "latest_winner",
    "load_architecture",
    "save_architecture",
    "summarize",
]

MOST_BYTES = 2_000_000
STUDY = "study:"  # the beginning of a reference to a network of a study
# The name of a study may contain colons.
_WHICH = re.compile(r":(best|trial=[^:]*|pareto=[^:]*)?$")


@check_arguments
def load_architecture(reference: str | Path, *, storage: str = DEFAULT_STORAGE) -> Architecture:
    """Load an architecture: a preset, a file, or a network of a study.

    Args:
        reference: Name of a preset ("efficientnet-b0"), path of a text or JSON file, of a .safetensors file or of a
            folder that `nas.train` wrote, or "study:NAME" followed by ":best" (which may be left out), ":trial=17" or
            ":pareto=2" (counted from 1 by increasing cost).
        storage: Optuna URL of the database that holds the study.

    Returns:
        The architecture: a frozen value that can be compared and hashed. Its input has the shape
        `(N, in_channels, resolution, resolution)` and its output the shape `(N, classes)`.

    Raises:
        ArchitectureError: There is no such preset or file, or the file is not an architecture.
        StudyError: There is no such study or trial.

    >>> import nas
    >>> arch = nas.load_architecture("efficientnet-b0")
    >>> arch.resolution, arch.classes, len(arch.stages)
    (224, 1000, 7)
    """
    return find_architecture(str(reference), storage)[1]


@check_arguments
def save_architecture(arch: Architecture, path: str | Path) -> None:
    """Save an architecture as a file that `load_architecture` and every command read.

    Args:
        arch: The architecture.
        path: Path of the file. A name that ends in ".txt" takes the text form with one stage in each line, a name
            that ends in ".json" the JSON form.

    Raises:
        ArchitectureError: The name of the file has another ending, or an existing file is no architecture.
        NasError: The file cannot be written.

    >>> import nas
    >>> nas.save_architecture(nas.load_architecture("mnasnet-a1"), "a1.txt")
    >>> nas.load_architecture("a1.txt") == nas.load_architecture("mnasnet-a1")
    True
    """
    file = Path(path)
    check_architecture(arch)
    text = format_json(arch) if file.suffix.lower() == ".json" else format_text(arch)
    write_output(file, f"{text}\n".encode(), ARCHITECTURE)


def save_diagram(arch: Architecture, path: Path, name: str) -> None:
    """Write the diagram of an architecture as an SVG file.

    Args:
        arch: The architecture.
        path: Path of the file.
        name: Name of the network for its title.

    Raises:
        NasError: The file cannot be written.
    """
    from nas.report.diagram_svg import diagram_svg

    write_output(path, f"{diagram_svg(arch, name)}\n".encode(), DRAWING)


def check_architecture(arch: Architecture) -> None:
    """Check that a function of the public API was given an architecture and not, for example, a name.

    Raises:
        ArchitectureError: It is something else.
    """
    if not isinstance(arch, Architecture):
        raise ArchitectureError(f"{arch!r} is not an Architecture", "get one with nas.load_architecture")


def find_architecture(reference: str, storage: str) -> tuple[str, Architecture]:
    """Return the name and the architecture of a preset, a file, a folder of a training run, or `study:NAME:which`.

    Raises:
        NasError: There is no such architecture, or it breaks a rule.
    """
    if reference.startswith(STUDY):
        return reference, find_record(reference, storage)[1].architecture
    if reference in preset_names():
        return reference, preset(reference)
    path = Path(reference)
    if is_checkpoint_folder(path):
        return path.absolute().name, _from_file(path / ARCHITECTURE_FILE)
    if os.path.isdir(reference):  # noqa: PTH112 -- Path.is_dir raises an error for a name that is too long
        raise ArchitectureError(
            f"{reference!r} is a folder, and not one that `nas train` wrote",
            "give a folder of `nas train`, or a file in the folder, such as the model.onnx of an export",
        )
    if not _is_there(path):
        raise ArchitectureError(
            f"{reference!r} is no preset and no file",
            f"presets are {', '.join(preset_names())}; a study's networks are study:NAME:best and so on",
        )
    if path.suffix.lower() in WEIGHTS.endings:
        # Here and not above, because other files need no torch.
        from nas.api.weights import find_source

        source = find_source(str(path))
        return source.name, source.network.arch
    return path.stem, _from_file(path)


def latest_winner(storage: str) -> str:
    """Return a reference to the best network of the newest study.

    Raises:
        StudyError: There is no study.
    """
    # Here and not above, because presets and files need no Optuna.
    from nas.studies.opening import open_storage
    from nas.studies.study import study_names

    names = study_names(open_storage(storage, create=False))
    if not names:
        raise StudyError("there is no study whose best could be taken", "name an ARCH, or run `nas search` first")
    return f"study:{names[-1]}:best"


def file_stem(*words: str) -> str:
    """Return a name for a file, without its suffix, that is made of a reference to an architecture and other words.

    >>> file_stem("study:demo:best", "phi=1")
    'demo-best-phi=1'
    """
    return re.sub(r"[^\w.+=-]+", "-", "-".join(words).removeprefix("study:")).strip("-.") or "network"


def _is_there(path: Path) -> bool:
    """Return whether a path is a file, or something else that cannot be read as one, such as a pipe."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # The name is too long, or contains a null character.
        return False


def find_record(reference: str, storage: str) -> "tuple[str, Record]":
    """Return the name of a study and its trial, given `study:NAME:which`.

    Raises:
        StudyError: There is no such study or trial.
    """
    view, record = _read_record(reference, storage)
    return view.name, record


def _read_record(reference: str, storage: str) -> "tuple[StudyView, Record]":
    from nas.studies.opening import open_storage
    from nas.studies.records import find_trial
    from nas.studies.study import read_study

    words = reference.removeprefix(STUDY)
    name, _, which = words.rpartition(":") if _WHICH.search(words) else words.partition(":")
    view = read_study(open_storage(storage, create=False), name)
    return view, find_trial(view, which or "best")


@frozen
class StoredCost:
    """Hold a cost that a study holds for a network and that is not counted from its architecture.

    Attributes:
        name: Name of the cost.
        value: Cost in `unit`.
        spread: Standard deviation of the cost; None where it is unknown.
        unit: Unit of the cost.
        function: Function of the user's own that gave the cost, "" for another cost.
    """

    name: str
    value: float
    spread: float | None
    unit: str
    function: str


def stored_costs(reference: str, storage: str) -> list[StoredCost]:
    """Return the measured costs of a study's targets that the study holds for a network; none for another reference.

    Raises:
        StudyError: There is no such study or trial.
    """
    if not reference.startswith(STUDY):
        return []
    view, record = _read_record(reference, storage)
    limits = [limit for limit in view.settings["limits"] if "basis" in limit and limit["cost"] in record.costs]
    return [
        StoredCost(
            name := str(limit["cost"]),
            record.costs[name],
            record.spreads.get(name, 0.0),
            str(limit["unit"]),
            str(limit["basis"].get("function", "")),
        )
        for limit in limits
    ]


def _from_file(path: Path) -> Architecture:
    try:
        text = read_text(path, MOST_BYTES)
    except OSError as error:
        raise ArchitectureError(
            f"{path} cannot be read: {error.strerror or error}", "give a text or JSON file"
        ) from None
    try:
        return parse_json(text) if text.lstrip().startswith("{") else parse_text(text)
    except ArchitectureError as error:
        raise ArchitectureError(f"{path}: {error.problem}", error.remedy) from None


@frozen
class StageSummary:
    """Hold the shapes and costs of a stem, a stage or a head.

    Attributes:
        name: "stem", "stage1" and so on, or "head".
        text: Its line in the text form.
        layers: Number of layers.
        input: Shape `(C, H, W)` of the input.
        output: Shape `(C, H, W)` of the output.
        macs: Multiply-adds for one image.
        params: Number of parameters.
    """

    name: str
    text: str
    layers: int
    input: tuple[int, int, int]
    output: tuple[int, int, int]
    macs: int
    params: int


@frozen
class ArchitectureSummary:
    """Hold the costs of an architecture and of its parts, like table 1 of the EfficientNet paper.

    Attributes:
        architecture: The architecture.
        macs: Multiply-adds for one image.
        params: Number of parameters.
        peak_bytes: Peak memory of the activations in bytes, for one image.
        precision: Precision of the activations that `peak_bytes` refers to.
        stages: Stem, stages and head in order.
    """

    architecture: Architecture
    macs: int
    params: int
    peak_bytes: int
    precision: str
    stages: tuple[StageSummary, ...]


def summarize(arch: Architecture, precision: str = "fp32") -> ArchitectureSummary:
    """Return the costs of an architecture and of its parts.

    Raises:
        TargetError: There is no such precision.
    """
    from nas.cost.analytic import cost, place_costs

    whole = cost(arch)
    stages = []
    for place in place_costs(arch):
        before, after = place.shape, place.cost.shape
        stages.append(
            StageSummary(
                place.name,
                format_part(place.part, arch.stem.activation),
                getattr(place.part, "layers", 1),
                (before.channels, before.height, before.width),
                (after.channels, after.height, after.width),
                place.cost.macs,
                place.cost.params,
            )
        )
    return ArchitectureSummary(arch, whole.macs, whole.params, whole.peak_bytes(precision), precision, tuple(stages))
