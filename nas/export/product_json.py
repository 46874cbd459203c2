"""The JSON form of an exported network: `parse_product` is the exact inverse of `format_product`."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import attrs

from nas.arch.code import parse_text
from nas.device.machine import Machine
from nas.device.spec import Device, parse_device
from nas.device.timing import Timing
from nas.device.validation import Reader, integer, list_of, number_in, one_of, read_fields, record_of, reject, text_line
from nas.errors import NasError
from nas.export.records import Accuracy, Baseline, FileRecord, Latency, ModelRecord, Product
from nas.noise import unpack

FORMAT = "nas-product/1"
METRICS_FILE = "metrics.json"
FORMS, PRECISIONS, SPLITS = ("onnx", "timm", "torch"), ("fp32", "int8"), ("train", "val", "test")
MOST_FILES, MOST_CLASSES, MOST_CHANNELS = 100, 100_000, 4096
MOST_TEXT, MOST_LINE, MOST_NAME = 200_000, 2000, 200
MOST_VALUES, MOST_DEPTH = 200_000, 10
# A name that is the same on every system, and that no shell and no page reads as anything else than a name.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def format_product(product: Product) -> str:
    """Return the JSON text of a product.

    Raises:
        ValueError: A number is not finite.
    """
    values = {"format": FORMAT, **attrs.asdict(product, recurse=False)}
    values["models"] = [_model_values(model) for model in product.models]
    values["files"] = [attrs.asdict(file) for file in product.files]
    values["baseline"] = product.baseline and _model_values(product.baseline)
    values["provenance"], values["versions"] = dict(product.provenance), dict(product.versions)
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def parse_product(text: str) -> Product:
    """Return the product of a JSON text.

    Raises:
        NasError: The text is not one that `format_product` returns.
    """
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # deeply nested brackets exhaust the parser's stack
        raise NasError(f"it is not JSON: {error}"[:300]) from None
    form = data.pop("format", None) if isinstance(data, dict) else None
    if form != FORMAT:
        raise NasError(f"its format is {form!r:.80}, and this version reads {FORMAT}")
    product: Product = _PRODUCT("product", data)
    _check(product)
    return product


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _model_values(model: ModelRecord | Baseline) -> dict[str, Any]:
    measured = {
        "accuracy": model.accuracy and _accuracy_values(model.accuracy),
        "latency": model.latency and _latency_values(model.latency),
    }
    return attrs.asdict(model, recurse=False) | measured


def _accuracy_values(accuracy: Accuracy) -> dict[str, Any]:
    return {**_accuracy_summary(accuracy), **attrs.asdict(accuracy)}


def _accuracy_summary(accuracy: Accuracy) -> dict[str, float]:
    """Return what follows from the counts; it is stored for people who read the file."""
    low, high = accuracy.interval
    return {"value": accuracy.value, "low": low, "high": high, "images": accuracy.images}


def _latency_values(latency: Latency) -> dict[str, Any]:
    return {**_latency_summary(latency), **attrs.asdict(latency), "device": str(latency.device)}


def _latency_summary(latency: Latency) -> dict[str, float]:
    return {"milliseconds": latency.milliseconds, "spread_ms": latency.spread_ms}


def _optional(read: Reader) -> Reader:
    return lambda where, data: None if data is None else read(where, data)


def _text(most: int) -> Reader:
    """Return a reader of any text that UTF-8 can hold."""

    def read(where: str, data: Any) -> str:
        is_text = isinstance(data, str) and len(data) <= most and not re.search("[\ud800-\udfff]", data)
        return str(data) if is_text else reject(where, data, f"a text of at most {most:,} characters")

    return read


def _matching(pattern: re.Pattern[str], wanted: str) -> Reader:
    def read(where: str, data: Any) -> str:
        return data if isinstance(data, str) and pattern.fullmatch(data) else reject(where, data, wanted)

    return read


def _true_or_false(where: str, data: Any) -> bool:
    return data if isinstance(data, bool) else reject(where, data, "true or false")


def _device(where: str, data: Any) -> Device:
    device = parse_device(text_line()(where, data))
    return device if str(device) == data else reject(where, data, f"written as {device}")


def _texts(where: str, data: Any) -> Mapping[str, str]:
    """Read texts by their names."""
    if not isinstance(data, dict) or len(data) > MOST_FILES:
        reject(where, data, f"an object of at most {MOST_FILES} texts")
    return {_text(200)(where, key): _text(MOST_TEXT)(f"{where}.{key:.80}", value) for key, value in data.items()}


def _free(where: str, data: Any) -> Mapping[str, Any]:
    """Read an object of any plain values, whose number and depth have limits."""
    if not isinstance(data, dict):
        reject(where, data, "a JSON object")
    _check_values(where, data)
    return data


def _check_values(where: str, data: object) -> None:
    level, count = [data], 0
    for _ in range(MOST_DEPTH):
        inner = [each for value in level if isinstance(value, dict | list) for each in _members(value)]
        count += len(inner)
        if count > MOST_VALUES or not all(map(_is_plain, level)):
            break
        level = inner
    if level:
        raise NasError(
            f"{where} has more than {MOST_VALUES:,} values or {MOST_DEPTH} levels, or a number that is not finite"
        )


def _members(value: dict[str, object] | list[object]) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else value


def _is_plain(value: object) -> bool:
    # `1e999` is valid JSON and becomes infinite.
    return not isinstance(value, float) or math.isfinite(value)


def _summarized(read: Callable[[str, Any], Any], summary: Callable[[Any], Mapping[str, float]]) -> Reader:
    """Return a reader of a record that is stored with its summary, which must fit."""

    def read_both(where: str, data: Any) -> Any:
        if not isinstance(data, dict):
            reject(where, data, "a JSON object")
        names = ("value", "low", "high", "images", "milliseconds", "spread_ms")
        record = read(where, {name: value for name, value in data.items() if name not in names})
        for name, value in summary(record).items():
            found = number_in(0)(f"{where}.{name}", data.get(name))
            if not math.isclose(found, value, rel_tol=1e-6, abs_tol=1e-9):
                reject(f"{where}.{name}", found, f"{value}, which follows from the other values")
        return record

    return read_both


def _pair(where: str, data: Any) -> tuple[int, int]:
    right, images = list_of(integer(0), 2, 2)(where, data)
    return (right, images) if right <= images else reject(where, data, "correct images and all images")


def _accuracy(where: str, data: Any) -> Accuracy:
    found = Accuracy(**read_fields(where, data, _ACCURACY_FIELDS))
    if not found.images:
        raise NasError(f"{where} is of no image")
    if found.packed:
        try:
            correct = unpack(found.packed)
        except ValueError as error:
            raise NasError(f"{where}: {error}") from None
        if (len(correct), int(correct.sum())) != (found.images, sum(right for right, _ in found.by_class)):
            raise NasError(f"{where} has a list of correct images that does not fit their number")
    return found


_DIGEST = _matching(re.compile("[0-9a-f]{64}"), "a SHA-256 of 64 hexadecimal digits")
_FILE = _matching(_FILE_NAME, "the name of a file: letters, digits and the characters . _ -")
_ACCURACY_FIELDS: Mapping[str, Reader] = {
    "data": _text(MOST_LINE),
    "split": one_of(SPLITS),
    "by_class": list_of(_pair, 1, MOST_CLASSES),
    "images_digest": _matching(re.compile("|[0-9a-f]{64}"), "a SHA-256 of 64 hexadecimal digits"),
    "packed": _text(10_000_000),
}
_TIMES: Mapping[str, Reader] = {
    name: number_in(0, above=True) for name in ("ratio", "min_ms", "median_ms", "p95_ms")
} | {"spread": number_in(0), "repeats": integer(1)}
_TIMING = record_of(Timing, _TIMES)
_MACHINE = record_of(
    Machine,
    {name: text_line(300) for name in ("cpu", "isa", "accelerator", "system", "runtime", "graph")}
    | {"cores": integer(1, 2**20)},
)
_LATENCY = record_of(
    Latency,
    {
        "device": _device,
        "machine": _MACHINE,
        "timing": _TIMING,
        "reference": _TIMING,
        "noise": number_in(0),
        "warmups": integer(0),
    },
)
_MEASURED: Mapping[str, Reader] = {
    "params": integer(0),
    "macs": integer(0),
    "accuracy": _optional(_summarized(_accuracy, _accuracy_summary)),
    "latency": _optional(_summarized(_LATENCY, _latency_summary)),
    "peak_bytes": _optional(integer(0)),
}
_FILE_FIELDS: Mapping[str, Reader] = {"file": _FILE, "sha256": _DIGEST, "size_bytes": integer(0)}
_PRODUCT = record_of(
    Product,
    {
        "name": text_line(MOST_NAME),
        "architecture": _text(MOST_TEXT),
        "classes": _optional(list_of(_text(MOST_LINE), 1, MOST_CLASSES)),
        "mean": list_of(number_in(-1e6, 1e6), 1, MOST_CHANNELS),
        "std": list_of(number_in(0, 1e6, above=True), 1, MOST_CHANNELS),
        "resolution": integer(1, 2**16),
        "channels": integer(1, MOST_CHANNELS),
        "outputs": integer(1, MOST_CLASSES),
        "batch": _optional(integer(1, 4096)),
        "preprocessing": _true_or_false,
        "models": list_of(
            record_of(
                ModelRecord,
                {
                    **_FILE_FIELDS,
                    **_MEASURED,
                    "form": one_of(FORMS),
                    "precision": one_of(PRECISIONS),
                    "agreement": _optional(_free),
                    "graph": text_line(),
                },
            ),
            1,
            MOST_FILES,
        ),
        "baseline": _optional(
            record_of(Baseline, {"name": text_line(MOST_NAME), "size_bytes": _optional(integer(0)), **_MEASURED})
        ),
        "int8": _optional(_free),
        "notes": list_of(_text(MOST_LINE), 0, MOST_FILES),
        "provenance": _texts,
        "versions": _texts,
        "files": list_of(record_of(FileRecord, _FILE_FIELDS), 0, MOST_FILES),
    },
)


def _check(product: Product) -> None:
    """Check that the values of a product belong together."""
    arch = parse_text(product.architecture)
    stated = (product.resolution, product.channels, product.outputs)
    names = [name.lower() for name in product.digests]
    measured = [each.accuracy for each in (*product.models, product.baseline) if each is not None and each.accuracy]
    rules = {
        "the architecture has another resolution, channels or classes": stated
        == (arch.resolution, arch.in_channels, arch.classes),
        "there is not one mean and one standard deviation for each channel": product.channels
        == len(product.mean)
        == len(product.std),
        "there is not one name for each class": product.classes is None or len(product.classes) == product.outputs,
        "two files have the same name": len({METRICS_FILE, *names}) == 1 + len(product.models) + len(product.files),
        "an accuracy has another number of classes": all(len(each.by_class) == product.outputs for each in measured),
    }
    broken = next((rule for rule, holds in rules.items() if not holds), None)
    if broken is not None:
        raise NasError(broken)
