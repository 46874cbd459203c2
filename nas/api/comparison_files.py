"""The files of a comparison: a table as CSV, a page, and the figure as a picture or a drawing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import frozen

from nas.api.comparison_records import ComparedNetwork, DeviceComparison
from nas.api.comparison_results import Comparison
from nas.api.comparison_text import (
    accuracy_sentences,
    alike_sentences,
    device_sentence,
    millions,
    number,
    ordered,
    percent,
    table,
)
from nas.errors import NasError
from nas.output_kinds import COMPARISON, PAGE, write_output

if TYPE_CHECKING:
    from nas.report.comparison import ComparedPoint
    from nas.report.comparison_page import DrawnFigure, Heading

_YOURS, _KNOWN = "your networks", "known networks"
_MACS, _LATENCY = "Multiply-adds", "Latency (ms)"
_TICKS = MappingProxyType({_MACS: "~s", _LATENCY: "~g"})
_AREA = "The area of a bubble is proportional to the number of parameters."


@frozen
class _Basis:
    """Say which accuracies a figure shows: measured and published ones are never in one figure.

    Attributes:
        title: Title of the axis of accuracy.
        subtitle: Sentence about the accuracies.
        accuracy: Function that returns the accuracy of a file of a network and its interval, or None.
    """

    title: str
    subtitle: str
    accuracy: Callable[[ComparedNetwork, str], tuple[float, tuple[float, float] | None] | None]


def _bases(found: Comparison) -> Iterator[_Basis]:
    if any(network.accuracies for network in found.networks):
        yield _Basis(
            "Accuracy", f"Measured on the {found.split} split of {found.data}; bars are 95% intervals.", _measured
        )
    if any(network.published for network in found.networks):
        yield _Basis("Published top-1", "Published accuracies on ImageNet; none was measured here.", _published)


def _measured(network: ComparedNetwork, precision: str) -> tuple[float, tuple[float, float] | None] | None:
    found = network.accuracy(precision)
    return None if found is None else (found.value, (found.low, found.high))


def _published(network: ComparedNetwork, precision: str) -> tuple[float, None] | None:
    found = network.published_of(precision)
    return None if found is None else (found.top1, None)


def figures(found: Comparison, device: DeviceComparison) -> "list[DrawnFigure]":
    """Return the figures of accuracy against multiply-adds and against latency; none without accuracies."""
    from nas.report.comparison import FigureText
    from nas.report.comparison_page import DrawnFigure

    drawn = []
    for basis in _bases(found):
        for cost in (_MACS, _LATENCY):
            points = tuple(_points(found, device, basis, cost))
            if points:
                where = f"Latency in {_precision(found)} with its 95% interval. " if cost == _LATENCY else ""
                title = f"{basis.title} against {cost.lower().removesuffix(' (ms)')}" + (
                    f" on {device.short}" if cost == _LATENCY else ""
                )
                text = FigureText(title, f"{basis.subtitle} {where}{_AREA}", cost, basis.title, _TICKS[cost])
                drawn.append(DrawnFigure(points, text, _alt_text(points, title)))
    return drawn


def _precision(found: Comparison) -> str:
    """Return the first precision of the networks, which the figures show."""
    return next((name for network in found.networks for name in network.size_bytes), "fp32")


def _points(found: Comparison, device: DeviceComparison, basis: _Basis, cost: str) -> "Iterator[ComparedPoint]":
    from nas.report.comparison import ComparedPoint

    for place, (network, precision) in enumerate(_shown(found, device), 1):
        latency, accuracy = device.latency(network.name, precision), basis.accuracy(network, precision)
        value = network.macs if cost == _MACS else latency and latency.latency_ms
        if not value or accuracy is None:
            continue
        span = (latency.low_ms, latency.high_ms) if latency and cost == _LATENCY else None
        yield ComparedPoint(
            place,
            network.name,
            _KNOWN if network.origin == "zoo" else _YOURS,
            value,
            span,
            accuracy[0],
            accuracy[1],
            network.params or 0,
            tuple(_hover(network, device, precision, accuracy)),
        )


def _shown(found: Comparison, device: DeviceComparison) -> list[tuple[ComparedNetwork, str]]:
    """Return each network once, with the precision that figures show, in the order of the table."""
    first: dict[str, tuple[ComparedNetwork, str]] = {}
    for network, precision in ordered(found, device):
        first.setdefault(network.name, (network, precision))
    return list(first.values())


def _hover(
    network: ComparedNetwork,
    device: DeviceComparison,
    precision: str,
    accuracy: tuple[float, tuple[float, float] | None],
) -> Iterator[str]:
    value, span = accuracy
    yield network.name if network.year is None else f"{network.name} ({network.year})"
    yield f"{percent(value)}%" + (f" ({percent(span[0])} to {percent(span[1])}%)" if span else " published")
    yield f"{millions(network.macs)}M MACs, {millions(network.params)}M parameters"
    latency = device.latency(network.name, precision)
    if latency:
        yield f"{number(latency.latency_ms)} ms ({number(latency.low_ms)} to {number(latency.high_ms)})"


def _alt_text(points: "Sequence[ComparedPoint]", title: str) -> str:
    best = max(points, key=lambda each: each.accuracy)
    cheapest = min(points, key=lambda each: each.cost)
    return (
        f"{title} of {len(points)} networks. The highest accuracy is {percent(best.accuracy)}% ({best.name}); "
        f"{cheapest.name} has the lowest cost. The table has all numbers."
    )


def write_csv(found: Comparison, path: Path) -> None:
    """Write one row for each file on each device; see `nas.output_kinds.write_output`."""
    from nas.report.comparison_page import comparison_csv

    write_output(path, comparison_csv(found.rows()), COMPARISON)


def write_page(found: Comparison, path: Path) -> None:
    """Write the page of a comparison; see `nas.output_kinds.write_output`."""
    write_output(path, page(found), PAGE)


def page(found: Comparison) -> bytes:
    """Return the page of a comparison."""
    from nas.report.comparison_page import DevicePart, comparison_page

    parts = [
        DevicePart(
            device.short,
            tuple(figures(found, device)),
            *_numbered(found, device),
            (device_sentence(device), *(f"{each.name} ({each.precision}) was not measured: {each.problem}."
                                        for each in device.refusals)),
            tuple(alike_sentences(device)),
        )
        for device in found.devices
    ]  # fmt: skip
    count = len(found.networks)
    lead = (f"{count} network{'s' * (count > 1)} side by side.", *found.notes, *accuracy_sentences(found))
    notes = [f"{each.name}: {'; '.join(words)}." for each in found.networks if (words := list(_notes(each)))]
    return comparison_page("Comparison of networks", lead, parts, notes)


def _notes(network: ComparedNetwork) -> Iterator[str]:
    if network.title and network.title.lower() != network.name:
        yield network.title
    if network.published:
        yield f"published top-1 {percent(network.published.top1)}%: {network.published.source}"
    yield from network.notes


def _numbered(found: Comparison, device: DeviceComparison) -> "tuple[tuple[Heading, ...], tuple[tuple[str, ...], ...]]":
    """Return the table with the number of the network in front of each row."""
    from nas.report.comparison_page import Heading

    columns, rows = table(found, device)
    places = {network.name: at for at, (network, _) in enumerate(_shown(found, device), 1)}
    names = [network.name for network, _ in ordered(found, device)]
    headings = tuple(Heading(each.title, each.group, each.short) for each in columns)
    return headings, tuple((str(places[name]), *row) for name, row in zip(names, rows, strict=True))


def _first_figure(found: Comparison) -> "DrawnFigure":
    """Return the figure against latency, or the one against multiply-adds where no latency is known.

    Raises:
        NasError: No network has an accuracy.
    """
    drawn = [each for device in found.devices for each in figures(found, device)]
    if not drawn:
        raise NasError(
            "no network has a measured or a published accuracy, and the figure shows accuracy against latency",
            "give trained networks with --data, or known networks with zoo:NAME or --zoo",
        )
    return next((each for each in drawn if each.text.cost == _LATENCY), drawn[0])


def write_png(found: Comparison, path: Path) -> None:
    """Write the figure as a PNG image; see `nas.report.files.write_png`."""
    from nas.report import files
    from nas.report.comparison import comparison_figure

    drawn = _first_figure(found)
    files.write_png(path, comparison_figure(drawn.points, drawn.text))


def write_svg(found: Comparison, path: Path) -> None:
    """Write the figure as an SVG drawing; see `nas.report.files.write_svg`."""
    from nas.report import files
    from nas.report.comparison import comparison_figure

    drawn = _first_figure(found)
    files.write_svg(path, comparison_figure(drawn.points, drawn.text))


# The picture comes last, because a browser that draws it can fail.
WRITERS: Mapping[str, Callable[[Comparison, Path], None]] = MappingProxyType(
    {"csv": write_csv, "html": write_page, "svg": write_svg, "png": write_png}
)
