"""Extrapolated learning curves, and how far off they are."""

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.learning_curves import DEFAULT_CURVES, DEFAULT_ERROR, LearningCurves, _medians_of_others


def curves_of(*curves: tuple[float, ...]) -> LearningCurves:
    made = LearningCurves()
    for curve in curves:
        made.add(curve)
    return made


def test_without_complete_curves_an_accuracy_stays_and_its_error_is_the_documented_one() -> None:
    assert curves_of().extrapolate([0.2, 0.4]) == pytest.approx((0.4, (0.4 * DEFAULT_ERROR) ** 2))


def test_the_error_is_that_of_leaving_curves_out() -> None:
    # Growth from the first epoch by 2, 3 and 4; without each of them, the median of the others is 3.5, 3 and 2.5.
    squares = [(2 / 3.5 - 1) ** 2, (3 / 3 - 1) ** 2, (4 / 2.5 - 1) ** 2]
    expected = (sum(squares) + DEFAULT_CURVES * DEFAULT_ERROR**2) / (3 + DEFAULT_CURVES)
    accuracy, variance = curves_of((0.1, 0.2), (0.1, 0.3), (0.2, 0.8)).extrapolate([0.1])
    assert accuracy == pytest.approx(0.3)
    assert variance == pytest.approx(0.3**2 * expected)


def test_another_curve_is_taken_in_after_an_extrapolation() -> None:
    curves = curves_of((0.1, 0.2))
    assert curves.extrapolate([0.1])[0] == pytest.approx(0.2)
    curves.add((0.1, 0.4))
    assert curves.extrapolate([0.1])[0] == pytest.approx(0.3)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=9))
def test_the_medians_of_the_others_are_what_the_standard_library_finds(values: list[float]) -> None:
    ordered = sorted(values)
    expected = [median(ordered[:i] + ordered[i + 1 :]) for i in range(len(ordered))]
    assert _medians_of_others(np.array(ordered)) == pytest.approx(np.maximum(expected, 1e-9))


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=3), max_size=5), st.lists(st.floats(0, 1), min_size=1))
def test_any_curves_give_an_accuracy_and_a_variance(curves: list[list[float]], pruned: list[float]) -> None:
    accuracy, variance = curves_of(*map(tuple, curves)).extrapolate(pruned)
    assert 0 <= accuracy <= 1
    assert 0 <= variance <= 1


def test_the_variance_is_that_of_new_curves() -> None:
    """Of growth factors that are log-normal, the standardized errors of new curves have a mean square near 1."""
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(200):
        factors = np.exp(rng.normal(np.log(1.5), 0.1, 21))
        curves = curves_of(*((0.4, 0.4 * factor) for factor in factors[1:]))
        accuracy, variance = curves.extrapolate([0.4])
        squares.append((accuracy - 0.4 * factors[0]) ** 2 / variance)
    assert np.mean(squares) == pytest.approx(1, abs=0.3)
