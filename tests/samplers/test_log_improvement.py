"""The logarithm of the expected improvement, also where the improvement itself is too small for a number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from nas.samplers.encoding import Floats
from nas.samplers.surrogate import LEAST_ERROR, log_expected_improvement, to_accuracy, to_level


def log_improvement(mean: float, spread: float, accuracy: float) -> float:
    return float(log_expected_improvement(np.array([mean]), np.array([spread]), np.array([accuracy]))[0])


def integrated(mean: float, spread: float, accuracy: float) -> float:
    """The logarithm of the integral over all levels that exceed the accuracy, with its largest factor taken out.

    With the level `bound + spread * u`, the improvement is `allowed * (1 - exp(-spread * u))`, and the density of `u`
    is `phi(u - margin) = phi(margin) * exp(u * margin - u^2 / 2)`.
    """
    allowed = 1 + LEAST_ERROR - accuracy
    margin = (mean + np.log(allowed)) / spread
    # Far below the bound the integrand is as narrow as 1 / |margin|.
    end = max(margin, 0) + 12 if margin > -3 else 60 / -margin

    def integrand(u: float) -> float:
        return float(-np.expm1(-spread * u) * np.exp(u * margin - u**2 / 2))

    value, _ = quad(integrand, 0, end, epsabs=0, epsrel=1e-10, limit=200)
    return float(np.log(allowed) + norm.logpdf(margin) + np.log(value))


@pytest.mark.parametrize("mean", [-2.0, 0.5, 2.2, 2.4, 4.0])
@pytest.mark.parametrize("spread", [0.001, 0.02, 0.3, 1.5])
@pytest.mark.parametrize("accuracy", [0.0, 0.6, 0.9, 0.985])
def test_it_is_the_logarithm_of_the_integral(mean: float, spread: float, accuracy: float) -> None:
    margin = (mean + np.log(1 + LEAST_ERROR - accuracy)) / spread
    if margin > 8:  # the mean itself: the level is certain to exceed the bound
        exact = np.log(1 + LEAST_ERROR - np.exp(spread**2 / 2 - mean) - accuracy)
    else:
        exact = integrated(mean, spread, accuracy)
    assert log_improvement(mean, spread, accuracy) == pytest.approx(exact, rel=1e-8, abs=1e-7)


@pytest.mark.parametrize("margin", [-50.0, -1e3, -1e5])
@pytest.mark.parametrize("spread", [0.01, 0.2])
def test_far_below_it_is_the_leading_term_of_its_expansion(margin: float, spread: float) -> None:
    """The improvement is `allowed * spread * phi(m) / m^2`, up to terms of relative size `1 / m`, for large `-m`."""
    accuracy = 0.9
    allowed = 1 + LEAST_ERROR - accuracy
    mean = -np.log(allowed) + margin * spread
    leading = np.log(allowed * spread) + norm.logpdf(margin) - 2 * np.log(-margin)
    assert log_improvement(mean, spread, accuracy) == pytest.approx(leading, rel=1e-9, abs=4 / abs(margin) + 1e-5)


def test_candidates_far_below_are_ordered_where_the_improvement_is_no_number() -> None:
    means = np.linspace(-3, 1.5, 40)
    found = log_expected_improvement(means, np.full(40, 0.01), np.full(40, 0.9))
    assert (np.exp(found) == 0).all()
    assert (np.diff(found) > 0).all()
    spreads = np.linspace(0.001, 0.02, 40)
    found = log_expected_improvement(np.full(40, 1.0), spreads, np.full(40, 0.9))
    assert (np.exp(found) == 0).all()
    assert (np.diff(found) > 0).all()


def test_both_forms_agree_where_they_meet() -> None:
    for spread in (0.01, 0.3, 2.0):
        margins = 5 + np.array([-1e-9, 1e-9])
        low, high = log_expected_improvement(margins * spread, np.full(2, spread), np.full(2, LEAST_ERROR))
        assert low == pytest.approx(high, abs=1e-7)


@given(mean=st.floats(-5, 8), spread=st.floats(1e-4, 5), beyond=st.floats(0, 1))
def test_what_cannot_be_reached_is_minus_infinity(mean: float, spread: float, beyond: float) -> None:
    assert log_improvement(mean, spread, 1 + LEAST_ERROR + beyond) == -np.inf


@given(mean=st.floats(-1e3, 1e3), spread=st.floats(1e-6, 1e3), accuracy=st.floats(0, 1))
def test_whatever_is_predicted_it_is_a_number(mean: float, spread: float, accuracy: float) -> None:
    assert np.isfinite(log_improvement(mean, spread, accuracy))


@given(mean=st.floats(-3, 6), spread=st.floats(1e-3, 3), accuracy=st.floats(0, 0.99), more=st.floats(0.01, 1))
def test_it_grows_with_the_mean(mean: float, spread: float, accuracy: float, more: float) -> None:
    assert log_improvement(mean + more, spread, accuracy) > log_improvement(mean, spread, accuracy) - 1e-9


def test_a_certain_improvement_is_its_difference() -> None:
    means: Floats = to_level(np.array([0.7, 0.9, 0.95]))
    found = log_expected_improvement(means, np.full(3, 1e-6), np.full(3, 0.6))
    assert np.exp(found) == pytest.approx(to_accuracy(means) - 0.6, rel=1e-5)
