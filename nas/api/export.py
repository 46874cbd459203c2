"""Export of a trained network: files that are checked and measured on the device on which they will run."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing
from nas.studies.defaults import DEFAULT_STORAGE

# torch, ONNX and ONNX Runtime are optional packages, so what needs them is imported when a function is called.
if TYPE_CHECKING:
    from nas.api.export_request import ExportRequest
    from nas.api.export_source import Say
    from nas.export.records import ModelRecord, Product
    from nas.weights.base import TrainedNetwork


@frozen(eq=False)
class ExportedNetwork:
    """Represent a folder with the files of an exported network, and what was measured about them.

    Attributes:
        folder: Folder of the files.
        product: What `metrics.json` in the folder holds.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), normalization=half)
    >>> exported = nas.export_model(network, "product", format="torch")
    >>> exported.models[0].file, exported.product.resolution
    ('model.safetensors', 16)
    """

    folder: Path
    product: "Product"

    @property
    def models(self) -> "tuple[ModelRecord, ...]":
        """Return what is known about each model file, the fp32 file first."""
        return self.product.models

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values: those of `metrics.json`, and the folder."""
        from nas.export.product_json import format_product

        return {"folder": str(self.folder), **json.loads(format_product(self.product))}


@check_arguments
@explain_missing()
def export_model(
    checkpoint: Union[str, Path, "TrainedNetwork"],
    out: str | Path,
    *,
    resolution: int | None = None,
    data: str | Path | None = None,
    format: str = "auto",  # noqa: A002 -- the word of the command line
    device: str = "cpu",
    batch: int | str | None = None,
    preprocess: bool = True,
    max_loss: float = 0.5,
    qat: bool = False,
    against: Union[str, Path, "TrainedNetwork", None] = None,
    validation_share: float | None = None,
    weights_dir: str | Path = "nas-weights",
    storage: str = DEFAULT_STORAGE,
) -> ExportedNetwork:
    """Export a trained network as a folder of files that are checked and measured on their device.

    The folder holds an ONNX file whose input is uint8 images of any size, and whose logits on the device agree with
    those of the trained network on the whole validation split; otherwise nothing is written. An int8 file is added
    where it loses at most `max_loss` points of accuracy and is at least 1.2 times as fast.

    Args:
        checkpoint: Folder of a training run, a weights file, any other source that `nas.load_weights` takes,
            "study:NAME:best", or a network.
        out: Folder of the files, which is made. An earlier export in it is replaced if nobody changed it.
        resolution: Height and width of the images that the network takes, in pixels; by default those of the network.
        data: Source of the images, whose classes are those of the network in any order. By default the one that the
            training run recorded; without any, the file is checked on generated images, and there is no int8 file.
        format: "auto", "onnx" for the fp32 file alone, "onnx-int8" for an int8 file in any case, "timm" or "torch".
        device: Device, for example "cpu", "cpu:threads=4" or "ssh://me@board".
        batch: Number of images that the file takes at a time, or "dynamic" for any number; by default that of the
            device.
        preprocess: Whether the file crops, resizes and normalizes the images itself. Otherwise its input is normalized
            fp32 images of the network's size.
        max_loss: Largest loss of accuracy of the int8 file, in points.
        qat: Whether the network is fine-tuned for int8 where layers have to stay in fp32 for `max_loss`.
        against: Another network that is measured beside it, as `checkpoint`.
        validation_share: Share of the images that validates, where the training run had one of its own.
        weights_dir: Folder in which searches keep weights.
        storage: Optuna URL of the database that holds the study of a network.

    Returns:
        The folder, and what was measured about its files.

    Raises:
        WeightsError: There is no such network, or the file does not agree with it.
        DataError: The images cannot be used, or their classes differ from those of the network.
        DeviceError: The device cannot be reached, or cannot run the network.
        NasError: An argument cannot be used, or the folder holds other files.
        MissingPackageError: A package of `hwnas[export]` is not installed.

    >>> import nas
    >>> arch = nas.load_architecture("mnasnet-small").adapted(resolution=16, classes=10)
    >>> half = nas.Normalization((0.5,) * 3, (0.5,) * 3)
    >>> network = nas.TrainedNetwork(arch, nas.to_torch(arch).state_dict(), normalization=half)
    >>> exported = nas.export_model(network, "product", data="digits", format="onnx", batch="dynamic")
    >>> exported.product.preprocessing, exported.product.batch, exported.models[0].accuracy.images
    (True, None, 359)
    """
    from nas.api.export_request import ExportRequest

    request = ExportRequest(
        checkpoint=checkpoint,
        out=out,
        resolution=resolution,
        data=None if data is None else str(data),
        format=format,
        device=device,
        batch=batch,
        preprocess=preprocess,
        max_loss=max_loss,
        qat=qat,
        against=against,
        validation_share=validation_share,
        weights_dir=weights_dir,
        storage=storage,
    )
    return run_export(request, lambda _message: None)


@explain_missing()
def run_export(request: "ExportRequest", say: "Say") -> ExportedNetwork:
    """Export a network; see `export_model`.

    Everything that can be refused is refused before any work that takes long.

    Args:
        request: What is asked for.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: As `export_model` raises it.
    """
    from nas.api.export_onnx import export_onnx
    from nas.api.export_request import TIMM, TORCH
    from nas.api.export_source import find_named, size_note, with_resolution
    from nas.api.export_stored import export_stored
    from nas.export.product import check_product_folder, write_product

    check_product_folder(request.out)
    _check_packages()
    named = with_resolution(find_named(request.checkpoint, request, say), request.resolution)
    if note := size_note(named.network):
        say(note)
    baseline = None if request.against is None else find_named(request.against, request, say)
    export = export_stored if request.format in (TIMM, TORCH) else export_onnx
    product, files = export(request, named, baseline, say)
    return ExportedNetwork(request.out, write_product(product, files, request.out))


def _check_packages() -> None:
    """Check that the package which writes the model card in the end is installed.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise ModuleNotFoundError("No module named 'huggingface_hub'", name="huggingface_hub")
