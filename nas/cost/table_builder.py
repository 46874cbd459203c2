"""Measurement of a latency table, which can be interrupted at any time.

Each finished batch is appended to a partial file. The same call reads it and continues with the next batch.
"""

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from nas.arch.code import format_part
from nas.cost.correction import NO_CORRECTION, fit_correction
from nas.cost.layers import Layer
from nas.cost.table import LatencyTable, current_origin
from nas.cost.table_plan import Item, TablePlan
from nas.device.client import Meter
from nas.device.reference import REFERENCE_NAME
from nas.device.timing import Aim, Turns
from nas.errors import DeviceError, NasError
from nas.files import read_bytes, write_atomically

AIM = Aim(spread=0.005, least=15, most=60, seconds=0.3)
PARTIAL = "nas-latency-partial/1"
MAX_BYTES = 64_000_000  # of a partial file


@frozen
class Progress:
    """Report the progress of a table.

    Attributes:
        done: Number of finished batches.
        total: Number of all batches.
        seconds_left: Estimated seconds until the end; None while unknown.
        noise: Noise of the reference in the last batch.
    """

    done: int
    total: int
    seconds_left: float | None
    noise: float


Listener = Callable[[Progress], None]


@frozen
class Batch:
    """Hold a finished batch as the partial file stores it.

    Attributes:
        number: Number of the batch, counted from 0.
        ratios: Ratio to the reference of each item.
        reference_ms: Latency of the reference in milliseconds.
    """

    number: int
    ratios: tuple[float, ...]
    reference_ms: float


def make_table(
    plan: TablePlan,
    meter: Meter,
    space: str,
    partial: Path,
    *,
    based_on: LatencyTable | None = None,
    listen: Listener = lambda _progress: None,
) -> LatencyTable:
    """Measure what a plan contains, fit the correction, and return the table.

    After a failure or an interrupt the same call continues with the first batch that is not in the partial file.

    Args:
        plan: Items to time and their order.
        meter: The device.
        space: Name of the space.
        partial: File for finished batches; the caller removes it when the table is written.
        based_on: Table of another device whose layer latencies are taken instead of measuring them.
        listen: Called after each batch.

    Raises:
        NasError: The device fails, the partial file cannot be used or belongs to another table, or `based_on` lacks a
            layer.
    """
    if based_on is not None:
        based_on.check_chain(plan.chain, plan.padding)
    key = _partial_key(plan, meter, space, based_on)
    batches = _read_batches(partial, key, plan) if partial.exists() else []
    # Rewriting the file drops a last line that a crash cut short; batches that follow would be appended to its end.
    lines = [json.dumps(key), *map(_format_batch, batches)]
    write_atomically(partial, "".join(f"{line}\n" for line in lines).encode())
    for batch in _measure_batches(plan, meter, len(batches), listen):
        _append_line(partial, f"{_format_batch(batch)}\n")
        batches.append(batch)
    return _build(plan, meter, space, batches, based_on)


def _measure_batches(plan: TablePlan, meter: Meter, done: int, listen: Listener) -> Iterator[Batch]:
    waiting = plan.batches[done:]
    begun = time.monotonic()
    fragments = [[plan.fragment(item) for item in batch] for batch in waiting]
    for count, turns in enumerate(meter.measure_each(fragments, AIM), 1):
        yield _batch(done + count - 1, turns)
        left = (time.monotonic() - begun) / count * (len(waiting) - count)
        listen(Progress(done + count, len(plan.batches), left, turns.noise))


def _batch(number: int, turns: Turns) -> Batch:
    return Batch(number, tuple(timing.ratio for timing in turns.timings), turns.reference.median_ms)


def _build(
    plan: TablePlan, meter: Meter, space: str, batches: list[Batch], based_on: LatencyTable | None
) -> LatencyTable:
    ratios: dict[Item, list[float]] = defaultdict(list)
    for items, batch in zip(plan.batches, batches, strict=True):
        for item, ratio in zip(items, batch.ratios, strict=True):
            ratios[item].append(ratio)
    # All latencies are ratios times this one value: per-batch values would bring the drift of the machine back in.
    reference_ms = float(np.median([batch.reference_ms for batch in batches]))
    adapted_from = "" if based_on is None else based_on.name
    origin = current_origin(meter, plan.chain, plan.padding, space, reference_ms, plan.passes, adapted_from)
    raw = LatencyTable("", origin, *_layer_times(plan, ratios, reference_ms, based_on), NO_CORRECTION)
    kind_sums = np.array([raw.kind_sums(network) for network in plan.samples])
    return attrs.evolve(raw, correction=fit_correction(kind_sums, reference_ms * plan.network_ratios(ratios)))


