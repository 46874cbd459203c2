"""The evaluator's promises, kept by the made-up one of these tests and by the one that trains."""

import functools

import pytest
import torch

from nas.data.base import ImageData, Images, fingerprint
from nas.evaluate.base import Evaluator
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.recipe import Recipe
from tests.contracts.evaluator import SMALL, EvaluatorContract
from tests.search.fakes import FakeEvaluator


@functools.cache
def data() -> ImageData:
    """Two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> Images:
        labels = torch.arange(count) % 2
        noise = torch.randint(0, 120, (count, 3, 8, 8), generator=generator)
        return Images((noise + 60 * labels[:, None, None, None]).to(torch.uint8), labels)

    parts = part(24), part(12), part(4)
    mark = fingerprint(("dark", "bright"), parts)
    return ImageData("squares", ("dark", "bright"), *parts, (0.35,) * 3, (0.2,) * 3, mark)


class TestFakeEvaluator(EvaluatorContract):
    def evaluator(self) -> Evaluator:
        return FakeEvaluator()


class TestTrainEvaluator(EvaluatorContract):
    def evaluator(self) -> Evaluator:
        return TrainEvaluator(data(), recipe=Recipe(batch_size=8))


@pytest.mark.parametrize("seed", [1, 2])
def test_another_seed_is_told_apart_and_scores_otherwise(seed: int) -> None:
    first, other = (TrainEvaluator(data(), seed=s, recipe=Recipe(batch_size=8)) for s in (0, seed))
    assert first.describe() != other.describe()
    assert list(first.evaluate(SMALL, 3)) != list(other.evaluate(SMALL, 3))
