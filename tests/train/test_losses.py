"""The losses at which a training run is stopped."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import EvaluationError
from nas.train.losses import TIMES, WINDOW, LossMonitor

GUESSING = math.log(5)


def add(losses: list[float]) -> None:
    monitor = LossMonitor(GUESSING)
    for step, loss in enumerate(losses, 41):
        monitor.add(2, step, loss)


@given(st.lists(st.floats(0, TIMES * GUESSING * 0.999), max_size=40))
def test_losses_below_ten_times_the_loss_of_guessing_are_accepted(losses: list[float]) -> None:
    add(losses)


@given(st.floats(TIMES * GUESSING * 1.001, 1e30))
def test_ten_losses_above_the_limit_are_a_divergence_and_name_the_step(loss: float) -> None:
    with pytest.raises(
        EvaluationError, match=f"diverged in epoch 2, step {40 + WINDOW}: the mean of the last 10 losses"
    ):
        add([loss] * WINDOW)
    add([loss] * (WINDOW - 1))


def test_a_single_high_loss_is_no_divergence() -> None:
    add([1.0] * WINDOW + [9 * TIMES] + [1.0] * WINDOW)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_an_error_at_once(loss: float) -> None:
    with pytest.raises(EvaluationError, match=f"the loss is {loss} in epoch 2, step 42"):
        add([1.0, loss])
