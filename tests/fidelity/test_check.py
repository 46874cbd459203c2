"""What verdicts are worth beside a truth that is made up."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.errors import EvaluationError
from nas.fidelity.check import Check, Validated, compare
from nas.fidelity.collect import Evaluations
from nas.noise import ValidationSplit, pack
from nas.search.job import JobResult


def verdicts(rows: np.ndarray, seconds: float = 1.0) -> Evaluations:
    """Of rows by seed and network; NaN is none."""
    said = Evaluations()
    for seed, row in enumerate(rows):
        for number, accuracy in enumerate(row):
            if not np.isnan(accuracy):
                said.add(number, seed, JobResult(float(accuracy), seconds))
    return said


@pytest.fixture(name="true")
def _true() -> np.ndarray:
    return np.linspace(0.5, 0.9, 40)


def beside(true: np.ndarray, **said: Evaluations) -> Check:
    return compare(said, {number: [float(accuracy)] for number, accuracy in enumerate(true)})


def noisy(true: np.ndarray, noise: float, seeds: int = 2) -> np.ndarray:
    return true + noise * np.random.default_rng(7).normal(size=(seeds, len(true)))


def test_figures_of_an_evaluator(true: np.ndarray) -> None:
    rows = noisy(true, 0.1)
    (one,) = beside(true, cheap=verdicts(rows, 3.0)).agreements
    taus = [kendalltau(row, true).statistic for row in rows]
    assert one.tau.value == pytest.approx(np.mean(taus))
    assert one.pairs_right == pytest.approx((1 + np.mean(taus)) / 2)
    assert one.noise == pytest.approx(np.sqrt(((rows[0] - rows[1]) ** 2).mean() / 2))
    assert one.regret == pytest.approx(np.mean([true.max() - true[row.argmax()] for row in rows]))
    assert (one.networks, one.failed, one.seconds) == (40, 0, 3.0)


def test_what_cannot_be_told_from_the_best_is_listed_by_its_price(true: np.ndarray) -> None:
    rows = noisy(true, 0.05)
    check = beside(
        true,
        best=verdicts(rows, 9.0),
        cheaper=verdicts(rows[::-1] + 0.0, 2.0),
        poor=verdicts(noisy(true, 0.5), 1.0),
        guess=verdicts(np.random.default_rng(1).random((1, 40)), 0.1),
    )
    assert check.best is not None
    assert check.best.name in ("best", "cheaper")
    assert [one.name for one in check.not_told_from_best] == ["cheaper", "best"]
    by_name = {one.name: one for one in check.agreements}
    assert (by_name["poor"].as_good or 0) < 0.01
    assert not by_name["guess"].better_than_chance


def test_networks_that_one_of_two_did_not_judge_are_left_out_of_their_comparison(true: np.ndarray) -> None:
    few = noisy(true, 0.01, 1)
    few[:, 12:] = np.nan
    check = beside(true, few=verdicts(few), whole=verdicts(noisy(true, 0.03, 1)))
    assert [one.networks for one in check.agreements] == [12, 40]
    assert all((one.as_good or 0) > 0.05 for one in check.agreements)


def test_networks_without_all_seeds_do_not_upset_a_comparison_on_fewer_networks(true: np.ndarray) -> None:
    """The time limit came inside the second round: on the networks of both evaluators, most have both seeds."""
    cut, few = noisy(true, 0.01), noisy(true, 0.03, 1)
    cut[1, 4:], few[:, 5:] = np.nan, np.nan
    check = beside(true, cut=verdicts(cut), few=verdicts(few))
    assert [one.networks for one in check.agreements] == [40, 5]
    assert all(one.as_good is not None for one in check.agreements)


@pytest.mark.parametrize("second_seeds", [0, 10, 22, 23, 26, 29, 30, 40])
def test_a_time_limit_inside_a_group_leaves_a_comparison(true: np.ndarray, second_seeds: int) -> None:
    """An evaluator that lacks the second seed of some networks is compared with one that lacks other networks."""
    cut, few = noisy(true, 0.05), noisy(true, 0.04)
    cut[1, second_seeds:] = np.nan
    few[:, 30:] = np.nan
    check = beside(true, cut=verdicts(cut), few=verdicts(few))
    assert [one.name for one in check.agreements] == ["cut", "few"]
    assert all(one.as_good is not None and 0 <= one.as_good <= 1 for one in check.agreements)


def test_evaluators_of_other_networks_are_not_compared_with_each_other(true: np.ndarray) -> None:
    first, last = noisy(true, 0.01, 1), noisy(true, 0.02, 1)
    first[:, 20:], last[:, :18] = np.nan, np.nan
    check = beside(true, first=verdicts(first), last=verdicts(last))
    assert sorted((one.as_good is None) for one in check.agreements) == [False, True]


def test_an_evaluator_that_says_the_same_of_all_has_no_rank(true: np.ndarray) -> None:
    check = beside(true, same=verdicts(np.full((1, 40), 0.5)))
    assert check.best is None
    assert check.not_told_from_best == ()
    assert check.agreements[0].regret == pytest.approx(true.max() - true.mean())


def test_one_with_fewer_than_five_networks_is_left_out(true: np.ndarray) -> None:
    rows = noisy(true, 0.1, 1)
    rows[:, 4:] = np.nan
    assert beside(true, few=verdicts(rows)).agreements == ()


def test_readings_of_the_truth_and_what_they_allow(true: np.ndarray) -> None:
    readings = noisy(true, 0.05, 3)
    truth = {number: list(map(float, readings[: 2 + number % 2, number])) for number in range(40)}
    check = compare({}, truth)
    assert check.repeats == (2, 3)
    assert check.truth_noise == pytest.approx(0.05, rel=0.2)
    assert check.ceiling is not None
    assert 0.7 < check.ceiling < 0.98
    assert beside(true).ceiling is None


def test_four_networks_are_too_few() -> None:
    with pytest.raises(EvaluationError, match="4 networks"):
        compare({}, {number: [0.5] for number in range(4)})


def on_one_split(images: int, spread: float) -> tuple[list[float], dict[int, list[float]], Validated]:
    """Networks of known true accuracies, with two training runs each on one validation split."""
    rng = np.random.default_rng(11)
    levels = rng.normal(0.3, spread, 400)
    common = 0.7 * rng.normal(size=images)
    true, truth, correct = [], {}, {}
    for number, level in enumerate(levels):
        own = level + common + 0.6 * rng.normal(size=images)
        bits = own + math.sqrt(1 - 0.49 - 0.36) * rng.normal(size=(2, images)) > 0
        true.append(NormalDist().cdf(level))
        truth[number] = bits.mean(axis=1).tolist()
        correct[number] = [pack(row) for row in bits]
    return true, truth, Validated(ValidationSplit(images, 0.1, float(images)), correct, ("train",))


@pytest.mark.parametrize(("images", "spread"), [(100, 0.1), (400, 0.1), (400, 0.05)])
def test_the_ceiling_has_the_sampling_error_of_the_validation_split(images: int, spread: float) -> None:
    true, truth, validated = on_one_split(images, spread)
    reached = kendalltau(true, [np.mean(row) for row in truth.values()]).statistic
    found, without = compare({}, truth, validated), compare({}, truth)
    assert found.ceiling == pytest.approx(reached, abs=0.05)
    assert without.ceiling is not None
    assert without.ceiling > reached + 0.1  # seeds do not show the error that they share
    assert (without.sampling, without.learned, found.learned) == (None, None, True)


def test_a_truth_that_learned_nothing_has_no_best_evaluator(true: np.ndarray) -> None:
    split, rng = ValidationSplit(62, 12 / 62, 62.0), np.random.default_rng(0)
    chance = {number: [(12 + int(rng.integers(0, 4))) / 62] for number in range(40)}
    guesses = np.array([[chance[number][0] for number in range(40)]])
    check = compare({"copy": verdicts(guesses)}, chance, Validated(split))
    assert check.agreements[0].tau.value == pytest.approx(1)
    assert (check.learned, check.best, check.not_told_from_best) == (False, None, ())
    assert compare({"copy": verdicts(true[None])}, {i: [float(a)] for i, a in enumerate(true)}, Validated(split)).best
