"""Records of compared networks, of their latencies on a device, and of pairs of them, with their units."""

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from attrs import frozen

from nas.api.latency import Latency

MEASURED, COUNTED = "measured", "counted"
ARCHITECTURE, GRAPH, LIBRARY = "architecture", "ONNX graph", "library"


@frozen
class PublishedAccuracy:
    """Hold an accuracy that somebody else has published; it is never compared with measured ones.

    Attributes:
        top1: Share of the validation images of ImageNet whose class is predicted.
        source: Where it was published.
    """

    top1: float
    source: str


@frozen
class MeasuredAccuracy:
    """Hold the accuracy that one file of a network reached on the images of the comparison.

    Attributes:
        precision: Precision of the file.
        value: Share of correctly classified images.
        low: Lower end of its 95% interval (Wilson).
        high: Upper end of its 95% interval.
        images: Number of images.
    """

    precision: str
    value: float
    low: float
    high: float
    images: int


@frozen
class ComparedNetwork:
    """Hold what is known about a network on every device.

    Attributes:
        name: Name for tables; no two networks of a comparison have the same.
        reference: How the network was named.
        origin: Kind of the network: "architecture", "checkpoint", "export", "ONNX file", "zoo", "timm", "torchvision",
            or "network" for a value of the Python API.
        resolution: Height and width of its images in pixels.
        channels: Number of channels of its images.
        classes: Number of classes.
        macs: Multiply-adds for one image; None where an operator of its graph cannot be counted.
        params: Number of parameters; None where they are unknown.
        counted_from: What was counted: "architecture", "ONNX graph", or "library" for parameters of the library's
            module and multiply-adds of its graph.
        uncounted: Operators that cannot be counted.
        size_bytes: Size of the ONNX file of each precision.
        int8: How the int8 file was made; "" without one.
        is_trained: Whether its weights are trained, as far as that is known.
        accuracies: Accuracies that were measured on the images of the comparison.
        published: Published accuracy, or None.
        year: Year of publication, or None.
        title: Name with the variant that it is; "" where the name says it.
        notes: Sentences about the network.
    """

    name: str
    reference: str
    origin: str
    resolution: tuple[int, int]
    channels: int
    classes: int
    macs: int | None
    params: int | None
    counted_from: str
    uncounted: tuple[str, ...] = ()
    size_bytes: Mapping[str, int] = MappingProxyType({})
    int8: str = ""
    is_trained: bool = False
    accuracies: tuple[MeasuredAccuracy, ...] = ()
    published: PublishedAccuracy | None = None
    year: int | None = None
    title: str = ""
    notes: tuple[str, ...] = ()

    def published_of(self, precision: str) -> PublishedAccuracy | None:
        """Return the published accuracy, which is not that of an int8 file."""
        return None if precision == "int8" else self.published

    def accuracy(self, precision: str) -> MeasuredAccuracy | None:
        """Return the accuracy of the file of a precision, or None if it was not measured."""
        return next((each for each in self.accuracies if each.precision == precision), None)


@frozen
class DeviceLatency(Latency):
    """Hold the latency and the peak memory of one file of a network on a device; see also `Latency`.

    Attributes:
        name: Name of the network.
        precision: Precision of the file.
        low_ms: Lower end of the 95% interval of `latency_ms`.
        high_ms: Upper end of the interval.
        peak_bytes: Peak memory in bytes; None if it is unknown.
        peak_source: "measured" for the growth of the memory of a fresh process that loads the file and runs one batch;
            "counted" for weights and activations that are in memory at the same time.
    """

    name: str
    precision: str
    low_ms: float
    high_ms: float
    peak_bytes: int | None
    peak_source: str


@frozen
class LatencyPair:
    """Hold the ratio of the latencies of two files; all intervals of a device hold together (95%, Bonferroni's bound).

    Attributes:
        first: Name of the one network.
        second: Name of the other network.
        first_precision: Precision of the one file.
        second_precision: Precision of the other file.
        ratio: Latency of the first divided by that of the second.
        low: Lower end of the interval of `ratio`.
        high: Upper end of the interval.
        paired: Whether both ran in the same rounds; otherwise both are compared through the reference network.
    """

    first: str
    second: str
    first_precision: str
    second_precision: str
    ratio: float
    low: float
    high: float
    paired: bool

    @property
    def is_clear(self) -> bool:
        """Return whether the two can be told apart."""
        return not self.low <= 1 <= self.high


@frozen
class AccuracyPair:
    """Hold the difference of two accuracies on the same images; all intervals hold together (95%, Bonferroni's bound).

    Attributes:
        first: Name of the one network.
        second: Name of the other network.
        first_precision: Precision of the one file.
        second_precision: Precision of the other file.
        difference: Accuracy of the first minus that of the second.
        low: Lower end of the interval of `difference`.
        high: Upper end of the interval.
    """

    first: str
    second: str
    first_precision: str
    second_precision: str
    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Return whether the two can be told apart."""
        return not self.low <= 0 <= self.high


@frozen
class Refusal:
    """State why a file of a network was not measured on a device.

    Attributes:
        name: Name of the network.
        precision: Precision of the file.
        problem: Sentence with the reason.
    """

    name: str
    precision: str
    problem: str


@frozen
class DeviceComparison:
    """Hold the latencies of all networks on one device, and where and how they were measured.

    Attributes:
        device: Device with all its settings.
        place: Machine that has the device; "" for this machine.
        provider: Execution provider of ONNX Runtime.
        threads: Number of threads.
        batch: Number of images in a batch.
        cpu: Name of the CPU.
        accelerator: Name of the accelerator; "" if there is none.
        system: Operating system.
        runtime: Version of ONNX Runtime.
        noise: Half the distance of the quartiles of the reference's times, as a share of their median.
        noisy: Whether other work disturbed the machine.
        rounds: Number of rounds of each group.
        groups: Number of groups of networks whose memory fits together; one where all took turns with all others.
        latencies: Latency of each file that was measured.
        pairs: Comparisons of two latencies.
        refusals: Files that were not measured, with the reason.
    """

    device: str
    place: str
    provider: str
    threads: int
    batch: int
    cpu: str
    accelerator: str
    system: str
    runtime: str
    noise: float
    noisy: bool
    rounds: tuple[int, ...]
    groups: int
    latencies: tuple[DeviceLatency, ...]
    pairs: tuple[LatencyPair, ...]
    refusals: tuple[Refusal, ...] = ()

    @property
    def short(self) -> str:
        """Return the device with its machine, for tables."""
        name = self.device.replace(",precision=fp32", "")
        return f"{self.place}?{name}" if self.place else name

    def latency(self, name: str, precision: str) -> DeviceLatency | None:
        """Return the latency of a file of a network, or None if it was not measured."""
        return next((each for each in self.latencies if (each.name, each.precision) == (name, precision)), None)


def alike(device: DeviceComparison, precision: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each network with the slower ones from which its latency cannot be told apart, from fast to slow."""
    order = sorted((each for each in device.latencies if each.precision == precision), key=lambda each: each.latency_ms)
    unclear = {
        frozenset((pair.first, pair.second))
        for pair in device.pairs
        if pair.first_precision == pair.second_precision == precision and not pair.is_clear
    }
    others: dict[str, list[str]] = {each.name: [] for each in order}
    for one, other in itertools.combinations([each.name for each in order], 2):
        if frozenset((one, other)) in unclear:
            others[one].append(other)
    yield from ((name, tuple(found)) for name, found in others.items() if found)
