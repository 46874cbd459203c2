"""Candidates for a measurement on a device: architectures, networks with trained weights, and ONNX files."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from attrs import field, frozen

from nas.api.architectures import Architecture, check_architecture, find_architecture
from nas.api.errors import explain_missing
from nas.errors import MissingPackageError, WeightsError
from nas.output_kinds import WEIGHTS
from nas.weights.checkpoints import is_checkpoint_folder

if TYPE_CHECKING:
    from nas.device.model_file import ModelFile
    from nas.device.onnx_check import CheckedFile
    from nas.device.spec import Device
    from nas.graph.fragment import Fragment
    from nas.graph.weights import Weights
    from nas.weights.base import TrainedNetwork

Say = Callable[[str], None]
ONNX_ENDING = ".onnx"


@frozen(eq=False)
class Candidate:
    """Represent a network that is measured on devices.

    Attributes:
        name: Name for tables.
        arch: The architecture, or None for an ONNX file.
        weights: Trained weights with folded normalizations, or None for random ones.
        file: ONNX file that has passed the check, or None.
    """

    name: str
    arch: Architecture | None = None
    weights: "Weights | None" = field(default=None, repr=False)
    file: "CheckedFile | None" = field(default=None, repr=False)

    def for_device(self, device: "Device") -> "Fragment | ModelFile":
        """Return what is sent to a device: the text of an architecture, or a file where the weights are given."""
        if self.file is not None:
            from nas.device.model_file import ModelFile

            return ModelFile(self.name, self.file.data, self.size)
        assert self.arch is not None  # noqa: S101 -- a candidate has an architecture or a file
        from nas.graph.fragment import whole

        return whole(self.arch) if self.weights is None else _graph(self, self.arch, device)

    @property
    def size(self) -> tuple[int, int]:
        """Return the height and width of the images."""
        if self.file is None:
            assert self.arch is not None  # noqa: S101 -- as above
            return self.arch.resolution, self.arch.resolution
        first, second, third = self.file.shape
        return (first, second) if self.file.dtype.name == "uint8" else (second, third)


def _graph(candidate: Candidate, arch: Architecture, device: "Device") -> "ModelFile":
    from nas.device.model_file import ModelFile
    from nas.graph.build import build_graph
    from nas.graph.fragment import whole

    model = build_graph(whole(arch), candidate.weights, batch=device.batch)
    if device.precision == "int8":
        from nas.device.quantize import quantize

        model = quantize(model)
    return ModelFile(candidate.name, model.SerializeToString())


def find_candidates(
    references: Sequence[str], storage: str, *, resolution: int | None = None, classes: int | None = None, say: Say
) -> list[Candidate]:
    """Return networks as `find_candidate` does; those of equal names are named as the user named them."""
    found = [find_candidate(each, storage, resolution=resolution, classes=classes, say=say) for each in references]
    counts = Counter(each.name for each in found)
    return [
        attrs.evolve(each, name=reference) if counts[each.name] > 1 else each
        for each, reference in zip(found, references, strict=True)
    ]


@explain_missing()
def find_candidate(
    reference: str, storage: str, *, resolution: int | None = None, classes: int | None = None, say: Say
) -> Candidate:
    """Return the network that a user names: an ONNX file, a trained network, or an architecture.

    Args:
        reference: Path of an ONNX file, or a reference as `find_architecture` takes it. A weights file and a folder of
            a training run stand for the network with its trained weights.
        storage: Optuna URL of the database in which studies are looked up.
        resolution: Height and width of the images; by default that of the network.
        classes: Number of classes; by default that of the network.
        say: Function that is called with a sentence where an argument does not apply.

    Raises:
        NasError: There is no such network, or the file does not pass the check.
        MissingPackageError: An ONNX file is named, and ONNX is not installed.
    """
    path = Path(reference)
    if path.suffix.lower() == ONNX_ENDING:
        return _of_file(path, resolution, classes, say)
    if path.suffix.lower() in WEIGHTS.endings or is_checkpoint_folder(path):
        try:
            with explain_missing():
                return _of_trained(reference, resolution, classes, say)
        except MissingPackageError as error:
            say(f"{reference} is measured with random weights: {error.problem}")
    name, arch = find_architecture(reference, storage)
    return Candidate(name, _adapted(arch, resolution, classes))


def _adapted(arch: Architecture, resolution: int | None, classes: int | None) -> Architecture:
    return arch.adapted(resolution=resolution or arch.resolution, classes=classes or arch.classes)


def _of_file(path: Path, resolution: int | None, classes: int | None, say: Say) -> Candidate:
    from nas.device.onnx_check import check_onnx, read_onnx_file

    data = read_onnx_file(path)
    try:
        checked = check_onnx(data, size=None if resolution is None else (resolution, resolution), batch=1)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.problem}", error.remedy) from None
    found = Candidate(path.name, file=checked)
    if classes not in (None, checked.classes) or resolution not in (None, *found.size):
        say(f"{path} has a size and classes of its own: {found.size[0]} x {found.size[1]} pixels, {checked.classes}")
    return found


def _of_trained(reference: str, resolution: int | None, classes: int | None, say: Say) -> Candidate:
    from nas.api.weights import find_source

    source = find_source(reference)
    found = of_network(source.network, Path(reference).absolute().name or source.name)
    assert found.arch is not None  # noqa: S101 -- `of_network` sets it
    adapted = _adapted(found.arch, resolution, classes)
    if adapted.classes != found.arch.classes:
        say(f"{reference} is measured with random weights, because its own are for {found.arch.classes} classes")
        return Candidate(found.name, adapted)
    return attrs.evolve(found, arch=adapted)


def of_network(network: "TrainedNetwork", name: str) -> Candidate:
    """Return a network with its trained weights."""
    from nas.graph.weights import folded_weights

    state = {key: tensor.detach().cpu() for key, tensor in network.tensors.items()}
    return Candidate(name, network.arch, folded_weights(network.arch, state))


def as_candidate(given: "Architecture | TrainedNetwork | str | Path") -> Candidate:
    """Return what a function of the public API was given as a network to measure.

    Raises:
        NasError: It is something else, or a file that does not pass the check.
    """
    if isinstance(given, str | Path) and Path(given).suffix.lower() == ONNX_ENDING:
        return _of_file(Path(given), None, None, lambda _text: None)
    if not isinstance(given, str | Path | Architecture):
        from nas.weights.base import TrainedNetwork  # It imports torch.

        if isinstance(given, TrainedNetwork):
            return of_network(given, "network")
    check_architecture(given)  # type: ignore[arg-type]  # It raises for everything else.
    return Candidate("network", given)  # type: ignore[arg-type]
