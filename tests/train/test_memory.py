"""Training runs that run out of memory; the tests raise torch's error in steps with too many images."""

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
from nas.train.loop import TrainingRun
from nas.train.recipe import Recipe
from tests.evaluate.colors import TINY as ARCH
from tests.evaluate.colors import make_data

RECIPE = Recipe(batch_size=32, learning_rate=0.004)


def make_evaluator(**changes: Any) -> TrainEvaluator:
    arguments: dict[str, Any] = {"data": make_data(96, lift=10), "recipe": RECIPE} | changes
    return TrainEvaluator(**arguments)


@pytest.fixture(name="limit")
def _limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Return a function that makes steps with more than so many images run out of memory, after a number of steps."""
    step = TrainingRun.step

    def set_limit(images: int, after_steps: int = 0) -> None:
        done = 0

        def limited(run: TrainingRun, batch: Tensor, learning_rate: float, generator: Generator) -> Tensor:
            nonlocal done
            done += 1
            if len(batch) > images and done > after_steps:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return step(run, batch, learning_rate, generator)

        monkeypatch.setattr(TrainingRun, "step", limited)

    return set_limit


@pytest.mark.parametrize("fits", [16, 8])
def test_a_run_out_of_memory_starts_again_with_half_the_batch_until_it_fits(
    limit: Callable[..., None], fits: int
) -> None:
    halved = attrs.evolve(RECIPE, batch_size=fits, learning_rate=0.004 * (fits / 32) ** 0.5)
    expected = list(make_evaluator(recipe=halved).evaluate(ARCH, 3))
    limit(fits)
    evaluator = make_evaluator()
    assert list(evaluator.evaluate(ARCH, 3)) == expected
    assert evaluator.metadata(ARCH) == {"batch_size": fits}


def test_accuracies_that_were_yielded_are_not_yielded_again_after_a_restart(limit: Callable[..., None]) -> None:
    large = list(make_evaluator().evaluate(ARCH, 3))
    small = list(make_evaluator(recipe=RECIPE.with_half_batch()).evaluate(ARCH, 3))
    assert large != small
    limit(16, after_steps=4)  # an epoch has three steps
    steps: list[int] = []
    evaluator = make_evaluator(on_batch=lambda step, _steps, _loss: steps.append(step))
    assert list(evaluator.evaluate(ARCH, 3)) == [large[0], small[1], small[2]]
    assert steps == [*range(1, 5), *range(1, 19)]


def test_the_batch_is_not_halved_below_the_smallest(limit: Callable[..., None]) -> None:
    limit(7)
    evaluator = make_evaluator()
    with pytest.raises(EvaluationError, match="out of memory in epoch 1 with batches of 8 images"):
        list(evaluator.evaluate(ARCH, 3))


def test_a_run_with_enough_memory_reports_no_batch_size_even_after_one_without(
    limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = make_evaluator()
    limit(16)
    list(evaluator.evaluate(ARCH, 1))
    assert evaluator.metadata(ARCH) == {"batch_size": 16}
    monkeypatch.undo()
    list(evaluator.evaluate(ARCH, 1))
    assert evaluator.metadata(ARCH) == {}
    assert evaluator == make_evaluator(data=evaluator.data)


def test_a_failed_run_frees_its_model_before_the_next_one_starts(
    limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[weakref.ref[Any]] = []
    start = TrainEvaluator._start

    def watched(*arguments: Any) -> TrainingRun:
        gc.disable()  # the models must be freed without the garbage collector
        assert all(model() is None for model in models)
        run = start(*arguments)
        models.append(weakref.ref(run.model))
        return run

    monkeypatch.setattr(TrainEvaluator, "_start", watched)
    limit(8)
    try:
        assert len(list(make_evaluator().evaluate(ARCH, 2))) == 2
    finally:
        gc.enable()
    assert len(models) == 3


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 0.5), ("adamw", 0.5**0.5), ("rmsprop", 0.5**0.5)])
def test_half_a_batch_has_a_lower_learning_rate(optimizer: str, factor: float) -> None:
    recipe = Recipe(optimizer=optimizer, batch_size=17, learning_rate=0.1)
    half = recipe.with_half_batch()
    assert half is not None
    assert half == attrs.evolve(recipe, batch_size=8, learning_rate=half.learning_rate)
    assert half.learning_rate == pytest.approx(0.1 * factor)
    assert half.with_half_batch() is None
