"""The report of `nas export`: a table of the files, and what to do next."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.printing import print_table
from nas.data.wording import counted

if TYPE_CHECKING:
    from nas.api.export import ExportedNetwork
    from nas.export.records import Accuracy, Baseline, Latency, ModelRecord, Product

UNKNOWN = "unknown"
COLUMNS = ("file", "precision", "accuracy", "latency", "size", "peak memory")


def print_export(exported: "ExportedNetwork") -> None:
    """Print the files of an export with their accuracy, latency, size and memory."""
    product = exported.product
    print_table(COLUMNS, [*map(_model_row, product.models), *_baseline_row(product.baseline)], left=2)
    for line in (*_context(product), *_agreement(product.models[0].agreement), *product.notes):
        click.echo(line)
    click.echo(f"the files are in {exported.folder}")


def _model_row(model: "ModelRecord") -> tuple[str, ...]:
    return model.file, model.precision, *_figures(model)


def _baseline_row(baseline: "Baseline | None") -> Iterator[tuple[str, ...]]:
    if baseline is not None:
        yield f"against {baseline.name}", "fp32", *_figures(baseline)


def _figures(found: "ModelRecord | Baseline") -> tuple[str, ...]:
    return (
        _accuracy(found.accuracy),
        _latency(found.latency),
        _megabytes(found.size_bytes),
        _megabytes(found.peak_bytes),
    )


def _accuracy(found: "Accuracy | None") -> str:
    if found is None:
        return UNKNOWN
    low, high = found.interval
    return f"{100 * found.value:.2f}% ({100 * low:.1f} to {100 * high:.1f})"


def _latency(found: "Latency | None") -> str:
    return UNKNOWN if found is None else f"{found.milliseconds:.3f} ± {found.spread_ms:.3f} ms"


def _megabytes(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count / 1e6:.2f} MB"


def _context(product: "Product") -> Iterator[str]:
    """Yield on which images and on which device the figures were measured."""
    accuracy, latency = product.models[0].accuracy, product.models[0].latency
    if accuracy is not None:
        yield f"accuracy: {accuracy.images:,} images of the {accuracy.split} split of {accuracy.data}, in brackets 95%"
    if latency is not None:
        device, machine = latency.device, latency.machine
        batch = f"a batch of {device.batch} images" if device.batch > 1 else "one image"
        yield f"latency: {batch} on {device.short} ({machine.cpu}, ONNX Runtime {machine.runtime}), ± standard error"


def _agreement(found: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield how well the fp32 file agrees with the trained network."""
    if found is None:
        return
    yield f"checked on {found['images']:,} {found['images_are']} images: {_differences(found)}"
    for part in found["resized"]:
        width, height = part["size"]
        yield (
            f"checked on {part['images']:,} images of {width} x {height} pixels, which the file resizes: "
            f"{_differences(part)}"
        )


def _differences(found: Mapping[str, Any]) -> str:
    changed = len(found["changed"])
    predictions = (
        f"{counted(changed, 'prediction')} changed, near ties alone" if changed else "all predictions are equal"
    )
    return f"{predictions}; the logits differ by at most {found['largest']:.1e} of their magnitude"
