"""Tests of the comparison of logits and pixels, with values that were computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.export.agreement import Agreement, ChangedPrediction, compare_logits, compare_pixels

LOGITS = arrays(np.float32, (4, 3), elements=st.floats(-100, 100, width=32))


def test_the_difference_is_a_share_of_the_largest_magnitude_of_the_image() -> None:
    reference = np.array([[-4.0, 2.0, 1.0], [100.0, 0.0, 0.0]])
    found = np.array([[-4.0, 2.0, 1.5], [100.0, 1.0, 0.0]])
    agreement = compare_logits(reference, found, tolerance=0.2)
    assert agreement == Agreement(2, 0.2, 0.125)
    assert agreement.agrees


def test_a_changed_prediction_is_allowed_for_a_near_tie_only() -> None:
    reference = np.array([[10.0, 9.5, 0.0], [10.0, 4.0, 0.0]])
    near = compare_logits(reference, np.array([[9.4, 9.5, 0.0], [10.0, 4.0, 0.0]]), tolerance=0.07)
    assert near.changed == (ChangedPrediction(0, 0.05, 0, 1),)
    assert near.agrees
    wide = compare_logits(reference, np.array([[10.0, 9.5, 0.0], [4.0, 10.0, 0.0]]), tolerance=0.07)
    assert [each.image for each in wide.changed] == [1]
    assert not wide.agrees
    # The logits are within the tolerance, and the margin of the two best is not.
    margin = compare_logits(np.array([[1.0, 0.85]]), np.array([[0.9, 0.95]]), tolerance=0.11)
    assert not margin.agrees


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_numbers_never_agree(value: float) -> None:
    reference = np.ones((3, 2))
    found = reference.copy()
    found[1, 0] = value
    agreement = compare_logits(reference, found, tolerance=1e9)
    assert not agreement.agrees
    assert agreement.as_json()["largest"] is None


def test_logits_of_zero_are_compared_as_they_are() -> None:
    assert compare_logits(np.zeros((1, 2)), np.array([[0.0, 0.5]])).largest == 0.5


def test_logits_of_other_shapes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="shapes"):
        compare_logits(np.zeros((2, 3)), np.zeros((2, 1)))


@given(LOGITS)
def test_equal_logits_agree(logits: np.ndarray) -> None:
    agreement = compare_logits(logits, logits, tolerance=0)
    assert agreement == Agreement(4, 0, 0)
    assert agreement.agrees


@given(LOGITS, LOGITS)
def test_the_changed_predictions_are_those_of_numpy(first: np.ndarray, second: np.ndarray) -> None:
    changed = compare_logits(first, second).changed
    expected = [i for i in range(4) if first[i].argmax() != second[i].argmax()]
    assert [each.image for each in changed] == expected
    for each in changed:
        best, *others = sorted(first[each.image].tolist(), reverse=True)
        assert each.margin == pytest.approx((best - others[0]) / (max(map(abs, first[each.image].tolist())) or 1))


def test_pixels_are_compared_in_gray_levels() -> None:
    reference = np.zeros((1, 2, 2, 2))
    found = reference.copy()
    found[0, 0, 0, 0] = 1 / (255 * 0.5)
    found[0, 1, 1, 1] = -2 / (255 * 0.25)
    pixels = compare_pixels(reference, found, (0.5, 0.25))
    assert (pixels.images, pixels.largest, pixels.largest_mean) == (1, 2.0, 0.375)
    assert not pixels.agrees
    found[0, 1, 1, 1] = 0
    assert compare_pixels(reference, found, (0.5, 0.25)).agrees
    found[0, 1, 1, 1] = np.nan
    assert not compare_pixels(reference, found, (0.5, 0.25)).agrees
