"""The networks of a comparison as files of each precision, with names that differ."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from nas.api.comparison_entries import FP32, INT8, Entry, Spool
from nas.api.comparison_makers import EXPORT, Given, Maker, NetworkOptions, Say, image_size
from nas.api.several import most_at_once, several_at_once
from nas.errors import NasError, WeightsError

if TYPE_CHECKING:
    from nas.device.onnx_check import CheckedFile

RANDOM_RANGES = "quantized with random inputs, which gives its latency and not its accuracy"
QUANTIZING_BYTES = 4 * 2**30
"""Memory that the quantization of the largest known network takes."""


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
    maker = Maker(options, spool, say)
    with several_at_once(most_at_once(QUANTIZING_BYTES)) as processes:
        waiting: list[Future[Entry]] = []
        for number, each in enumerate(distinct, 1):
            if len(distinct) > 2:
                say(f"network {number} of {len(distinct)}: {_label(each, number)}")
            entry = maker.make(each, number)
            # Networks are quantized while the next ones are built.
            waiting.append(processes.submit(_with_precision, entry, options, spool))
        if INT8 in options.precisions and (count := sum(not each.done() for each in waiting)):
            say(f"quantizing the last {count} networks" if count > 1 else "quantizing the last network")
        return _distinct_names([each.result() for each in waiting])


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
    return attrs.evolve(check_onnx(bytes(data), size=image_size(source), batch=batch), data=data)


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
