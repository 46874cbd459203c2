"""Networks of a comparison from architectures, checkpoints, exports, ONNX files, the zoo and libraries."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import attrs
from attrs import frozen

from nas.api.architectures import Architecture
from nas.api.candidates import ONNX_ENDING, Candidate, find_candidate, of_network
from nas.api.comparison_entries import FP32, INT8, PRECISIONS, Entry, Spool
from nas.api.comparison_forms import product_form, stated_form, trained_form
from nas.api.comparison_records import ARCHITECTURE, GRAPH, LIBRARY, ComparedNetwork, PublishedAccuracy
from nas.errors import NasError, WeightsError
from nas.weights.checkpoints import METRICS_FILE, is_checkpoint_folder

if TYPE_CHECKING:
    from nas.device.onnx_check import CheckedFile
    from nas.device.onnx_macs import OnnxCost
    from nas.weights.base import TrainedNetwork

Say = Callable[[str], None]
Given = Union[str, Path, Architecture, "TrainedNetwork"]
ZOO, TIMM, TORCHVISION = "zoo", "timm", "torchvision"
OF_EXPORT = "the int8 file of the export"
EXPORT = "export"
_PREFIXES = (ZOO, TIMM, TORCHVISION)


@frozen
class NetworkOptions:
    """Hold what decides which files networks are compared as.

    Attributes:
        precisions: Precisions, of "fp32" and "int8".
        batch: Number of images in a batch.
        storage: Optuna URL of the database in which studies are looked up.
        resolution: Height and width of the images of architectures; None for their own.
        classes: Number of classes of architectures; None for their own.
    """

    precisions: tuple[str, ...] = PRECISIONS
    batch: int = 1
    storage: str = ""
    resolution: int | None = None
    classes: int | None = None


@frozen(eq=False)
class Maker:
    """Turn references into entries.

    Attributes:
        options: Precisions, batch and adaptations.
        spool: Place for the bytes of the files.
        say: Function that is called with sentences.
    """

    options: NetworkOptions
    spool: Spool
    say: Say

    def make(self, given: Given, number: int) -> Entry:
        """Return the entry of a reference or a value."""
        if isinstance(given, Architecture):
            arch = given.adapted(
                resolution=self.options.resolution or given.resolution, classes=self.options.classes or given.classes
            )
            return self._of_candidate(Candidate(f"network {number}", arch), f"network {number}", "network", None)
        if not isinstance(given, str | Path):
            return self._of_value(given, f"network {number}")
        reference = str(given)
        prefix, colon, name = reference.partition(":")
        if colon and prefix in _PREFIXES:
            self._say_fixed(reference)
            return self._of_zoo(name, reference) if prefix == ZOO else self._of_library(prefix, name, reference)
        if _is_product(Path(reference)):
            self._say_fixed(reference)
            return self._of_product(Path(reference))
        if Path(reference).suffix.lower() == ONNX_ENDING:
            return self._of_file(Path(reference), reference)
        return self._of_reference(reference)

    def _say_fixed(self, reference: str) -> None:
        if self.options.resolution or self.options.classes:
            self.say(f"{reference} keeps its own image size and classes")

    def _of_value(self, given: Any, name: str) -> Entry:
        from nas.weights.base import TrainedNetwork  # It imports torch.

        if not isinstance(given, TrainedNetwork):
            raise NasError(f"{given!r:.200} is no network", "give a reference, an Architecture or a TrainedNetwork")
        return self._of_candidate(of_network(given, name), name, "network", given)

    def _of_reference(self, reference: str) -> Entry:
        own = self.options
        found = find_candidate(reference, own.storage, resolution=own.resolution, classes=own.classes, say=self.say)
        if found.weights is None:
            return self._of_candidate(found, reference, "architecture", None)
        from nas.api.weights import find_source

        return self._of_candidate(found, reference, "checkpoint", find_source(reference).network)

    def _of_candidate(self, found: Candidate, reference: str, origin: str, trained: "TrainedNetwork | None") -> Entry:
        from nas.cost import analytic
        from nas.device.onnx_check import check_onnx
        from nas.graph.build import build_graph
        from nas.graph.fragment import whole

        assert found.arch is not None  # noqa: S101 -- files are made elsewhere
        arch = found.arch
        model = build_graph(whole(arch), found.weights, batch=self.options.batch)
        checked = check_onnx(model.SerializeToString(), batch=self.options.batch)
        counted = analytic.cost(arch)
        memory = {name: counted.peak_bytes(name) + int(analytic.size(name).estimate(arch).value) for name in PRECISIONS}
        network = ComparedNetwork(
            found.name, reference, origin, (arch.resolution,) * 2, arch.in_channels, arch.classes,
            counted.macs, counted.params, ARCHITECTURE, is_trained=trained is not None,
        )  # fmt: skip
        entry = self._entry(network, FP32, checked)
        form, why_not = (None, "its weights are random") if trained is None else trained_form(trained)
        return attrs.evolve(
            entry, form=form, why_not=why_not, counted_bytes=memory, judged=(FP32,) if trained is not None else ()
        )

    def _of_file(self, path: Path, reference: str) -> Entry:
        from nas.device.onnx_check import count_onnx, read_onnx_file

        side = self.options.resolution
        data = read_onnx_file(path)
        try:
            checked, cost = count_onnx(data, size=None if side is None else (side, side), batch=self.options.batch)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error.problem}", error.remedy) from None
        self._check_batch(checked, reference)
        size = image_size(checked)
        if self.options.classes not in (None, checked.classes) or side not in (None, size[0]):
            self.say(f"{path} has a size and classes of its own: {size[0]} x {size[1]} pixels, {checked.classes}")
        network = _of_graph(path.name, reference, "ONNX file", checked, cost)
        form, why_not = stated_form(checked)
        entry = self._entry(network, cost.precision, checked)
        return attrs.evolve(entry, form=form, why_not=why_not, judged=(cost.precision,))

    def _check_batch(self, checked: "CheckedFile", reference: str) -> None:
        if checked.batch not in (None, self.options.batch):
            raise WeightsError(
                f"{reference} takes batches of {checked.batch}, and the device has batch={self.options.batch}",
                f"give the device with batch={checked.batch}, or a file whose batch is open",
            )

    def _of_product(self, folder: Path) -> Entry:
        from nas.device.onnx_check import check_onnx
        from nas.export.model_reading import read_model
        from nas.export.product import read_product

        product = read_product(folder)
        files: dict[str, CheckedFile] = {}
        size = (product.resolution, product.resolution)
        for model in product.models:
            file = read_model(product, model, folder)
            if file is not None and model.precision in self.options.precisions:
                files[model.precision] = check_onnx(file.data, size=size, batch=self.options.batch)
        if not files:
            wanted = " or ".join(self.options.precisions)
            raise WeightsError(f"{folder} has no {wanted} ONNX file", "export the network again with --format onnx")
        for checked in files.values():
            self._check_batch(checked, str(folder))
        record = product.models[0]
        network = ComparedNetwork(
            product.name, str(folder), EXPORT, size, product.channels, product.outputs, record.macs, record.params,
            ARCHITECTURE, int8=OF_EXPORT if INT8 in files else "", is_trained=True,
        )  # fmt: skip
        return Entry(network, self._kept(files), product_form(product), "", judged=tuple(files))

    def _of_zoo(self, name: str, reference: str) -> Entry:
        from nas.device.onnx_check import check_onnx
        from nas.zoo.catalog import zoo_network

        found = zoo_network(name)
        checked = check_onnx(found.onnx(batch=self.options.batch).SerializeToString(), batch=self.options.batch)
        size = image_size(checked)
        published = None if found.published_top1 is None else _published(*found.published_top1)
        network = ComparedNetwork(
            found.name, reference, ZOO, size, checked.shape[0], found.classes, found.macs, found.params,
            ARCHITECTURE, published=published, year=found.year, title=found.title,
        )  # fmt: skip
        return self._entry(network, FP32, checked)

    def _of_library(self, library: str, name: str, reference: str) -> Entry:
        from nas.api.errors import explain_missing
        from nas.device.onnx_check import count_onnx

        with explain_missing():
            from nas.export.libraries import library_network

        found = library_network(library, name, batch=self.options.batch)
        checked, cost = count_onnx(found.data, batch=self.options.batch)
        network = _of_graph(found.name, reference, library, checked, cost)
        notes = (f"built by {found.library} with random weights", *network.notes)
        return self._entry(attrs.evolve(network, params=found.params, counted_from=LIBRARY, notes=notes), FP32, checked)

    def _entry(self, network: ComparedNetwork, precision: str, checked: "CheckedFile") -> Entry:
        return Entry(network, self._kept({precision: checked}))

    def _kept(self, files: "Mapping[str, CheckedFile]") -> "Mapping[str, CheckedFile]":
        return {name: attrs.evolve(each, data=self.spool.keep(each.data)) for name, each in files.items()}


def zoo_references() -> list[str]:
    """Return references to all known networks."""
    from nas.zoo.catalog import zoo_names

    return [f"{ZOO}:{name}" for name in zoo_names()]


def _published(percent: float, source: str) -> PublishedAccuracy:
    return PublishedAccuracy(percent / 100, source)


def _is_product(path: Path) -> bool:
    """Return whether a path is the folder of an export; that of a training run has a file of the same name."""
    with suppress(OSError, ValueError):
        return (path / METRICS_FILE).is_file() and not is_checkpoint_folder(path)
    return False


def _of_graph(name: str, reference: str, origin: str, checked: "CheckedFile", cost: "OnnxCost") -> ComparedNetwork:
    """Return what is known about a network of which only the graph is known."""
    from nas.device.onnx_macs import describe_uncounted

    channels = checked.shape[2] if checked.dtype.name == "uint8" else checked.shape[0]
    return ComparedNetwork(
        name, reference, origin, image_size(checked), channels, checked.classes, cost.known_macs, cost.params, GRAPH,
        uncounted=cost.uncounted, notes=(describe_uncounted(cost.uncounted),) if cost.uncounted else (),
    )  # fmt: skip


def image_size(checked: "CheckedFile") -> tuple[int, int]:
    """Return the height and width of the images."""
    first, second, third = checked.shape
    return (first, second) if checked.dtype.name == "uint8" else (second, third)
