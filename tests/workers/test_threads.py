"""Threads of numerical libraries: which numbers are tried, which is chosen, and that limits end with their context."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.workers.threads import choose_threads, limited_threads, thread_counts


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (0, (1,))])
def test_powers_of_two_and_all_cores_are_tried(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts


def made_up(seconds: dict[int, float]) -> Callable[[], float]:
    """Return a duration that depends on the threads that torch may use."""
    return lambda: seconds[torch.get_num_threads()]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({1: 3.7, 2: 46.0}, 1),  # a busy machine of two cores
        ({1: 1.0, 2: 0.55}, 2),
        ({1: 1.0, 2: 0.95}, 1),  # saves less than a tenth
        ({1: 1.0, 2: 0.6, 4: 0.58}, 2),
    ],
)
def test_the_fewest_threads_that_are_about_as_fast_as_any_are_chosen(seconds: dict[int, float], chosen: int) -> None:
    choice = choose_threads(made_up(seconds), max(seconds))
    assert choice.threads == chosen
    assert choice.seconds == seconds


@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_a_moment_of_other_work_does_not_decide(noise: list[float]) -> None:
    extra = iter([noise[0], noise[1], 0.0, 0.0])
    choice = choose_threads(lambda: {1: 1.0, 2: 0.5}[torch.get_num_threads()] + next(extra), 2)
    assert choice.threads == 2


def test_a_limit_ends_with_its_context() -> None:
    before = torch.get_num_threads()
    with limited_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="inside"), limited_threads(1):
        raise ValueError("inside")
    assert torch.get_num_threads() == before
    with limited_threads(None):
        assert torch.get_num_threads() == before
