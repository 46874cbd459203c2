"""Reading of the model files of a product that may come from anywhere: a file is checked before anything uses it."""

from pathlib import Path

import onnx

from nas.device.model_file import ModelFile
from nas.device.onnx_check import check_onnx, read_onnx_file
from nas.errors import WeightsError
from nas.export.records import ModelRecord, Product
from nas.weights.tensor_files import read_tensor_file

_REMEDY = "export the network again"


def read_model(product: Product, model: ModelRecord, folder: Path) -> ModelFile | None:
    """Return an ONNX file of a product that has passed all checks, or None for a file of tensors that has passed them.

    Raises:
        WeightsError: The file is damaged, has something that is not allowed, or is another one than the product states.
    """
    path = folder / model.file
    if model.form != "onnx":
        read_tensor_file(path)
        return None
    size = (product.resolution, product.resolution) if product.preprocessing else None
    file = ModelFile(model.file, read_onnx_file(path), size)
    if file.digest != model.sha256:
        raise WeightsError(f"{model.file} was changed after it was written", _REMEDY)
    found = check_onnx(file.data, size=size)
    dtype, side = ("uint8" if product.preprocessing else "float32"), product.resolution
    shape = (side, side, product.channels) if product.preprocessing else (product.channels, side, side)
    if (found.dtype.name, found.shape, found.batch, found.classes) != (dtype, shape, product.batch, product.outputs):
        raise WeightsError(
            f"{model.file} takes {found.batch or 'any number of'} {found.dtype} images of the shape {found.shape} for "
            f"{found.classes:,} classes, and metrics.json states {product.batch or 'any number of'} {dtype} images of "
            f"the shape {shape} for {product.outputs:,}",
            _REMEDY,
        )
    try:
        onnx.checker.check_model(file.data, full_check=True)
    except Exception as error:  # the errors of ONNX have no common base class
        raise WeightsError(
            f"{model.file} breaks a rule of ONNX: {(str(error).splitlines() or [''])[0][:300]}", _REMEDY
        ) from None
    return file
