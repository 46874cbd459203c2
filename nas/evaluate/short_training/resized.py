"""Trainings of networks that are scaled: each at its own resolution, with several seeds."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs
import torch
from attrs import field, frozen

from nas.data.base import ImageData
from nas.data.load import load_images
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.defaults import METRIC_NAMES
from nas.train.device import find_device
from nas.train.precision import precision_on
from nas.train.recipe import Recipe

# Held at once: as many as the evaluators that a check compares in turn; more would take memory for little.
RESOLUTIONS_HELD = 3


@lru_cache(maxsize=RESOLUTIONS_HELD)
def images_of(source: str, resolution: int, images: int | None) -> ImageData:
    """See `load_images`; the last few are held."""
    return load_images(source, resolution=resolution, images=images)


@frozen
class TrainEvaluators:
    """See `Evaluators`.

    Attributes:
        source: of the images, as `load_images` reads it.
        images: how many to train on; None takes all.
        device: as `find_device` gives it.
        threads: of torch, set for the whole process; None leaves them.
        recipe: how each training goes.
        metric: see `TrainEvaluator`.
        fingerprint: of the images at one resolution, so that a study tells when they have changed; "" tells nothing.
        place: Absolute path of the images, for workers with another working directory; "" takes the source.
    """

    source: str
    images: int | None = None
    device: str = field(default="cpu", converter=find_device)
    threads: int | None = None
    recipe: Recipe = field(factory=Recipe)
    metric: str = METRIC_NAMES[0]
    fingerprint: str = ""
    place: str = ""

    def at(self, resolution: int, seed: int) -> TrainEvaluator:
        """See `Evaluators`.

        Raises:
            DataError: the images cannot be read.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        data = images_of(self.place or self.source, resolution, self.images)
        return TrainEvaluator(data, seed=seed, device=self.device, recipe=self.recipe, metric=self.metric)

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluators`."""
        return {
            "evaluator": "train",
            "data": self.source,
            "images": self.images,
            "fingerprint": self.fingerprint,
            "recipe": attrs.asdict(self.recipe),
            "precision": precision_on(self.device, self.recipe.precision),
            # Studies from before there was a choice say nothing of it.
            **({} if self.metric == METRIC_NAMES[0] else {"metric": self.metric}),
        }
