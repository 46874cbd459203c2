"""Statistics of noise: text forms, and estimates from simulated networks whose true values are known."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.noise import (
    Correct,
    Difference,
    ValidationSplit,
    difference,
    estimate,
    find_components,
    find_errors,
    pack,
    quantile,
    unpack,
)

SPLIT = ValidationSplit(images=62, chance=12 / 62, effective=62.0)


@given(st.lists(st.booleans(), max_size=70))
def test_correct_images_are_unpacked_as_they_were_packed(flags: list[bool]) -> None:
    packed = pack(np.array(flags, dtype=bool))
    assert packed.isascii()
    assert unpack(packed).tolist() == flags


@given(st.text(max_size=20))
def test_a_text_that_is_not_packed_is_refused_or_has_the_images_that_it_says(text: str) -> None:
    try:
        correct = unpack(text)
    except ValueError:
        return
    assert len(correct) == int(text.partition(":")[0])


@pytest.mark.parametrize("text", ["", "3", "3:", "x:oA==", "-1:", "³:oA==", "9:oA==", "3:oA", "3:?A==", " 3:oA=="])
def test_damaged_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="stored"):
        unpack(text)


def test_the_standard_error_of_an_accuracy_is_that_of_simulated_splits() -> None:
    """From 60 images upward, within a tenth, where neither all nor none are correct."""
    rng = np.random.default_rng(0)
    for images, accuracy in ((60, 0.5), (500, 0.93), (10_000, 0.7)):
        found = rng.binomial(images, accuracy, 20_000) / images
        error = ValidationSplit(images, 0.1, float(images)).standard_error(accuracy)
        assert error == pytest.approx(found.std(), rel=0.1)


def test_the_standard_error_is_never_zero() -> None:
    assert SPLIT.standard_error(0.0) > 0.01 < SPLIT.standard_error(1.0)


@pytest.mark.parametrize("networks", [1, 5, 40])
@pytest.mark.parametrize("images", [60, 500])
def test_networks_that_learned_nothing_rarely_exceed_chance(images: int, networks: int) -> None:
    """Each guesses by itself, which gives the best of them the highest accuracy that chance allows."""
    split = ValidationSplit(images, 0.2, float(images))
    rng = np.random.default_rng(1)
    best = rng.binomial(images, split.chance, (4000, networks)).max(axis=1) / images
    wrong = np.mean([split.exceeds_chance(accuracy, networks) for accuracy in best.tolist()])
    assert wrong < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 4000)


def test_networks_that_learned_something_exceed_chance() -> None:
    assert not SPLIT.exceeds_chance(12 / 62, networks=5)
    assert not SPLIT.exceeds_chance(0.0)
    # The binomial probability of at least 22 of 62 is .0016, and of at least 18 is .04.
    assert SPLIT.exceeds_chance(22 / 62, networks=10)
    assert SPLIT.exceeds_chance(18 / 62)
    assert not SPLIT.exceeds_chance(18 / 62, networks=2)


def test_nothing_exceeds_a_chance_of_one() -> None:
    assert not ValidationSplit(10, 1.0, 10.0).exceeds_chance(1.0)


def simulated(
    rng: np.random.Generator, networks: int, seeds: int, images: int, shares: tuple[float, float], training: float = 0.0
) -> NDArray[np.bool_]:
    """Return correct images `(networks, seeds, images)`; half of all are correct.

    The latent correlations `r` of two runs give correct images the correlation 2/π asin(r): a closed form for p = 1/2.
    """
    a, b = shares
    z = rng.standard_normal(images)
    u = rng.standard_normal((networks, 1, images))
    e = rng.standard_normal((networks, seeds, images))
    run = training * math.sqrt(2 * math.pi) * rng.standard_normal((networks, seeds, 1))  # the slope of Phi is 1/√(2π)
    return np.asarray(math.sqrt(a) * z + math.sqrt(b) * u + math.sqrt(1 - a - b) * e < run)


def correlation(latent: float) -> float:
    return 2 / math.pi * math.asin(latent)


@pytest.mark.parametrize("images", [60, 500, 5000])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.2), (0.0, 0.5), (0.8, 0.0)])
def test_the_components_are_found_again(images: int, a: float, b: float) -> None:
    """On average over splits: each one is estimated from few images."""
    rng = np.random.default_rng(2)
    found = [find_components(list(simulated(rng, 12, 3, images, (a, b)))) for _ in range(60)]
    common, network, single = (
        np.mean([getattr(each, name) for each in found]) * images for name in ("common", "network", "single")
    )
    # Correct and wrong images are added, and negative variances are set to 0: few images get slightly more than .25.
    slack = 0.02 if images < 500 else 0.008
    assert common == pytest.approx(0.25 * correlation(a), abs=slack)
    assert network == pytest.approx(0.25 * (correlation(a + b) - correlation(a)), abs=slack)
    assert single == pytest.approx(0.25 * (1 - correlation(a)), abs=slack)


def test_training_noise_is_found_beside_the_sampling_error() -> None:
    rng = np.random.default_rng(3)
    variances = [
        find_errors(
            ValidationSplit(500, 0.1, 500.0),
            [(rows.mean(axis=1).tolist(), list(rows)) for rows in simulated(rng, 10, 3, 500, (0.5, 0.2), 0.03)],
        ).training
        for _ in range(60)
    ]
    assert math.sqrt(np.mean(variances)) == pytest.approx(0.03, rel=0.1)


def test_one_network_has_no_covariance_with_others() -> None:
    assert find_components([]) is None
    assert find_components([[np.array([True, False])]]) is None


def test_without_a_second_seed_the_parts_of_a_run_are_not_known() -> None:
    found = find_components([list(rows) for rows in simulated(np.random.default_rng(4), 5, 1, 100, (0.5, 0.2))])
    assert found is not None
    assert math.isnan(found.network)
    assert math.isnan(found.seed)
    assert found.single > 0


def test_equal_predictions_leave_a_sampling_error() -> None:
    """Networks that agree on every image are no proof that the accuracy is exact."""
    row = np.arange(62) < 12
    found = find_components([[row], [row], [row]])
    assert found is not None
    assert found.single > 0
    errors = find_errors(SPLIT, [([12 / 62], [row])] * 5)
    assert errors.shared(12 / 62) > 0.8 * SPLIT.standard_error(12 / 62) ** 2
    assert errors.own(12 / 62, 1) > 0


def test_the_errors_of_an_accuracy_add_up() -> None:
    rng = np.random.default_rng(5)
    rows = simulated(rng, 8, 3, 500, (0.4, 0.2))
    split = ValidationSplit(500, 0.1, 500.0)
    errors = find_errors(split, [(each.mean(axis=1).tolist(), list(each)) for each in rows])
    assert errors.is_complete
    assert errors.degrees == 16
    one = errors.shared(0.5) + errors.own(0.5, 1) - errors.training
    assert one == pytest.approx(split.standard_error(0.5) ** 2)
    assert errors.own(0.5, 3) < errors.own(0.5, 1)
    assert errors.own(0.5, 10**9) == pytest.approx(errors.network * split.standard_error(0.5) ** 2)


def test_what_is_not_known_is_not_zero() -> None:
    alone = find_errors(SPLIT, [([0.5], []), ([0.4], [])])
    assert not alone.is_complete
    assert math.isnan(alone.training)
    assert 0 < alone.shared(0.5) < SPLIT.standard_error(0.5) ** 2
    nothing = find_errors(None, [([0.5], []), ([0.4], [])])
    assert not nothing.is_complete
    seeds = find_errors(None, [([0.5, 0.6], []), ([0.4], [])])
    assert seeds.own(0.5, 2) == pytest.approx(0.005 / 2)


def test_intervals_of_few_degrees_of_freedom_are_students() -> None:
    """Against the table of Student's t distribution."""
    assert quantile(1) == pytest.approx(12.706, abs=1e-3)
    assert quantile(6) == pytest.approx(2.447, abs=1e-3)
    assert quantile() == pytest.approx(1.960, abs=1e-3)


