"""The records of an export: what `metrics.json` says about the network and its files."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nas.api.export_images import ExportData
from nas.api.export_request import ExportRequest
from nas.api.export_source import NamedNetwork, size_note
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import cost
from nas.device.model_file import ModelFile
from nas.export.graph import known_normalization
from nas.export.records import Accuracy, Baseline, Latency, ModelRecord, Product
from nas.version import __version__

# Packages that the content of the files depends on.
PACKAGES = ("onnx", "onnxruntime", "torch")
NO_IMAGES = "No images were given: the file was checked on generated images, and its accuracy is unknown."


def model_record(file: ModelFile, precision: str, arch: Architecture, form: str = "onnx", **known: Any) -> ModelRecord:
    """Return the record of a model file.

    Args:
        file: The file.
        precision: "fp32" or "int8".
        arch: Architecture of its network.
        form: Form of the file, as in `ModelRecord`.
        known: Other attributes of the record that were measured.
    """
    costs = cost(arch)
    return ModelRecord(
        file=file.name,
        form=form,
        precision=precision,
        sha256=file.digest,
        size_bytes=len(file.data),
        params=costs.params,
        macs=costs.macs,
        **known,
    )


def baseline_record(
    other: NamedNetwork,
    size_bytes: int | None = None,
    accuracy: Accuracy | None = None,
    latency: Latency | None = None,
    peak_bytes: int | None = None,
) -> Baseline:
    """Return the record of another network that was measured beside the exported one."""
    costs = cost(other.network.arch)
    return Baseline(other.name, costs.params, costs.macs, size_bytes, accuracy, latency, peak_bytes)


def make_product(
    request: ExportRequest,
    named: NamedNetwork,
    models: Sequence[ModelRecord],
    data: ExportData | None,
    *,
    baseline: Baseline | None = None,
    int8: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Product:
    """Return everything that is known about an exported network."""
    network = named.network
    normalization = known_normalization(network)
    is_onnx = models[0].form == "onnx"
    return Product(
        name=named.name,
        architecture=format_text(network.arch),
        classes=network.classes or (data.classes if data else None),
        mean=normalization.mean,
        std=normalization.std,
        resolution=network.arch.resolution,
        channels=network.arch.in_channels,
        outputs=network.arch.classes,
        batch=request.fixed_batch if is_onnx else None,
        preprocessing=is_onnx and request.preprocess,
        models=tuple(models),
        baseline=baseline,
        int8=int8,
        notes=tuple(filter(None, (size_note(network), *notes))),
        provenance=dict(network.provenance),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {"hwnas": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # such as onnxruntime, where onnxruntime-gpu is installed
            continue
    return found
