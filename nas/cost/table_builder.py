"""Making a latency table: batch after batch on the device, each kept as soon as it is there."""

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
from nas.cost.correction import NONE, fit
from nas.cost.layers import Layer
from nas.cost.table import LatencyTable, origin_now
from nas.cost.table_plan import Item, TablePlan
from nas.device.client import Meter
from nas.device.reference import REFERENCE_NAME
from nas.device.timing import Aim, Turns
from nas.errors import DeviceError, NasError
from nas.files import write_atomically

AIM = Aim(spread=0.005, least=15, most=60, seconds=0.3)
PARTIAL = "nas-latency-partial/1"


@frozen
class Progress:
    """How far a table is.

    Attributes:
        done: batches.
        total: batches.
        seconds_left: estimated; None while unknown.
        noise: of the last batch's reference.
    """

    done: int
    total: int
    seconds_left: float | None
    noise: float


Listener = Callable[[Progress], None]


@frozen
class Batch:
    """What is kept of a finished batch: times over the reference's, and the reference's own."""

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
    """Time all that a plan says, from where an earlier run of it stopped, and fit the correction.

    Args:
        plan: what is timed.
        meter: on what.
        space: its name.
        partial: a file that holds finished batches until the table is whole.
        based_on: another device's table whose layers are taken instead of timing them.
        listen: called after every batch.

    Raises:
        NasError: the device fails, the file cannot be written or is of something else; give the same call again to go
            on from there. Or the other device's table lacks a layer.
    """
    if based_on is not None:
        based_on.check_chain(plan.chain, plan.padding)
    key = _key(plan, meter, space, based_on)
    batches = _kept(partial, key, plan) if partial.exists() else []
    lines = [json.dumps(key), *map(_line, batches)]
    write_atomically(partial, "".join(f"{line}\n" for line in lines).encode())
    for batch in _timed(plan, meter, len(batches), listen):
        _append(partial, f"{_line(batch)}\n")
        batches.append(batch)
    return _table(plan, meter, space, batches, based_on)


def _timed(plan: TablePlan, meter: Meter, done: int, listen: Listener) -> Iterator[Batch]:
    waiting = plan.batches[done:]
    begun = time.monotonic()
    fragments = [[plan.fragment(item) for item in batch] for batch in waiting]
    for count, turns in enumerate(meter.measure_each(fragments, AIM), 1):
        yield _batch(done + count - 1, turns)
        left = (time.monotonic() - begun) / count * (len(waiting) - count)
        listen(Progress(done + count, len(plan.batches), left, turns.noise))


def _batch(number: int, turns: Turns) -> Batch:
    return Batch(number, tuple(timing.ratio for timing in turns.timings), turns.reference.median_ms)


def _table(
    plan: TablePlan, meter: Meter, space: str, batches: list[Batch], based_on: LatencyTable | None
) -> LatencyTable:
    ratios: dict[Item, list[float]] = defaultdict(list)
    for items, batch in zip(plan.batches, batches, strict=True):
        for item, ratio in zip(items, batch.ratios, strict=True):
            ratios[item].append(ratio)
    reference_ms = float(np.median([batch.reference_ms for batch in batches]))
    adapted_from = "" if based_on is None else based_on.name
    origin = origin_now(meter, plan.chain, plan.padding, space, reference_ms, plan.passes, adapted_from)
    raw = LatencyTable("", origin, *_layers(plan, ratios, reference_ms, based_on), NONE)
    sums = np.array([raw.sums(network) for network in plan.samples])
    return attrs.evolve(raw, correction=fit(sums, reference_ms * plan.network_ratios(ratios)))


def _layers(
    plan: TablePlan, ratios: Mapping[Item, list[float]], reference_ms: float, based_on: LatencyTable | None
) -> tuple[dict[Layer, float], dict[Layer, float]]:
    if based_on is not None:
        return dict(based_on.layers_ms), dict(based_on.spread_ms)
    times, errors = plan.layer_ratios(ratios)
    return (
        dict(zip(plan.layers, map(float, reference_ms * times), strict=True)),
        dict(zip(plan.layers, map(float, reference_ms * errors), strict=True)),
    )


def _key(plan: TablePlan, meter: Meter, space: str, based_on: LatencyTable | None) -> dict[str, Any]:
    """What a partial file is of: two with equal keys can be one."""
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


def _kept(partial: Path, key: Mapping[str, Any], plan: TablePlan) -> list[Batch]:
    """Finished batches of an earlier run; a last line that was cut short is left out.

    Raises:
        DeviceError: they are of something else.
    """
    try:
        first, *lines = partial.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise DeviceError(
            f"{partial} cannot be read: {error.strerror or error}", "give another place by --out"
        ) from None
    if _loaded(first) != dict(key):
        raise DeviceError(
            f"{partial} holds the beginning of another table", "remove it, or give another place by --out"
        )
    found: list[Batch] = []
    for line, items in zip(lines, plan.batches, strict=False):
        batch = _read_batch(_loaded(line), len(found), len(items))
        if batch is None:
            break
        found.append(batch)
    return found


def _line(batch: Batch) -> str:
    return json.dumps(attrs.asdict(batch))


def _append(partial: Path, line: str) -> None:
    try:
        with partial.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NasError(
            f"{partial} cannot be written: {error.strerror or error}",
            "see that there is room; finished batches are kept, and the same command goes on from there",
        ) from None


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _read_batch(data: Any, number: int, items: int) -> Batch | None:
    """A batch, None where a line is not exactly the one that comes next."""
    if not isinstance(data, dict) or data.keys() != set(attrs.fields_dict(Batch)) or data["number"] != number:
        return None
    ratios, reference_ms = data["ratios"], data["reference_ms"]
    if not isinstance(ratios, list) or len(ratios) != items:
        return None
    whole = all(isinstance(value, float) and 0 < value < float("inf") for value in (*ratios, reference_ms))
    return Batch(number, tuple(ratios), reference_ms) if whole else None
