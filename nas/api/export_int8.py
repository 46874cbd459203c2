"""The int8 file of an export: made within the allowed loss, and kept where it is worth it."""

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from nas.api.export_images import ExportData
from nas.api.export_qat import fine_tuned
from nas.api.export_records import model_record
from nas.api.export_request import ONNX, ONNX_INT8, ExportRequest
from nas.api.export_source import Say
from nas.arch.spec import Architecture
from nas.device.model_file import ModelFile
from nas.errors import DataError, DeviceError, DeviceLostError
from nas.export.built import BuiltFile, describe_form
from nas.export.graph import as_file, export_graph
from nas.export.quantization.records import MOST_CALIBRATION_IMAGES, Labeled, QuantizationInputs
from nas.export.quantization.search import quantize_within
from nas.export.quantization.speed import SpeedUp
from nas.export.records import Accuracy, Latency, ModelRecord
from nas.export.target import Target
from nas.graph.variants import STANDARD

INT8_FILE = "model-int8.onnx"
NO_IMAGES = "No int8 file was made, because its calibration needs images."
TOO_INACCURATE = "The measured loss of the int8 file is above the allowed one: use the fp32 file."
LEFT_OUT = "The int8 file is therefore not in the folder; the format onnx-int8 writes it in any case."


@frozen(eq=False)
class Int8:
    """Hold the int8 file of an export, or why there is none.

    Attributes:
        file: The file; None if none was made.
        is_within: Whether its loss of accuracy is within the allowed one.
        accuracy: Accuracy of the file on the device.
        peak_bytes: Growth of the peak memory of a fresh process that loads the file and runs one batch.
        report: JSON values of the report; None if int8 was not asked for.
        is_kept: Whether the file is part of the product.
        notes: Sentences for the user.
    """

    file: ModelFile | None = None
    is_within: bool = False
    accuracy: Accuracy | None = None
    peak_bytes: int | None = None
    report: Mapping[str, Any] | None = None
    is_kept: bool = False
    notes: tuple[str, ...] = ()

    def record(self, arch: Architecture, latency: Latency | None) -> ModelRecord:
        """Return the record of the file."""
        assert self.file is not None  # noqa: S101 -- only a file that was made has a record
        return model_record(
            self.file,
            "int8",
            arch,
            accuracy=self.accuracy,
            latency=latency,
            peak_bytes=self.peak_bytes,
            graph=describe_form(STANDARD),
        )


def check_int8(request: ExportRequest, data: ExportData | None) -> None:
    """Check that there are images if an int8 file is asked for.

    Raises:
        DataError: There are none.
    """
    if data is None and (request.format == ONNX_INT8 or request.qat):
        raise DataError(
            "an int8 file is asked for, and no images are given; training images calibrate it, and its loss of "
            "accuracy is measured on others",
            "give the images on which the network was trained with --data",
        )


def make_int8(request: ExportRequest, built: BuiltFile, target: Target, data: ExportData | None, say: Say) -> Int8:
    """Return the int8 file of a network, whose loss is measured on the device; without a file, its notes say why.

    Args:
        request: What is asked for.
        built: The fp32 file.
        target: The device.
        data: Source of the images; None if there are none.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: The file cannot be made, and it is asked for.
    """
    if request.format == ONNX:
        return Int8()
    if data is None:
        return Int8(notes=(NO_IMAGES,))
    try:
        return _quantized(request, built, target, data, say)
    except DeviceLostError:
        raise
    except DeviceError as error:
        if request.format == ONNX_INT8:
            raise
        return Int8(notes=(f"No int8 file was made: {error.problem}. The fp32 file is recommended.",))


def _quantized(request: ExportRequest, built: BuiltFile, target: Target, data: ExportData, say: Say) -> Int8:
    form = built.form
    # The test images choose no setting, so that the loss on them is not too optimistic.
    choosing, judging = (Labeled(form.inputs(each), each.labels.cpu().numpy()) for each in (data.val, data.test))
    inputs = QuantizationInputs(form.inputs(data.train(MOST_CALIBRATION_IMAGES)), choosing, judging)
    # The forms that may be faster in fp32 have operators for which there are no int8 kernels.
    model = export_graph(form.network, batch=request.fixed_batch, preprocessing=request.preprocess)
    found = quantize_within(model, inputs, target.run, max_loss=request.max_loss, say=say)
    if request.qat and (found.settings.kept or not found.within):
        found = fine_tuned(found, as_file(model), form.network, data.for_training(), inputs, target.run, say=say)
    made = as_file(found.model, INT8_FILE)
    return Int8(
        made,
        found.within,
        data.accuracy(target.logits(made, form, data.test)),
        target.peak_bytes(made, form),
        found.as_json(),
        notes=(*found.notes, *(() if found.within else (TOO_INACCURATE,))),
    )


def decide(request: ExportRequest, int8: Int8, speed_up: SpeedUp | None) -> Int8:
    """Return whether an int8 file is part of the product, with its speed in the report.

    Args:
        request: What is asked for.
        int8: The file.
        speed_up: How many times as fast it is as the fp32 file; None if there is no file.
    """
    if int8.report is None or speed_up is None:
        return int8
    is_worth_it = int8.is_within and speed_up.worthwhile
    is_kept = is_worth_it or request.format == ONNX_INT8
    recommended = "int8" if is_worth_it else "fp32"
    return attrs.evolve(
        int8,
        report={**int8.report, "speed_up": speed_up.as_json(), "recommended": recommended},
        is_kept=is_kept,
        notes=(*int8.notes, speed_up.recommendation(), *(() if is_kept else (LEFT_OUT,))),
    )
