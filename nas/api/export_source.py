"""The network that is exported, and the source of its images, from what a user names."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.architectures import STUDY, find_record
from nas.api.export_request import ExportRequest
from nas.errors import WeightsError

if TYPE_CHECKING:
    from nas.weights.base import TrainedNetwork

Say = Callable[[str], None]


@frozen(eq=False)
class NamedNetwork:
    """Hold a trained network with its name.

    Attributes:
        name: Name of the network.
        network: The network; the normalization of its images is known.
        data: Source of the images on which it was trained, as its training run recorded it; "" if it is unknown.
    """

    name: str
    network: "TrainedNetwork"
    data: str = ""


def find_named(checkpoint: "str | TrainedNetwork", request: ExportRequest, say: Say) -> NamedNetwork:
    """Return the network of a checkpoint or of a study.

    Raises:
        NasError: There is no such network, its study kept no weights of it, or the normalization of its images is
            unknown.
    """
    from nas.api.weights import find_source
    from nas.data.names import without_folders
    from nas.device.validation import printable
    from nas.export.graph import known_normalization
    from nas.export.product_json import MOST_NAME

    is_study = isinstance(checkpoint, str) and checkpoint.startswith(STUDY)
    path, data = _of_study(str(checkpoint), request, say) if is_study else (checkpoint, _recorded(checkpoint))
    source = find_source(path)
    known_normalization(source.network)
    # The files of an export are for others, whom the folders of this machine do not concern.
    provenance = {key: without_folders(value) for key, value in source.network.provenance.items()}
    name = printable(str(checkpoint) if is_study else source.name)[:MOST_NAME].strip()
    return NamedNetwork(name, attrs.evolve(source.network, provenance=provenance), data)


def with_resolution(named: NamedNetwork, resolution: int | None) -> NamedNetwork:
    """Return a network for images of another size in pixels; None leaves it as it is."""
    if resolution is None:
        return named
    network = named.network
    arch = network.arch.adapted(resolution=resolution, classes=network.arch.classes)
    return attrs.evolve(named, network=attrs.evolve(network, arch=arch))


def size_note(network: "TrainedNetwork") -> str:
    """Return a sentence about weights that a search fine-tuned on images of another size; "" for all others."""
    pixels, side = network.provenance.get("pixels", ""), network.arch.resolution
    # Weights may come from anywhere, and the text from them with any content.
    if not pixels.isdecimal() or len(pixels) > 5 or pixels == str(side):
        return ""
    return (
        f"The weights are those of a short training run on images of {pixels} x {pixels} pixels, and the network takes "
        f"{side} x {side}, where its accuracy can be far lower: train it fully with `nas train` before the export, or "
        f"export it with --resolution {pixels}."
    )


def _recorded(checkpoint: "str | TrainedNetwork") -> str:
    """Return the source of the images that the folder of a training run names; "" if there is none."""
    from nas.train.full.folder import TrainingFolder
    from nas.weights.checkpoints import find_weights_file, is_checkpoint_folder

    if not isinstance(checkpoint, str):
        return ""
    path = Path(checkpoint)
    folder = path if is_checkpoint_folder(path) else path.parent
    if not is_checkpoint_folder(folder) or path not in (folder, find_weights_file(folder)):
        return ""
    return _text(TrainingFolder(folder).read_metrics().get("data"))


def _of_study(reference: str, request: ExportRequest, say: Say) -> tuple[str, str]:
    """Return the path of the weights that a search kept of a trial, and the source of its images."""
    from nas.api.quiet import quiet_optuna
    from nas.api.search import study_weights_folder
    from nas.search.kept_weights import KeptWeights
    from nas.studies.opening import open_storage
    from nas.studies.study import read_study

    with quiet_optuna():
        study, record = find_record(reference, request.storage)
        settings = read_study(open_storage(request.storage, create=False), study).settings
    folder = study_weights_folder(request.weights_dir, request.storage, study)
    path = KeptWeights(folder, 0, say).file(record)
    if path is None:
        raise WeightsError(
            f"there are no weights of trial {record.number} of study {study} in {folder}; only a network with trained "
            "weights can be exported",
            f"train it with `nas train {reference}`, and export its folder",
        )
    return str(path), _text(settings.get("proxy", {}).get("data"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
