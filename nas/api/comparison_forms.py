"""Forms of the images that the networks of a comparison take when their accuracies are measured."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from nas.device.onnx_check import CheckedFile
    from nas.export.product import Product
    from nas.weights.base import TrainedNetwork


@frozen(eq=False)
class ImageForm:
    """Describe the images of a network that can be given labeled images.

    Attributes:
        normalization: Means and standard deviations of the channels; None for a file that takes uint8 images.
        classes: Names of the classes in the order of the logits; None if they are unknown.
    """

    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
    classes: tuple[str, ...] | None


def trained_form(network: "TrainedNetwork") -> tuple[ImageForm | None, str]:
    """Return the form of the images of a trained network; None with the reason where it is unknown."""
    if network.normalization is None:
        return None, "the normalization of its images is unknown"
    return ImageForm((network.normalization.mean, network.normalization.std), network.classes), ""


def product_form(product: "Product") -> ImageForm:
    """Return the form of the images of an export."""
    return ImageForm(None if product.preprocessing else (product.mean, product.std), product.classes)


def stated_form(checked: "CheckedFile") -> tuple[ImageForm | None, str]:
    """Return the form of the images that the metadata of a file state, as `nas export` writes them; or None and why."""
    classes = _stated(checked.metadata, "classes")
    named = (
        isinstance(classes, list) and len(classes) == checked.classes and all(isinstance(one, str) for one in classes)
    )
    names = tuple(classes) if named else None
    if checked.dtype.name == "uint8":
        return ImageForm(None, names), ""
    stated = _stated(checked.metadata, "normalization")
    with suppress(TypeError, KeyError, ValueError, OverflowError):
        mean, std = (tuple(float(each) for each in stated[key]) for key in ("mean", "std"))
        if (
            len(mean) == len(std) == checked.shape[0]
            and min(std) > 0
            and all(abs(each) < 1e6 for each in (*mean, *std))
        ):
            return ImageForm((mean, std), names), ""
    return None, "it does not state the normalization of its images"


def _stated(metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata.get(key, "null"))
    except (ValueError, RecursionError):
        return None
