"""Trainings that run out of memory, made up: a step with too many images says so as torch does."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from torch import Generator, Tensor

from nas.errors import EvaluationError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.loop import Training
from nas.train.recipe import Recipe
from tests.evaluate.colours import TINY as ARCH
from tests.evaluate.colours import make_data

RECIPE = Recipe(batch_size=32, learning_rate=0.004)


def evaluator(**given: Any) -> TrainEvaluator:
    rest: dict[str, Any] = {"data": make_data(96, lift=10), "recipe": RECIPE} | given
    return TrainEvaluator(**rest)


@pytest.fixture(name="limit")
def _limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Lets memory suffice for so many images, from that step on."""
    step = Training.step

    def set_limit(images: int, from_step: int = 0) -> None:
        taken = 0

        def limited(training: Training, batch: Tensor, rate: float, generator: Generator) -> Tensor:
            nonlocal taken
            taken += 1
            if len(batch) > images and taken > from_step:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return step(training, batch, rate, generator)

        monkeypatch.setattr(Training, "step", limited)

    return set_limit


@pytest.mark.parametrize("fits", [16, 8])
def test_it_begins_again_with_half_the_batch_until_it_fits(limit: Callable[..., None], fits: int) -> None:
    halved = attrs.evolve(RECIPE, batch_size=fits, learning_rate=0.004 * (fits / 32) ** 0.5)
    expected = list(evaluator(recipe=halved).evaluate(ARCH, 3))
    limit(fits)
    tried = evaluator()
    assert list(tried.evaluate(ARCH, 3)) == expected
    assert tried.remarks(ARCH) == {"batch_size": fits}


def test_epochs_that_were_told_are_trained_again_but_not_told_again(limit: Callable[..., None]) -> None:
    large = list(evaluator().evaluate(ARCH, 3))
    small = list(evaluator(recipe=RECIPE.smaller()).evaluate(ARCH, 3))
    assert large != small
    limit(16, from_step=4)  # of three an epoch
    steps: list[int] = []
    tried = evaluator(on_batch=lambda step, _steps, _loss: steps.append(step))
    assert list(tried.evaluate(ARCH, 3)) == [large[0], small[1], small[2]]
    assert steps == [*range(1, 5), *range(1, 19)]


def test_there_is_a_smallest_batch(limit: Callable[..., None]) -> None:
    limit(7)
    tried = evaluator()
    with pytest.raises(EvaluationError, match="out of memory in epoch 1 with batches of 8 images, and fewer are not"):
        list(tried.evaluate(ARCH, 3))


def test_enough_memory_is_nothing_to_remark_even_after_a_lack_of_it(
    limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = evaluator()
    limit(16)
    list(tried.evaluate(ARCH, 1))
    assert tried.remarks(ARCH) == {"batch_size": 16}
    monkeypatch.undo()
    list(tried.evaluate(ARCH, 1))
    assert tried.remarks(ARCH) == {}
    assert tried == evaluator(data=tried.data)


def test_what_a_failed_training_held_is_let_go_before_the_next(
    limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    start = TrainEvaluator._start

    def watched(*given: Any) -> Training:
        gc.disable()  # nothing may wait for the collector
        assert all(model() is None for model in alive)
        training = start(*given)
        alive.append(weakref.ref(training.model))
        return training

    monkeypatch.setattr(TrainEvaluator, "_start", watched)
    limit(8)
    try:
        assert len(list(evaluator().evaluate(ARCH, 2))) == 2
    finally:
        gc.enable()
    assert len(alive) == 3


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 0.5), ("adamw", 0.5**0.5), ("rmsprop", 0.5**0.5)])
def test_the_learning_rate_goes_with_the_batch(optimizer: str, factor: float) -> None:
    recipe = Recipe(optimizer=optimizer, batch_size=17, learning_rate=0.1)
    smaller = recipe.smaller()
    assert smaller is not None
    assert smaller == attrs.evolve(recipe, batch_size=8, learning_rate=smaller.learning_rate)
    assert smaller.learning_rate == pytest.approx(0.1 * factor)
    assert smaller.smaller() is None
