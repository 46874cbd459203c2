"""The last resort for an int8 file: fine-tuning of the network for the roundings of int8."""

import attrs

from nas.api.export_images import ExportData
from nas.api.export_source import Say
from nas.data.base import ImageData
from nas.data.load import load_images
from nas.export.built import BuiltFile
from nas.export.graph import model_of
from nas.export.quantization.graph import rounded_parts
from nas.export.quantization.records import QuantizationInputs, QuantizedModel, Run
from nas.export.quantization.search import quantize_with_ranges
from nas.train.assessment.classifiers import with_labels_of
from nas.train.quantization_aware import (
    LARGEST_7_BIT_WEIGHT,
    LARGEST_WEIGHT,
    Roundings,
    fine_tune_for_int8,
)

EPOCHS = 4
METHOD = "qat"


def with_fine_tuning(
    built: BuiltFile, found: QuantizedModel, inputs: QuantizationInputs, run: Run, data: ExportData, say: Say
) -> QuantizedModel:
    """Return the int8 graph of the fine-tuned network, or the given one where that is the better one.

    Args:
        built: The fp32 file and its network.
        found: The best int8 graph without fine-tuning.
        inputs: Images for choosing and judging.
        run: Function that returns logits on the device.
        data: Source of the images.
        say: Function that is called with sentences about the progress.

    Raises:
        EvaluationError: A loss is not finite.
        DeviceError: The device fails.
    """
    say(f"int8: the network is fine-tuned for int8 in {EPOCHS} epochs")
    parts = rounded_parts(found.whole)
    largest = LARGEST_7_BIT_WEIGHT if found.settings.reduce_range else LARGEST_WEIGHT
    roundings = Roundings(parts.ranges, parts.layers, largest)
    network = built.form.network
    tuned = fine_tune_for_int8(network, _images(data), roundings, epochs=EPOCHS, say=say)
    made = quantize_with_ranges(
        built.rebuilt(tuned),
        inputs,
        run,
        {METHOD: parts.ranges},
        max_loss=found.max_loss,
        compared=model_of(built.file),
        say=say,
    )
    is_better = (made.within, -len(made.settings.kept)) > (found.within, -len(found.settings.kept))
    say(f"int8: the loss after the fine-tuning is {made.loss}, before it {found.loss}")
    return made if is_better else found


def _images(data: ExportData) -> ImageData:
    """Return the training and validation images, with labels that are indices of the logits of the network."""
    arch = data.network.arch
    loaded = load_images(
        data.source, resolution=arch.resolution, channels=arch.in_channels, validation_share=data.validation_share
    )
    train, val = (
        with_labels_of(split, loaded.classes, data.network.classes, arch.classes)
        for split in (loaded.train, loaded.val)
    )
    return attrs.evolve(loaded, train=train, val=val, classes=data.network.classes or loaded.classes)
