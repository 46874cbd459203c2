"""The networks of a comparison as files: from architectures, checkpoints, exports, ONNX files, zoo and libraries."""

import mmap
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Union, cast

import attrs
from attrs import define, field, frozen

from nas.api.architectures import Architecture
from nas.api.candidates import ONNX_ENDING, Candidate, find_candidate, of_network
from nas.api.comparison_forms import ImageForm, product_form, stated_form, trained_form
from nas.api.comparison_records import ARCHITECTURE, GRAPH, LIBRARY, ComparedNetwork, PublishedAccuracy
from nas.errors import NasError, WeightsError
from nas.weights.checkpoints import METRICS_FILE, is_checkpoint_folder

if TYPE_CHECKING:
    from nas.device.model_file import ModelFile
    from nas.device.onnx_check import CheckedFile
    from nas.device.onnx_macs import OnnxCost
    from nas.weights.base import TrainedNetwork

Say = Callable[[str], None]
Given = Union[str, Path, Architecture, "TrainedNetwork"]
FP32, INT8 = "fp32", "int8"
PRECISIONS = (FP32, INT8)
ZOO, TIMM, TORCHVISION = "zoo", "timm", "torchvision"
RANDOM_RANGES = "quantized with random inputs, which gives its latency and not its accuracy"
OF_EXPORT = "the int8 file of the export"
EXPORT = "export"
MOST_PROCESSES = 4  # that quantize networks at the same time
_PREFIXES = (ZOO, TIMM, TORCHVISION)


@frozen(eq=False)
class Entry:
    """Represent a network of a comparison with its files.

    Attributes:
        network: What is known about it.
        files: Checked ONNX file of each precision.
        form: Form of its images; None where labeled images cannot be given to it.
        why_not: Why labeled images cannot be given to it, as the end of a sentence; "" where they can.
        counted_bytes: Weights and activations in memory at the same time, by precision, as far as they are counted.
        judged: Precisions whose files have trained weights and calibrated ranges, so that their accuracy counts.
    """

    network: ComparedNetwork
    files: "Mapping[str, CheckedFile]" = field(repr=False)
    form: ImageForm | None = None
    why_not: str = "its weights are random"
    counted_bytes: Mapping[str, int] = MappingProxyType({})
    judged: tuple[str, ...] = ()

    def model_file(self, precision: str) -> "ModelFile":
        """Return the file of a precision as it is sent to a device."""
        from nas.device.model_file import ModelFile

        return ModelFile(f"{self.network.name} ({precision})", self.files[precision].data, self.network.resolution)


