"""A comparison as a table of texts and as sentences, for the terminal and for pages."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import Factory, field, frozen

from nas.api.comparison_records import (
    COUNTED,
    ComparedNetwork,
    DeviceComparison,
    DeviceLatency,
    MeasuredAccuracy,
    alike,
)
from nas.api.comparison_results import Comparison, per

UNKNOWN = "-"
_MOST_NAMES = 8  # in a sentence; the table has all
_MOST_PAIRS = 12  # sentences about accuracies; the JSON has all


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits at least, "-" if it is unknown.

    >>> number(1234.5), number(12.345), number(9.7), number(0.012345), number(None)
    ('1,234', '12.3', '9.70', '0.0123', '-')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    whole = len(f"{int(abs(value))}") if abs(value) >= 1 else 0
    return f"{value:,.{max(0, digits - whole)}f}" if abs(value) >= 0.1 else f"{value:.{digits}g}"


def millions(value: float | None) -> str:
    """Return a number in millions."""
    return UNKNOWN if value is None else f"{value / 1e6:,.2f}"


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return UNKNOWN if value is None else f"{100 * value:.1f}"


_Cell = Callable[[ComparedNetwork, str, DeviceLatency | None, MeasuredAccuracy | None], str]


def _memory(_network: object, _precision: str, latency: DeviceLatency | None, _accuracy: object) -> str:
    if latency is None or latency.peak_bytes is None:
        return UNKNOWN
    return f"{'~' if latency.peak_source == COUNTED else ''}{latency.peak_bytes / 1e6:,.1f}"


def _interval(_network: object, _precision: str, latency: DeviceLatency | None, _accuracy: object) -> str:
    return UNKNOWN if latency is None else f"{number(latency.low_ms)} to {number(latency.high_ms)}"


def _accuracy(_network: object, _precision: str, _latency: object, accuracy: MeasuredAccuracy | None) -> str:
    if accuracy is None:
        return UNKNOWN
    return f"{percent(accuracy.value)} ({percent(accuracy.low)} to {percent(accuracy.high)})"


def _milliseconds(latency: DeviceLatency | None) -> float | None:
    return None if latency is None else latency.latency_ms


def _points(accuracy: MeasuredAccuracy | None) -> float | None:
    return None if accuracy is None else 100 * accuracy.value


def _top1(network: ComparedNetwork, precision: str) -> float | None:
    published = network.published_of(precision)
    return 100 * published.top1 if published else None


def _gmacs(network: ComparedNetwork) -> float | None:
    return None if network.macs is None else network.macs / 1e9


@frozen
class Column:
    """Represent a column of the table of a comparison.

    Attributes:
        title: Title of the column alone.
        cell: Function that returns the text of a cell.
        group: Heading over this column and its neighbors on a page; "" without one.
        short: Title under that heading.
        is_printed: Whether a terminal shows it too.
    """

    title: str
    cell: _Cell
    group: str = ""
    short: str = field(default=Factory(lambda self: self.title, takes_self=True))
    is_printed: bool = True


_COUNTED, _MEMORY, _LATENCY = "Counted (millions)", "Memory (MB)", "Latency (ms)"
_ACCURACY, _PUBLISHED = "Accuracy here (%)", "Published top-1 (%)"
# Columns without a value in any row are left out. Accuracies are in percent, and so are those for each GMAC and ms.
COLUMNS = (
    Column("network", lambda network, *_: network.name),
    Column("precision", lambda _network, precision, *_: precision),
    Column("pixels", lambda network, *_: " x ".join(map(str, dict.fromkeys(network.resolution)))),
    Column("MACs (M)", lambda network, *_: millions(network.macs), _COUNTED, "MACs"),
    Column("params (M)", lambda network, *_: millions(network.params), _COUNTED, "params"),
    Column("file (MB)", lambda network, precision, *_: f"{network.size_bytes[precision] / 1e6:,.1f}", _MEMORY, "file"),
    Column("peak (MB)", _memory, _MEMORY, "peak"),
    Column(
        "latency (ms)", lambda _network, _precision, latency, _: number(_milliseconds(latency)), _LATENCY, "estimate"
    ),
    Column("95% interval", _interval, _LATENCY),
    Column("median", lambda _network, _precision, latency, _: number(latency.median_ms if latency else None), _LATENCY),
    Column("p95", lambda _network, _precision, latency, _: number(latency.p95_ms if latency else None), _LATENCY),
    Column("accuracy (%)", _accuracy, _ACCURACY, "accuracy"),
    Column(
        "per GMAC",
        lambda network, _precision, _latency, accuracy: number(per(_points(accuracy), _gmacs(network))),
        _ACCURACY,
    ),
    Column(
        "per ms",
        lambda _network, _precision, latency, accuracy: number(per(_points(accuracy), _milliseconds(latency))),
        _ACCURACY,
    ),
    Column(
        "published top-1 (%)", lambda network, precision, *_: number(_top1(network, precision)), _PUBLISHED, "top-1"
    ),
    Column(
        "published per GMAC",
        lambda network, precision, *_: number(per(_top1(network, precision), _gmacs(network))),
        _PUBLISHED,
        "per GMAC",
        is_printed=False,
    ),
    Column(
        "published per ms",
        lambda network, precision, latency, _: number(per(_top1(network, precision), _milliseconds(latency))),
        _PUBLISHED,
        "per ms",
        is_printed=False,
    ),
)
PRINTED = tuple(column for column in COLUMNS if column.is_printed)


def ordered(found: Comparison, device: DeviceComparison) -> list[tuple[ComparedNetwork, str]]:
    """Return each file with its network, the fastest networks first, and those that were not measured last."""

    def speed(network: ComparedNetwork) -> float:
        known = [each for each in (device.latency(network.name, name) for name in network.size_bytes) if each]
        return known[0].latency_ms if known else float("inf")

    return [(network, name) for network in sorted(found.networks, key=speed) for name in network.size_bytes]


def table(
    found: Comparison, device: DeviceComparison, columns: Sequence[Column] = COLUMNS
) -> tuple[list[Column], list[list[str]]]:
    """Return the columns that have a value in some row, and the rows of the table of a device."""
    rows = [
        [
            column.cell(network, precision, device.latency(network.name, precision), network.accuracy(precision))
            for column in columns
        ]
        for network, precision in ordered(found, device)
    ]
    kept = [at for at in range(len(columns)) if any(row[at] != UNKNOWN for row in rows)]
    return [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]


def device_sentence(device: DeviceComparison) -> str:
    """Return a sentence about where and how the latencies were measured."""
    machine = ", ".join(filter(None, (device.cpu, device.accelerator, device.system)))
    rounds = " and ".join(f"{count:,}" for count in device.rounds)
    text = (
        f"{device.short} on {machine}, ONNX Runtime {device.runtime}: latency of a batch of {device.batch}, "
        f"in {rounds} rounds in which all files took turns."
    )
    if device.groups > 1:
        text += (
            f" Their memory did not fit together, so they took turns in {device.groups} groups, and those of "
            "different groups are compared through the reference network."
        )
    if device.noisy:
        text += (
            f" The machine is noisy: the reference's times spread by {device.noise:.0%}. Stop other work on it, or "
            "give --seconds more."
        )
    if any(each.peak_source == COUNTED for each in device.latencies):
        text += " Peak memory marked with ~ is counted, from weights and activations; this system does not measure it."
    else:
        text += " Peak memory is measured: the growth of a fresh process that loads the file and runs one batch."
    return text


def alike_sentences(device: DeviceComparison) -> Iterator[str]:
    """Yield sentences about the latencies that cannot be told apart; the first one of each precision says why."""
    for precision in dict.fromkeys(each.precision for each in device.latencies):
        count = sum(each.precision == precision for each in device.latencies)
        if count < 2:
            continue
        found = list(alike(device, precision))
        together = _together(len(device.pairs))
        if not found:
            yield f"All latencies in {precision} can be told apart ({together})."
        reason = f": the interval of the ratio, measured round by round, includes 1 ({together})"
        for name, others in found:
            yield f"In {precision}, the latency of {name} cannot be told apart from that of {_listed(others)}{reason}."
            reason = ""
        if found and sum(len(others) for _, others in found) < count * (count - 1) / 2:
            yield f"All other latencies in {precision} can be told apart ({together})."


def _together(pairs: int) -> str:
    return "95%" if pairs == 1 else f"95% for all {pairs:,} comparisons of the device together"


def accuracy_sentences(found: Comparison) -> Iterator[str]:
    """Yield sentences about who measured the accuracies, and which of them cannot be told apart."""
    images = next((each.images for network in found.networks for each in network.accuracies), None)
    if images is None:
        return
    yield (
        f"Accuracies were measured here, on the same {images:,} images of the {found.split} split of {found.data}, on "
        f"{found.accuracy_device}; intervals are 95% (Wilson)."
    )
    unclear = [pair for pair in found.accuracy_pairs if not pair.is_clear]
    for pair in unclear[:_MOST_PAIRS]:
        names = [
            f"{name} ({precision})"
            for name, precision in ((pair.first, pair.first_precision), (pair.second, pair.second_precision))
        ]
        yield f"The accuracies of {names[0]} and {names[1]} cannot be told apart: {_difference(pair)}."
    if len(unclear) > _MOST_PAIRS:
        yield f"So are {len(unclear) - _MOST_PAIRS:,} further pairs, which --json lists."
    for pair in [each for each in found.accuracy_pairs if each.is_clear][:_MOST_PAIRS]:
        yield f"{pair.first} ({pair.first_precision}) and {pair.second} ({pair.second_precision}): {_difference(pair)}."


def unseen_sentences(networks: Sequence[ComparedNetwork]) -> Iterator[str]:
    """Yield sentences about networks that a figure of accuracies leaves out, because theirs are unknown."""
    for known, what in (
        ([bool(each.accuracies) for each in networks], "measured"),
        ([each.published is not None for each in networks], "published"),
    ):
        missing = [each.name for each, is_known in zip(networks, known, strict=True) if not is_known]
        if missing and any(known):
            names = (
                missing
                if len(missing) <= _MOST_NAMES
                else [*missing[:_MOST_NAMES], f"{len(missing) - _MOST_NAMES} others"]
            )
            yield f"The figures of {what} accuracy do not have {_listed(names)}, whose {what} accuracy is unknown."


def _difference(pair: Any) -> str:
    return f"{100 * pair.difference:+.1f} points ({100 * pair.low:+.1f} to {100 * pair.high:+.1f})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
