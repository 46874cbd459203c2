"""Comparison of networks side by side: what they cost on a device, and their accuracy on the same images."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.comparison_records import ComparedNetwork
from nas.api.comparison_results import Comparison
from nas.api.comparison_text import unseen_sentences
from nas.api.errors import explain_missing
from nas.api.latency import SPREAD, make_aim
from nas.errors import DeviceError, NasError
from nas.studies.defaults import DEFAULT_STORAGE

if TYPE_CHECKING:
    from nas.api.architectures import Architecture
    from nas.api.comparison_accuracy import Predictions
    from nas.api.comparison_entries import Entry
    from nas.device.connection import Connection
    from nas.device.spec import Address
    from nas.weights.base import TrainedNetwork

__all__ = ["Comparison", "ComparisonOptions", "compare"]
Say = Callable[[str], None]
PRECISIONS = ("fp32", "int8")
SPLITS = ("test", "val", "train")
# Seconds of the rounds for each file, and for all files together: the known networks together have 52 files.
SECONDS_OF_FILE, LEAST_SECONDS, MOST_SECONDS = 3.0, 5.0, 90.0


@frozen
class ComparisonOptions:
    """Hold the options of a comparison; see `compare`.

    Attributes:
        devices: Devices as users write them.
        precisions: Precisions of the files.
        data: Source of labeled images; "" for none.
        split: Split of the images.
        seconds: Time limit of the rounds on each device; None for one that fits the number of files.
        spread: Standard error at which the rounds end, as a share of the latency.
        storage: Optuna URL of the database in which studies are looked up.
        resolution: Height and width of the images of architectures; None for their own.
        classes: Number of classes of architectures; None for their own.
    """

    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = PRECISIONS
    data: str = ""
    split: str = SPLITS[0]
    seconds: float | None = None
    spread: float = SPREAD
    storage: str = DEFAULT_STORAGE
    resolution: int | None = None
    classes: int | None = None


@check_arguments
@explain_missing()
def compare(
    networks: "str | Path | Architecture | TrainedNetwork | Sequence[str | Path | Architecture | TrainedNetwork]",
    *,
    device: str | Sequence[str] = "cpu",
    precision: str | Sequence[str] = PRECISIONS,
    data: str | Path | None = None,
    split: str = SPLITS[0],
    zoo: bool = False,
    seconds: float | None = None,
    spread: float = SPREAD,
    storage: str = DEFAULT_STORAGE,
    resolution: int | None = None,
    classes: int | None = None,
) -> Comparison:
    """Compare networks side by side on a device.

    All files of all networks take turns with each other and with a reference network. Networks without trained weights
    have random ones, which does not change what they cost.

    Args:
        networks: One or more of: a reference as `nas.load_architecture` takes it, a checkpoint, the path of an ONNX
            file, the folder of `nas.export_model`, "zoo:NAME" for a known network, "timm:NAME" or "torchvision:NAME"
            for a network of an installed library, an Architecture, or a TrainedNetwork.
        device: Device, or several that are compared one after the other, for example "cpu:threads=2" or
            "ssh://me@board".
        precision: "fp32", "int8", or both.
        data: Source of labeled images on which the accuracy of trained networks is measured; None measures none.
        split: Split of the images: "test", "val" or "train".
        zoo: Whether to compare all known networks too.
        seconds: Time limit in seconds of the rounds on each device, beyond a few rounds that are always run; None
            takes 3 s for each file, from 5 to 90 s.
        spread: Standard error at which the rounds end, as a share of the latency.
        storage: Optuna URL of the database that holds studies.
        resolution: Height and width of the images of architectures; None for their own.
        classes: Number of classes of architectures; None for their own.

    Returns:
        What every network costs, and which latencies and accuracies can be told apart.

    Raises:
        NasError: There is no such network or device, or an argument cannot be used.
        DeviceError: The device cannot be reached, or runs none of the networks.
        DataError: The images cannot be read.
        MissingPackageError: A package that is needed is not installed.

    >>> import nas
    >>> small = nas.load_architecture("mnasnet-small").adapted(resolution=32, classes=10)
    >>> found = nas.compare([small, "mobilenetv3-small"], seconds=0.5, precision="fp32")
    >>> [row["macs"] for row in found.rows()] == [nas.cost(small).macs, 56510400]
    True
    """
    several = isinstance(networks, Sequence) and not isinstance(networks, str)
    options = ComparisonOptions(
        devices=(device,) if isinstance(device, str) else tuple(device),
        precisions=(precision,) if isinstance(precision, str) else tuple(precision),
        data="" if data is None else str(data),
        split=split,
        seconds=seconds,
        spread=spread,
        storage=storage,
        resolution=resolution,
        classes=classes,
    )
    return compare_networks(list(networks) if several else [networks], options, zoo=zoo)  # type: ignore[arg-type, list-item]


@explain_missing()
def compare_networks(
    given: "Sequence[str | Path | Architecture | TrainedNetwork]",
    options: ComparisonOptions,
    *,
    zoo: bool = False,
    say: Say = lambda _message: None,
) -> Comparison:
    """Compare networks; see `compare`.

    Args:
        given: The networks.
        options: Options of the comparison.
        zoo: Whether to compare all known networks too.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: As `compare` raises it.
    """
    from nas.api.comparison_device import check_batch
    from nas.api.comparison_entries import Spool
    from nas.api.comparison_makers import NetworkOptions, zoo_references
    from nas.api.comparison_networks import find_entries
    from nas.device.connection import Connection

    addresses = _addresses(options)
    _check(options)
    wanted = [*given, *(each for each in (zoo_references() if zoo else ()) if each not in set(map(str, given)))]
    if not wanted:
        raise NasError("no network is given, and a comparison needs one", "name a network, or compare the zoo")
    batch = check_batch([each.device.batch for each in addresses])
    with closing(Spool()) as spool, ExitStack() as stack:
        connections = [stack.enter_context(Connection(each)) for each in addresses]
        for connection in connections:
            _ = connection.machine  # A device that cannot be reached is an error before minutes of work.
        found = NetworkOptions(options.precisions, batch, options.storage, options.resolution, options.classes)
        return _compare(find_entries(wanted, found, spool, say), connections, options, say)


def _addresses(options: ComparisonOptions) -> "list[Address]":
    from nas.device.spec import parse_address

    addresses = [parse_address(text) for text in options.devices]
    if not addresses:
        raise DeviceError("no device is given, and a comparison needs one", "give one such as cpu")
    if twice := next((each.short for each in addresses if addresses.count(each) > 1), None):
        raise DeviceError(f"the device {twice} is given twice", "give each device once")
    if quantized := next((each.short for each in addresses if each.device.precision != PRECISIONS[0]), None):
        raise DeviceError(
            f"the device {quantized} has a precision, and a comparison has the precisions of --precision",
            "leave it out of the device, and give --precision int8 to compare int8 alone",
        )
    return addresses


def _check(options: ComparisonOptions) -> None:
    unknown = next((each for each in options.precisions if each not in PRECISIONS), None)
    if unknown is not None or not options.precisions:
        raise NasError(f"the precision is {unknown!r:.80}", f"use {' or '.join(PRECISIONS)}")
    if options.split not in SPLITS:
        raise NasError(f"the split is {options.split!r:.80}; it must be test, val or train", "use test")
    make_aim(options.spread, LEAST_SECONDS if options.seconds is None else options.seconds)


def _compare(
    entries: "list[Entry]", connections: "Sequence[Connection]", options: ComparisonOptions, say: Say
) -> Comparison:
    from nas.api.comparison_device import compare_on

    predictions = _predictions(entries, connections[0], options, say)
    files = sum(len(each.files) for each in entries)
    seconds = min(MOST_SECONDS, max(LEAST_SECONDS, SECONDS_OF_FILE * files))
    aim = make_aim(options.spread, seconds if options.seconds is None else options.seconds)
    devices = tuple(compare_on(connection, entries, aim, say) for connection in connections)
    networks = tuple(_network(each, predictions) for each in entries)
    return Comparison(
        networks,
        devices,
        accuracy_pairs=tuple(predictions.pairs()) if predictions else (),
        data=options.data,
        split=options.split if options.data else "",
        accuracy_device=connections[0].address.short if options.data else "",
        notes=(*_notes(networks), *(predictions.notes if predictions else ())),
    )


def _predictions(
    entries: "Sequence[Entry]", connection: "Connection", options: ComparisonOptions, say: Say
) -> "Predictions | None":
    if not options.data:
        return None
    from nas.api.comparison_accuracy import predict_all  # It imports torch.

    return predict_all(connection, entries, options.data, options.split, say)


def _network(entry: "Entry", predictions: "Predictions | None") -> ComparedNetwork:
    if predictions is None:
        return entry.network
    name = entry.network.name
    problem = predictions.problems.get(name)
    notes = (f"its accuracy was not measured: {problem}",) if problem else ()
    return attrs.evolve(entry.network, accuracies=predictions.accuracies(name), notes=(*entry.network.notes, *notes))


def _notes(networks: Sequence[ComparedNetwork]) -> list[str]:
    """Return sentences about what the reader of the table must know."""
    notes = []
    if len({each.resolution for each in networks}) > 1:
        notes.append("The networks take images of different sizes; each has the latency and MACs of its own size.")
    if len({each.classes for each in networks}) > 1:
        notes.append("The networks have different numbers of classes, which changes the size of their last layers.")
    if any(not each.is_trained and each.origin != "ONNX file" for each in networks):
        notes.append("Networks without trained weights have random ones, which does not change what they cost.")
    if any(each.int8.startswith("quantized") for each in networks):
        notes.append(
            "Files of int8 that were made here were quantized with random inputs, which gives their latency and not "
            "their accuracy."
        )
    if any(each.published for each in networks):
        notes.append("Published accuracies are those of their sources on ImageNet; none of them was measured here.")
    notes += unseen_sentences(networks)
    if len(networks) == 1:
        notes.append("There is one network, so nothing is compared.")
    return notes