@define(eq=False)
class Spool:
    """Keep the bytes of files on disk and not in memory: all known networks together have gigabytes.

    The files have no names, so that the operating system frees them however the process ends.
    """

    _files: list[tuple[bytes, IO[bytes]]] = field(factory=list, init=False)

    def keep(self, data: bytes) -> bytes:
        """Return the same bytes, which are read from disk when they are used."""
        with self._writing():
            file = self._new()
            file.write(data)
            file.flush()
            return self._mapped(file)

    def quantized(self, kept: bytes, shape: Sequence[int]) -> bytes:
        """Return the int8 form of a file that is kept here, and keep it too.

        Raises:
            WeightsError: The network cannot be quantized.
        """
        from nas.device.quantize_process import quantize_in_process

        source = next(file for data, file in self._files if data is kept)
        with self._writing():
            target = self._new()
            quantize_in_process(source, shape, target)
            return self._mapped(target)

    def close(self) -> None:
        """Close all files; what still uses them may go on."""
        for _, file in self._files:
            file.close()
        self._files.clear()

    def _new(self) -> IO[bytes]:
        return tempfile.TemporaryFile(prefix="nas-")

    def _mapped(self, file: IO[bytes]) -> bytes:
        data = cast(bytes, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._files.append((data, file))
        return data

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NasError(
                f"there is no room for the files of the networks: {error.strerror or error}",
                "free some space among the temporary files, set TMPDIR to another folder, or compare fewer networks",
            ) from None


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


def find_entries(given: Sequence[Given], options: NetworkOptions, spool: Spool, say: Say) -> list[Entry]:
    """Return the networks that a user names, each once, with names that differ.

    Args:
        given: References as users write them, and values of the Python API.
        options: Precisions, batch and adaptations.
        spool: Place for the bytes of the files.
        say: Function that is called with sentences about the progress and about what does not apply.

    Raises:
        NasError: There is no such network, or a file does not pass the check.
    """
    twice = [each for each, count in Counter(each for each in map(str, _texts(given))).items() if count > 1]
    for name in twice:
        say(f"{name} is given more than once, and is compared once")
    distinct = list({str(each) if isinstance(each, str | Path) else id(each): each for each in given}.values())
    entries = []
    for number, each in enumerate(distinct, 1):
        if len(distinct) > 2:
            say(f"network {number} of {len(distinct)}: {_label(each, number)}")
        entries.append(_Maker(options, spool, say).make(each, number))
    return _distinct_names(_with_precisions(entries, options, spool, say))


def _with_precisions(entries: Sequence[Entry], options: NetworkOptions, spool: Spool, say: Say) -> list[Entry]:
    """Return the entries with an int8 file where one is asked for and can be made, and without fp32 where it is not."""
    if INT8 in options.precisions and (count := sum(FP32 in each.files and INT8 not in each.files for each in entries)):
        say(f"quantizing {count} network{'s' * (count > 1)}")
    with ThreadPoolExecutor(min(MOST_PROCESSES, os.cpu_count() or 1)) as threads:
        return list(threads.map(lambda each: _with_precision(each, options, spool), entries))


def _with_precision(entry: Entry, options: NetworkOptions, spool: Spool) -> Entry:
    made, int8, notes = dict(entry.files), entry.network.int8, list(entry.network.notes)
    if INT8 in options.precisions and FP32 in made and INT8 not in made and entry.network.origin != EXPORT:
        try:
            made[INT8], int8 = _quantized(made[FP32], options.batch, spool), RANDOM_RANGES
        except WeightsError as error:
            notes.append(f"there is no int8 file: {error.problem}")
    if FP32 not in options.precisions:
        made.pop(FP32, None)
    if not made:
        raise WeightsError(
            f"{entry.network.reference} cannot be compared in int8: {notes[-1]}", "compare it with --precision fp32"
        )
    sizes = {name: len(each.data) for name, each in made.items()}
    return attrs.evolve(
        entry, files=made, network=attrs.evolve(entry.network, size_bytes=sizes, int8=int8, notes=tuple(notes))
    )


def _quantized(source: "CheckedFile", batch: int, spool: Spool) -> "CheckedFile":
    from nas.device.onnx_check import check_onnx

    if source.dtype.name == "uint8":
        raise WeightsError(
            "it takes uint8 images, and the operators that prepare them are not quantized", "export it with int8"
        )
    data = spool.quantized(source.data, (batch, *source.shape))
    return attrs.evolve(check_onnx(bytes(data), size=_size(source), batch=batch), data=data)


def _texts(given: Sequence[Given]) -> Iterable[str | Path]:
    return (each for each in given if isinstance(each, str | Path))


def _label(given: Given, number: int) -> str:
    return str(given) if isinstance(given, str | Path) else f"network {number}"


def _distinct_names(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, with the reference as the name of those whose names are equal."""
    counts = Counter(each.network.name for each in entries)
    named = [
        attrs.evolve(each, network=attrs.evolve(each.network, name=each.network.reference))
        if counts[each.network.name] > 1
        else each
        for each in entries
    ]
    if len({each.network.name for each in named}) < len(named):
        raise NasError("two networks have the same name", "rename one of the files, or give it alone")
    return named


@frozen(eq=False)
class _Maker:
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
        size = _size(checked)
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
        size = _size(checked)
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
        name, reference, origin, _size(checked), channels, checked.classes, cost.known_macs, cost.params, GRAPH,
        uncounted=cost.uncounted, notes=(describe_uncounted(cost.uncounted),) if cost.uncounted else (),
    )  # fmt: skip


def _size(checked: "CheckedFile") -> tuple[int, int]:
    """Return the height and width of the images."""
    first, second, third = checked.shape
    return (first, second) if checked.dtype.name == "uint8" else (second, third)
