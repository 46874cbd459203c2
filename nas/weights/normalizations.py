"""Normalizations that users name, for sources that do not state their own."""

from collections.abc import Mapping
from statistics import fmean
from types import MappingProxyType

from nas.errors import WeightsError
from nas.weights.base import Normalization

# The values are those of images with three channels.
NAMED: Mapping[str, Normalization] = MappingProxyType(
    {
        # Mean and standard deviation of the images of ImageNet, as torchvision states them.
        "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "0..1": Normalization((0.0,) * 3, (1.0,) * 3),
        "-1..1": Normalization((0.5,) * 3, (0.5,) * 3),
    }
)


def parse_normalization(text: str, channels: int = 3) -> Normalization:
    """Return a normalization by its name, or one given as MEAN/STD.

    Args:
        text: "imagenet", "0..1", "-1..1", or a mean and a standard deviation of pixel values from 0 to 1, each as one
            number or as numbers separated by commas, one for each channel.
        channels: Number of channels of the images.

    Raises:
        WeightsError: The text is none of these, or its numbers do not fit the channels.

    >>> parse_normalization("0.1307/0.3081", channels=1)
    Normalization(mean=(0.1307,), std=(0.3081,))
    """
    if text in NAMED and (text != "imagenet" or channels == len(NAMED[text].mean)):
        norm = NAMED[text]
        return norm if channels == len(norm.mean) else Normalization(norm.mean[:1] * channels, norm.std[:1] * channels)
    means, _, stds = text.partition("/")
    try:
        return Normalization(_per_channel(means, channels), _per_channel(stds, channels))
    except (ValueError, WeightsError):
        raise WeightsError(
            f"normalization {text!r:.80} cannot be used for images with {channels} channels",
            f"use one of {', '.join(NAMED)}, or MEAN/STD such as 0.485,0.456,0.406/0.229,0.224,0.225",
        ) from None


def with_channels(normalization: Normalization, channels: int) -> Normalization:
    """Return a normalization for another number of channels: each of them gets the averages over the channels.

    >>> with_channels(Normalization((0.25, 0.75), (0.5, 0.5)), 1)
    Normalization(mean=(0.5,), std=(0.5,))
    """
    if channels == len(normalization.mean):
        return normalization
    return Normalization(*((fmean(values),) * channels for values in (normalization.mean, normalization.std)))


def _per_channel(text: str, channels: int) -> tuple[float, ...]:
    values = tuple(map(float, text.split(",")))
    values = values * channels if len(values) == 1 else values
    if len(values) != channels:
        raise ValueError
    return values