def _layer_times(
    plan: TablePlan, ratios: Mapping[Item, list[float]], reference_ms: float, based_on: LatencyTable | None
) -> tuple[dict[Layer, float], dict[Layer, float]]:
    if based_on is not None:
        return dict(based_on.layers_ms), dict(based_on.spread_ms)
    times, errors = plan.layer_ratios(ratios)
    return (
        dict(zip(plan.layers, map(float, reference_ms * times), strict=True)),
        dict(zip(plan.layers, map(float, reference_ms * errors), strict=True)),
    )


def _partial_key(plan: TablePlan, meter: Meter, space: str, based_on: LatencyTable | None) -> dict[str, Any]:
    """Return the first line of a partial file, which identifies its table.

    Batches of two runs may be combined only if everything that the measurements depend on is equal. The hashes cover
    the `repr` of items and fragments, so that renaming one of their fields makes existing partial files unusable.
    """
    layers = "\n".join(f"{format_part(layer.part, '')} {layer.shape}" for layer in plan.layers)
    return {
        "format": PARTIAL,
        "machine": list(meter.machine.kind),
        "device": str(meter.device),
        "reference": REFERENCE_NAME,
        "space": space,
        "layers": hashlib.sha256(layers.encode()).hexdigest()[:16],
        "networks": hashlib.sha256(repr(plan.samples).encode()).hexdigest()[:16],
        "order": hashlib.sha256(repr(plan.batches).encode()).hexdigest()[:16],
        "passes": plan.passes,
        "based_on": "" if based_on is None else based_on.name,
    }


def _read_batches(partial: Path, key: Mapping[str, Any], plan: TablePlan) -> list[Batch]:
    """Return the finished batches of an earlier run, up to the first line that is not a whole batch.

    Raises:
        DeviceError: The file cannot be read, or belongs to another table.
    """
    try:
        first, *lines = read_bytes(partial, MAX_BYTES).decode("utf-8", "replace").split("\n")
    except OSError as error:
        raise DeviceError(
            f"{partial} cannot be read: {error.strerror or error}", "give another file with --out"
        ) from None
    if _parse_line(first) != dict(key):
        raise DeviceError(
            f"{partial} holds the beginning of another table: its device, machine, space, seed or graphs differ",
            "remove the file, or give another one with --out",
        )
    found: list[Batch] = []
    for line, items in zip(lines, plan.batches, strict=False):
        batch = _read_batch(_parse_line(line), len(found), len(items))
        if batch is None:
            break
        found.append(batch)
    return found


def _format_batch(batch: Batch) -> str:
    return json.dumps(attrs.asdict(batch))


def _append_line(partial: Path, line: str) -> None:
    try:
        with partial.open("a", encoding="utf-8") as file:
            file.write(line)
            # A batch takes seconds to minutes, so that a sync costs nothing, and a power failure loses no batch.
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NasError(
            f"{partial} cannot be written: {error.strerror or error}",
            "make room on the disk; finished batches are kept, and the same command goes on from there",
        ) from None


def _parse_line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # Deeply nested brackets exhaust the parser's stack.
        return None


def _read_batch(data: Any, number: int, items: int) -> Batch | None:
    """Return a batch, or None where the data is not exactly the batch with this number and this many items."""
    if not isinstance(data, dict) or data.keys() != set(attrs.fields_dict(Batch)) or data["number"] != number:
        return None
    ratios, reference_ms = data["ratios"], data["reference_ms"]
    if not isinstance(ratios, list) or len(ratios) != items:
        return None
    whole = all(isinstance(value, float) and 0 < value < float("inf") for value in (*ratios, reference_ms))
    return Batch(number, tuple(ratios), reference_ms) if whole else None