def test_the_degrees_of_freedom_are_those_of_the_part_that_is_estimated() -> None:
    errors = find_errors(None, [([0.5, 0.6, 0.7], [])])
    assert errors.effective_degrees(math.sqrt(errors.training / 3), 3) == pytest.approx(2)
    assert errors.effective_degrees(math.sqrt(2 * errors.training / 3), 3) == pytest.approx(8)
    assert math.isinf(find_errors(SPLIT, [([0.5], [])]).effective_degrees(0.1, 1))


def test_an_interval_is_cut_off_at_0_and_1() -> None:
    assert (estimate(0.99, 0.1).high, estimate(0.01, 0.1).low) == (1.0, 0.0)


@pytest.mark.parametrize("comparisons", [1, 10])
def test_networks_that_are_equal_are_rarely_told_apart(comparisons: int) -> None:
    """Of so many differences together; networks of equal accuracy on images that most of them share."""
    rng = np.random.default_rng(6)
    wrong = []
    for _ in range(400):
        rows = simulated(rng, comparisons + 1, 1, 200, (0.7, 0.0))
        clear = [difference(rows[0], rows[i]).is_clear(comparisons) for i in range(1, comparisons + 1)]
        wrong.append(any(clear))
    assert np.mean(wrong) < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_the_difference_on_the_same_images_is_mcnemars() -> None:
    """10 images for one, 30 for the other: (30 - 10)² / 40 is the statistic of McNemar's test, 10."""
    first = np.zeros(1000, dtype=bool)
    second: Correct = first.copy()
    first[:30], second[30:40] = True, True
    found = difference([first], [second])
    assert found.value == pytest.approx(0.02)
    assert (found.value / found.error) ** 2 == pytest.approx(10, rel=0.05)
    assert found.is_clear()
    assert not found.is_clear(100)


def test_equal_networks_are_not_equal_for_certain() -> None:
    row = np.ones(10, dtype=bool)
    assert difference([row], [row]).error == pytest.approx(0.1)


def test_the_interval_of_a_difference_grows_with_the_comparisons() -> None:
    one = Difference(0.1, 0.05)
    assert one.half_width() == pytest.approx(NormalDist().inv_cdf(0.975) * 0.05)
    assert one.half_width(10) == pytest.approx(NormalDist().inv_cdf(0.9975) * 0.05)
    assert one.is_clear()
    assert not one.is_clear(10)
