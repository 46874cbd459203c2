"""Export as files of tensors for torch, without a device: the form of this package, and that of timm."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nas.api.export_check import reference_logits
from nas.api.export_images import ExportData, find_data
from nas.api.export_records import baseline_record, make_product, model_record
from nas.api.export_request import TIMM, TORCH, ExportRequest
from nas.api.export_source import NamedNetwork, Say
from nas.device.model_file import ModelFile
from nas.export.records import Accuracy, Product
from nas.export.timm_form import TENSORS_FILE, timm_bytes
from nas.weights.base import TrainedNetwork
from nas.weights.stored import network_bytes

NOT_MEASURED = "The file was not measured on a device, because it is run by torch; export an ONNX file for a latency."


def export_stored(
    request: ExportRequest, named: NamedNetwork, other: NamedNetwork | None, say: Say
) -> tuple[Product, Mapping[str, bytes]]:
    """Return the product of a network as tensors for torch or timm, and its files by name.

    The tensors are those of the network, so that only the accuracy is measured, in torch.

    Args:
        request: What is asked for.
        named: The network.
        other: Another network that is measured beside it; None for none.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: As `nas.export_model` raises it.
    """
    file = _FILES[request.format](named.network)
    data = find_data(request, named, say)
    other_data = find_data(request, other, say, data) if other and data else None
    record = model_record(
        file, "fp32", named.network.arch, request.format, accuracy=_accuracy(named.network, data, say)
    )
    baseline = None
    if other:
        baseline = baseline_record(other, accuracy=_accuracy(other.network, other_data, say))
    product = make_product(request, named, [record], data, baseline=baseline, notes=[NOT_MEASURED])
    return product, {file.name: file.data}


def _accuracy(network: TrainedNetwork, data: ExportData | None, say: Say) -> Accuracy | None:
    if data is None:
        return None
    say(f"{data.source}: the accuracy is measured on {len(data.test):,} test images")
    return data.accuracy(reference_logits(network, data.test))


def _torch_file(network: TrainedNetwork) -> ModelFile:
    return ModelFile("model.safetensors", network_bytes(network))


def _timm_file(network: TrainedNetwork) -> ModelFile:
    return ModelFile(TENSORS_FILE, timm_bytes(network))


_FILES: Mapping[str, Callable[[TrainedNetwork], ModelFile]] = MappingProxyType({TORCH: _torch_file, TIMM: _timm_file})
