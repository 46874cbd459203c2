"""Training evaluators for scaled networks: one for each resolution and seed."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs
import torch
from attrs import field, frozen

from nas.data.base import ImageData
from nas.data.load import load_images
from nas.data.names import printable
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.defaults import METRIC_NAMES
from nas.train.device import find_device
from nas.train.precision import resolve_precision
from nas.train.recipe import Recipe

# Number of resolutions whose images are kept in memory: a check of evaluators alternates between up to three of them.
RESOLUTIONS_HELD = 3


@lru_cache(maxsize=RESOLUTIONS_HELD)
def cached_images(
    source: str, resolution: int, images: int | None, channels: int = 3, validation_share: float | None = None
) -> ImageData:
    """Return images as `load_images` does, and keep those of the last few calls in memory.

    Args:
        source: Source of the images, as `load_images` takes it.
        resolution: Height and width in pixels.
        images: Number of training images, or None for all.
        channels: Number of channels of the images.
        validation_share: Share of the images that validates, as `load_images` takes it.

    Raises:
        DataError: The images cannot be loaded.
    """
    return load_images(
        source, resolution=resolution, images=images, channels=channels, validation_share=validation_share
    )


@frozen
class TrainEvaluators:
    """Make a `TrainEvaluator` for each resolution and seed; it implements `Evaluators`.

    Attributes:
        source: Source of the images, as `load_images` takes it.
        images: Number of training images, or None for all.
        device: Device name as `find_device` takes it; None chooses the fastest device.
        threads: Number of threads of torch, set for the whole process; None does not change it.
        recipe: Hyperparameters of each training run.
        metric: Name of the metric; see `TrainEvaluator`.
        fingerprint: Fingerprint of the images at one resolution, so that a study detects that they have changed; ""
            detects nothing.
        place: Absolute path of the images, for workers with another working directory; "" takes the source.
        channels: Number of channels of the images, as the networks take them.
        validation_share: Share of the images that validates, as `load_images` takes it; the fingerprint depends on it.
        full_resolution: Largest resolution of the networks of a search space with several; None trains each network on
            images that are loaded at the requested resolution. See `TrainEvaluator`.
        held: Height and width in pixels at which images are loaded once for all networks of such a space.
    """

    source: str
    images: int | None = None
    device: str = field(default="cpu", converter=find_device)
    threads: int | None = None
    recipe: Recipe = field(factory=Recipe)
    metric: str = METRIC_NAMES[0]
    fingerprint: str = ""
    place: str = ""
    channels: int = 3
    validation_share: float | None = None
    full_resolution: int | None = None
    held: int | None = None

    def at(self, resolution: int, seed: int) -> TrainEvaluator:
        """Return the evaluator of a resolution and a seed; see `Evaluators`.

        Raises:
            DataError: The images cannot be loaded.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        loaded = self.held or resolution
        data = cached_images(self.place or self.source, loaded, self.images, self.channels, self.validation_share)
        return TrainEvaluator(
            data,
            seed=seed,
            device=self.device,
            recipe=self.recipe,
            metric=self.metric,
            full_resolution=self.full_resolution,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return what the accuracies depend on except resolution and seed; see `Evaluators`."""
        return {
            "evaluator": "train",
            "data": printable(self.source),
            "images": self.images,
            "fingerprint": self.fingerprint,
            "recipe": attrs.asdict(self.recipe),
            "precision": resolve_precision(self.device, self.recipe.precision),
            # Studies that are older than the option have no metric among their settings, and used the default.
            **({} if self.metric == METRIC_NAMES[0] else {"metric": self.metric}),
            # Studies that are older than networks of other numbers of channels have no number among their settings.
            **({} if self.channels == 3 else {"channels": self.channels}),
            **({} if self.full_resolution is None else {"full_resolution": self.full_resolution, "held": self.held}),
        }
