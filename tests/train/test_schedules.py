"""Schedules of the learning rate, compared with torch's and with closed forms."""

import itertools
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from nas.train.schedules import FORMS, Schedule

STEPS = 41


@pytest.mark.parametrize(("name", "strategy"), [("one-cycle", "cos"), ("linear", "linear")])
def test_one_cycle_and_a_triangle_are_those_of_torch(name: str, strategy: Literal["cos", "linear"]) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch counts the last step of the warm-up as a whole number: 0.3 · 41 - 1 = 11.3.
    warm_up, initial, final = 10 / (STEPS - 1), 0.2, 0.05
    scheduler = OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=STEPS,
        pct_start=11 / STEPS,
        anneal_strategy=strategy,
        cycle_momentum=False,
        div_factor=1 / initial,
        final_div_factor=initial / final,
    )
    schedule = Schedule(name, warm_up, initial, final)
    for step in range(STEPS):
        assert schedule(step / (STEPS - 1)) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < STEPS - 1:
            scheduler.step()


def test_a_step_is_the_staircase_of_efficientnet() -> None:
    """The code of EfficientNet: factor ** floor(epoch / 2.4), linear from 0 in the first 5 epochs."""
    epochs = 350
    schedule = Schedule("step", warm_up=5 / epochs, step_share=2.4 / epochs, step_factor=0.97)
    for epoch in (0, 1, 4, 5.1, 7.1, 7.3, 100, 349.9):
        expected = epoch / 5 if epoch < 5 else 0.97 ** (epoch // 2.4)
        assert schedule(epoch / epochs) == pytest.approx(expected, rel=1e-9)


def test_an_exponential_runs_through_the_corners_of_the_staircase() -> None:
    step, smooth = (Schedule(name, step_share=0.25, step_factor=0.5) for name in ("step", "exponential"))
    for corner in (0, 0.25, 0.5, 0.75, 1):
        assert smooth(corner) == pytest.approx(step(corner))
    assert smooth(0.125) == pytest.approx(0.5**0.5)
    assert step(0.125) == 1


def test_three_steps_of_a_rounded_third_are_three_steps() -> None:
    schedule = Schedule("step", step_share=0.3333, step_factor=0.1)
    assert [schedule(done) for done in (0.33, 0.34, 0.66, 0.67)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    schedule = Schedule("constant", warm_up=0.5, initial=0.5)
    assert [schedule(done) for done in (0, 0.25, 0.5, 1)] == [0.5, 0.75, 1, 1]


@given(
    name=st.sampled_from(list(FORMS)),
    warm_up=st.floats(0, 0.99),
    initial=st.floats(0, 1),
    final=st.floats(0, 1),
    done=st.floats(0, 1),
)
def test_the_rate_stays_between_zero_and_its_peak(
    name: str, warm_up: float, initial: float, final: float, done: float
) -> None:
    assert 0 <= Schedule(name, warm_up, initial, final)(done) <= 1 + 1e-12


@pytest.mark.parametrize("name", FORMS)
def test_after_the_warm_up_the_rate_never_rises(name: str) -> None:
    schedule = Schedule(name, warm_up=0.25)
    rates = [schedule(done / 100) for done in range(25, 101)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))
