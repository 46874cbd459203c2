"""Training runs that are made up down to the image: which images of a validation split they classify correctly."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from attrs import frozen

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.noise import Correct, ValidationSplit

FREQUENT = 0.2  # share of the most frequent class


@frozen
class ImageEvaluator:
    """An evaluator whose networks are correct on a random share of the images; see `ImageEvaluators`."""

    made_by: "ImageEvaluators"
    resolution: int
    seed: int

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        for _ in range(budget):
            yield float(self.correct(arch).mean())

    def correct(self, arch: Architecture) -> Correct:
        images = self.made_by.images
        if self.made_by.accuracy is None:
            return np.arange(images) < FREQUENT * images
        text = f"{format_text(arch)} at {self.resolution} by {self.seed}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:4]))
        return rng.random(images) < self.made_by.accuracy

    def validation_split(self) -> ValidationSplit:
        return ValidationSplit(self.made_by.images, FREQUENT, float(self.made_by.images))

    def describe(self) -> Mapping[str, Any]:
        return self.made_by.describe()


@frozen
class ImageEvaluators:
    """Evaluators of networks that all have the same true accuracy; None always gives the most frequent class."""

    images: int
    accuracy: float | None

    def at(self, resolution: int, seed: int) -> ImageEvaluator:
        return ImageEvaluator(self, resolution, seed)

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "images", "data": "none", "images": self.images}
