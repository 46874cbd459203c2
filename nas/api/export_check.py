"""The check of an exported file against the trained network: equal logits but for rounding, or no export."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.api.export_images import ExportData
from nas.api.export_source import Say
from nas.data.wording import counted
from nas.device.model_file import ModelFile
from nas.errors import WeightsError
from nas.export.agreement import (
    MOST_GRAY_LEVELS,
    MOST_MEAN_GRAY_LEVELS,
    TOLERANCE,
    Agreement,
    PixelAgreement,
    compare_logits,
    compare_pixels,
)
from nas.export.graph import known_normalization, preprocessing_file
from nas.export.inputs import GENERATED, InputForm, generated_images, resized_images, with_changed_pixels
from nas.export.target import Target

if TYPE_CHECKING:
    from nas.data.base import Images
    from nas.weights.base import TrainedNetwork


def reference_logits(network: "TrainedNetwork", images: "Images") -> NDArray[np.float32]:
    """Return the logits of the trained network in torch, on the CPU: GPUs may round convolutions to TF32."""
    from nas.train.prediction import Predictor

    logits: NDArray[np.float32] = (
        Predictor(known_normalization(network), "cpu").logits(network.module(), images).numpy()
    )
    return logits


def check_file(file: ModelFile, form: InputForm, target: Target, data: ExportData | None, say: Say) -> dict[str, Any]:
    """Compare the logits of a file on the device with those of the trained network.

    Args:
        file: The file.
        form: The network, and the inputs of the file.
        target: The device.
        data: Source of the images; without one, images are generated.
        say: Function that is called with sentences about the progress.

    Returns:
        What was compared and how well it agrees, as JSON values.

    Raises:
        WeightsError: The file does not agree with the network.
        DeviceError: The device fails.
    """
    images = data.val if data else generated_images(form.network, GENERATED)
    what = "validation" if data else "generated"
    say(f"the file is compared with the trained network on {len(images):,} {what} images")
    expected = reference_logits(form.network, images)
    agreement = compare_logits(expected, target.logits(file, form, images))
    _accept(agreement, what)
    stored = check_stored(file, form, target, data, say) if data and form.preprocess else []
    values = agreement.as_json()
    names = data.val_names if data else ()
    for each in values["changed"] if names else ():
        each["name"] = names[each["image"]]
    return {"images_are": what, **values, "resized": stored}


def check_stored(file: ModelFile, form: InputForm, target: Target, data: ExportData, say: Say) -> list[dict[str, Any]]:
    """Compare a file that resizes images with Pillow and the trained network, on images of their stored sizes.

    The pixels are compared first, and may differ by rounding alone. The logits may then differ as far as those of the
    trained network itself do where pixels change by one gray level.

    Returns:
        What was compared for each size; nothing where all images are stored in the network's size.

    Raises:
        WeightsError: The file does not agree with the network.
        DeviceError: The device fails.
    """
    alone = preprocessing_file(file)
    found = []
    for stored in data.stored():
        height, width = stored.shape[1:3]
        say(f"the resizing is compared with that of Pillow on {counted(len(stored), 'image')} of {width} x {height}")
        resized = resized_images(stored, form.network.arch.resolution)
        pixels = _compare_pixels(resized, target.run_file(alone, stored), form.network)
        expected = reference_logits(form.network, resized)
        tolerance = max(TOLERANCE, _response(expected, resized, form.network))
        agreement = compare_logits(expected, target.run_file(file, stored), tolerance=tolerance)
        _accept(agreement, "resized validation")
        found.append({"size": [width, height], "gray_levels": pixels.largest, **agreement.as_json()})
    return found


def _compare_pixels(resized: "Images", found: NDArray[np.float32], network: "TrainedNetwork") -> PixelAgreement:
    """Compare images that a file resized with those of Pillow.

    Raises:
        WeightsError: They differ by more than rounding.
    """
    reference = InputForm(network, preprocess=False).inputs(resized)
    pixels = compare_pixels(reference, found.reshape(reference.shape), known_normalization(network).std)
    if not pixels.agrees:
        raise WeightsError(
            f"the device resizes images differently than Pillow: pixels differ by up to {pixels.largest:g} gray "
            f"levels, and by {pixels.largest_mean:g} in the mean of an image; at most {MOST_GRAY_LEVELS:g} and "
            f"{MOST_MEAN_GRAY_LEVELS:g} are rounding",
            "nothing was written; give --no-preprocess, and resize the images outside of the file",
        )
    return pixels


def _response(expected: NDArray[np.float32], images: "Images", network: "TrainedNetwork") -> float:
    """Return how far the logits of the trained network change where each pixel changes by up to one gray level."""
    return compare_logits(expected, reference_logits(network, with_changed_pixels(images))).largest


def _accept(found: Agreement, what: str) -> None:
    if found.agrees:
        return
    wrong = [each for each in found.changed if not each.margin <= found.tolerance]
    raise WeightsError(
        f"the exported file does not agree with the trained network on {found.images:,} {what} images: its logits "
        f"differ by up to {found.largest:.2g} of their magnitude, and {len(wrong):,} images have another class without "
        f"a near tie; at most {found.tolerance:g} is rounding",
        "nothing was written; the device may compute with a lower precision, so export with --device cpu to learn "
        "whether the device is the cause",
    )
