"""The check of an exported file against the trained network: equal logits but for rounding, or no export."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.api.export_device import Target
from nas.api.export_images import GENERATED, ExportData, InputForm, Say, generated_images
from nas.device.model_file import ModelFile
from nas.errors import WeightsError
from nas.export.agreement import RESIZED_TOLERANCE, Agreement, compare_logits, merged

if TYPE_CHECKING:
    from nas.data.base import Images
    from nas.weights.base import TrainedNetwork


def reference_logits(network: "TrainedNetwork", images: "Images") -> NDArray[np.float32]:
    """Return the logits of the trained network in torch, on the CPU: GPUs may round convolutions to TF32."""
    from nas.export.graph import known_normalization
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
    stored = check_stored(file, form, target, data, say) if data and form.preprocess else None
    return {"images_are": what, **agreement.as_json(), "stored": stored and stored.as_json()}


def check_stored(file: ModelFile, form: InputForm, target: Target, data: ExportData, say: Say) -> Agreement | None:
    """Compare a file that resizes images with Pillow and the trained network, on images of their stored sizes.

    Returns:
        None where all images are stored in the network's size.

    Raises:
        WeightsError: The file does not agree with the network.
        DeviceError: The device fails.
    """
    found = []
    for images in data.stored():
        say(f"the resizing is compared with that of Pillow on {len(images)} images of {images[0].shape[:2]} pixels")
        expected = reference_logits(form.network, _resized(images, form.network.arch.resolution))
        found.append(compare_logits(expected, target.run_file(file, images), tolerance=RESIZED_TOLERANCE))
        _accept(found[-1], "resized validation")
    return merged(found) if found else None


def _resized(images: NDArray[np.uint8], resolution: int) -> "Images":
    """Return images as training and prediction get them."""
    import torch

    from nas.data.base import Images
    from nas.data.decode import fit_pixels

    pixels = np.stack([fit_pixels(image, resolution) for image in images])
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return Images(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels)


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
