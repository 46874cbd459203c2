"""The latencies and the memory of the files of a comparison on one device."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from nas.api.comparison_entries import Entry
from nas.api.comparison_peaks import Part, Peak, find_peaks
from nas.api.comparison_records import COUNTED, MEASURED, DeviceComparison, DeviceLatency, LatencyPair
from nas.api.latency import latency_of, setting_of
from nas.errors import DeviceError, NasError
from nas.noise import quantile

if TYPE_CHECKING:
    from nas.device.connection import Connection
    from nas.device.timing import Aim, Ratio, Turns

Say = Callable[[str], None]
MOST_BYTES = 8 * 2**30
"""Largest memory of the files that take turns with each other."""
# Standard errors come from blocks of consecutive rounds. Many pairs need many degrees of freedom, and a block of fewer
# rounds than these would not bridge a disturbance.
_MOST_BLOCKS, _ROUNDS_OF_BLOCK = 15, 3


@frozen(eq=False)
class _Place:
    """Point to the measurement of a file: the turns of its group, and its position there."""

    turns: "Turns"
    at: int


def compare_on(connection: "Connection", entries: Sequence[Entry], aim: "Aim", say: Say) -> DeviceComparison:
    """Return the latencies and the memory of all files on a device.

    Each file is first run in a process of its own, which gives its peak memory and shows whether the device can run
    it. Then all of them take turns: each round runs the reference and every file once. Where the files need more
    memory together than `MOST_BYTES`, they take turns in several groups.

    Args:
        connection: Connection to the device; the user closes it.
        entries: The networks.
        aim: When the measurement is good enough; the time is that of all groups together.
        say: Function that is called with sentences about the progress.

    Raises:
        DeviceError: The device cannot be reached, or runs none of the files.
    """
    machine = connection.machine  # The first contact: a device that cannot be reached is an error at once.
    parts = [Part(entry, precision) for entry in entries for precision in entry.files]
    peaks, refusals = find_peaks(connection, parts, say)
    if not peaks:
        raise DeviceError(f"the device runs none of the networks: {refusals[0].problem}", "compare other networks")
    limit = _memory_limit(connection)
    groups = list(_groups(peaks, limit))
    if len(groups) > 1:
        say(f"the networks take turns in {len(groups)} groups, each with at most {limit / 2**30:.1f} GiB of memory")
    places: dict[tuple[str, str], _Place] = {}
    measured: list[Turns] = []
    for number, group in enumerate(groups, 1):
        say(f"measuring {len(group)} files in turn{f', group {number}' if len(groups) > 1 else ''}")
        files = [each.part.file for each in group]
        share = sum(len(each.part.file.data) for each in group) / sum(len(each.part.file.data) for each in peaks)
        turns = connection.measure(files, attrs.evolve(aim, seconds=max(0.1, aim.seconds * share)))
        measured.append(turns)
        places |= {(each.part.name, each.part.precision): _Place(turns, at) for at, each in enumerate(group)}
    noisiest = max(measured, key=lambda turns: turns.noise)
    setting = setting_of(connection.device, machine, noisiest)
    del setting["precision"], setting["warmups"]
    return DeviceComparison(
        **setting,
        place=connection.address.place,
        rounds=tuple(len(turns.rounds_ms) for turns in measured),
        groups=len(groups),
        latencies=tuple(_latency(each, places[each.part.name, each.part.precision]) for each in peaks),
        pairs=tuple(_pairs([each.part for each in peaks], places)),
        refusals=tuple(refusals),
    )


def _memory_limit(connection: "Connection") -> int:
    """Return how much memory the files that take turns may have; on this machine at most half of what is free."""
    import psutil

    return MOST_BYTES if connection.address.place else min(MOST_BYTES, int(psutil.virtual_memory().available / 2))


def _groups(peaks: Sequence[Peak], limit: int) -> "Iterator[list[Peak]]":
    """Yield consecutive files that fit into the memory together; all files of one network are in one group.

    A process that measures a file holds the file itself and what it needs to run.
    """
    group: list[Peak] = []
    for _, own in itertools.groupby(peaks, key=lambda each: each.part.name):
        network = list(own)
        if group and sum(map(_needed, (*group, *network))) > limit:
            yield group
            group = []
        group += network
    if group:
        yield group


def _needed(peak: Peak) -> int:
    size = len(peak.part.file.data)
    # Where the device does not report it, a network is taken to need twice the size of its file.
    return size + (2 * size if peak.bytes is None else peak.bytes)


def _latency(peak: Peak, place: _Place) -> DeviceLatency:
    latency = latency_of(place.turns, place.turns.timings[place.at])
    blocks = _blocks(place.turns)
    ratio = place.turns.ratio_to_reference(place.at, blocks)
    half = quantile(ratio.degrees) * ratio.spread * latency.latency_ms
    counted = peak.part.entry.counted_bytes.get(peak.part.precision)
    return DeviceLatency(
        **attrs.asdict(attrs.evolve(latency, spread_ms=ratio.spread * latency.latency_ms)),
        name=peak.part.name,
        precision=peak.part.precision,
        low_ms=max(0.0, latency.latency_ms - half),
        high_ms=latency.latency_ms + half,
        peak_bytes=counted if peak.bytes is None else peak.bytes,
        peak_source=MEASURED if peak.bytes is not None else COUNTED if counted is not None else "",
    )


def _blocks(turns: "Turns") -> int:
    from nas.device.timing import BLOCKS

    return max(BLOCKS, min(_MOST_BLOCKS, len(turns.rounds_ms) // _ROUNDS_OF_BLOCK))


def _pairs(parts: Sequence[Part], places: "dict[tuple[str, str], _Place]") -> Iterator[LatencyPair]:
    """Yield the comparisons of all networks in each precision, and of the precisions of each network."""
    pairs = [
        (one, other)
        for one, other in itertools.combinations(parts, 2)
        if one.precision == other.precision or one.name == other.name
    ]
    for one, other in pairs:
        here, there = places[one.name, one.precision], places[other.name, other.precision]
        ratio, paired = _ratio(here, there), here.turns is there.turns
        half = quantile(ratio.degrees, comparisons=len(pairs)) * ratio.spread * ratio.value
        ends = (max(0.0, ratio.value - half), ratio.value + half)
        yield LatencyPair(one.name, other.name, one.precision, other.precision, ratio.value, *ends, paired)


def _ratio(one: _Place, other: _Place) -> "Ratio":
    """Return the ratio of two latencies; those of different groups are compared through the reference."""
    from nas.device.timing import Ratio

    if one.turns is other.turns:
        return one.turns.ratio(one.at, other.at, _blocks(one.turns))
    ratios = [each.turns.ratio_to_reference(each.at, _blocks(each.turns)) for each in (one, other)]
    spread = sum(each.spread**2 for each in ratios) ** 0.5
    return Ratio(ratios[0].value / ratios[1].value, spread, min(each.degrees for each in ratios))


def check_batch(batches: Sequence[int]) -> int:
    """Return the batch that all devices have.

    Raises:
        NasError: They differ.
    """
    if len(set(batches)) > 1:
        raise NasError(
            f"the devices have the batches {', '.join(map(str, batches))}, and a comparison has one",
            "give all devices the same batch",
        )
    return batches[0]
