"""What can be said of networks that were trained on one validation split, on made-up images whose truth is known."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from nas.noise import ValidationSplit, pack, unpack_all
from nas.scaling.evidence import Evidence, Runs
from nas.scaling.fit import Fit, FitSettings, Fitted, candidates, distinct, judge
from tests.scaling.test_scaling_fit import COARSE, costs_of
from tests.scaling.trainings import BASE

IMAGES = 100
SPLIT = ValidationSplit(IMAGES, 0.1, float(IMAGES))
EVERY = [group[0] for group in distinct(candidates(BASE, FitSettings(**COARSE)))]


def drawn(
    rng: np.random.Generator, truths: Sequence[float], seeds: int = 3, shared: float = 0.5, training: float = 0.0
) -> list[Runs]:
    """Networks of these true accuracies on one split; an image is correct if a normal variable is above 0.

    Args:
        rng: Random numbers.
        truths: True accuracies.
        seeds: Number of training runs of each network.
        shared: Share of its variance that all networks share, because images differ in difficulty; a fifth is shared by
            the seeds of a network.
        training: Standard deviation of a shift of a whole training run.
    """
    common, found = rng.normal(size=IMAGES) * math.sqrt(shared), []
    for truth in truths:
        level = NormalDist().inv_cdf(truth) + common + rng.normal(size=IMAGES) * math.sqrt(0.2)
        runs = rng.normal(size=(seeds, IMAGES)) * math.sqrt(0.8 - shared) + rng.normal(size=(seeds, 1)) * training
        correct = runs + level > 0
        found.append(Runs(tuple(map(float, correct.mean(axis=1))), tuple(map(pack, correct))))
    return found


def test_a_metric_that_weighs_images_decides_and_not_the_share_of_correct_images() -> None:
    """Two classes of 90 and 10 images: balanced accuracies are .894 and .5, shares of correct images .89 and .9."""
    fair = np.array([True] * 80 + [False] * 10 + [True] * 9 + [False])
    blind = np.array([True] * 90 + [False] * 10)
    better, worse = (
        Runs((balanced,) * 2, (pack(correct),) * 2) for balanced, correct in (((80 / 90 + 0.9) / 2, fair), (0.5, blind))
    )
    effective = 4 / (1 / 90 + 1 / 10)
    evidence, plain = (Evidence([better, worse], ValidationSplit(100, 0.5, each)) for each in (effective, 100.0))
    assert evidence.tied(better, [worse]) == [False]
    wide, narrow = evidence.interval(better), plain.interval(better)
    assert wide is not None
    assert narrow is not None
    assert wide.error / narrow.error == pytest.approx(math.sqrt(100 / effective), rel=0.2)


def fitted(networks: Sequence[Runs], split: ValidationSplit | None = SPLIT) -> Fit:
    every = [
        Fitted(candidate, (), runs.accuracies, 1.0, 1.0, runs.correct)
        for candidate, runs in zip(EVERY, networks, strict=False)
    ]
    return judge(every, FitSettings(**COARSE), costs_of, split)


def clear_rate(truths: Sequence[float], fits: int, **of: Any) -> float:
    """How often the best network is ahead of all others."""
    rng = np.random.default_rng(5)
    return sum(len(fitted(drawn(rng, truths, **of)).tied) == 1 for _ in range(fits)) / fits


@pytest.mark.parametrize("of", [{}, {"shared": 0.0}, {"training": 0.1}])
def test_among_equal_networks_a_clear_winner_is_rare(of: dict[str, Any]) -> None:
    assert clear_rate([0.5] * 9, 100, **of) <= 0.05


def test_of_two_equal_networks_one_is_seldom_the_clear_winner() -> None:
    """Two networks far ahead of all others: the case in which a wrong winner is most likely."""
    assert clear_rate([0.5] * 2 + [0.2] * 7, 400) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_lead_of_fifteen_points_is_found_most_of_the_time() -> None:
    assert clear_rate([0.65] + [0.5] * 8, 100) > 0.6


def test_the_truly_best_is_seldom_left_out_of_a_tie() -> None:
    rng, left_out = np.random.default_rng(1), 0
    for _ in range(100):
        networks = drawn(rng, [0.52] + [0.5] * 8)
        (truly,) = (one for one in fitted(networks).ranked if one.runs == networks[0])
        left_out += not truly.tied
    assert left_out <= 8


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_hold_the_true_accuracies(seeds: int) -> None:
    rng, held = np.random.default_rng(2), []
    for _ in range(40):
        truths = rng.uniform(0.4, 0.8, 9)
        networks = drawn(rng, list(truths), seeds, training=0.05)
        evidence = Evidence(networks, SPLIT)
        for truth, one in zip(truths, networks, strict=True):
            found = evidence.interval(one)
            assert found is not None
            held.append(found.low <= truth <= found.high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_networks_that_always_give_the_most_frequent_class_have_learned_nothing() -> None:
    frequent = np.arange(62) < 12
    same = [Runs((12 / 62,) * 3, (pack(frequent),) * 3)] * 5
    split = ValidationSplit(62, 12 / 62, 62.0)
    done = fitted(same, split)
    assert (done.learned, done.winner, done.tie_costs) == (False, None, ())
    better = Runs((0.5,) * 3, (pack(np.arange(62) < 31),) * 3)
    learned = fitted([*same, better], split)
    assert (learned.learned, learned.winner) == (True, learned.ranked[0])
    assert fitted(same, None).learned is None


def test_without_single_images_the_sampling_errors_count_as_independent() -> None:
    # The error of the difference is near sqrt(2) * 5 points: twice that is more than 12 points.
    runs = [Runs((0.62,) * 3), Runs((0.5,) * 3)]
    assert Evidence(runs, SPLIT).tied(runs[0], runs[1:]) == [True]
    assert Evidence(runs, ValidationSplit(10_000, 0.1, 10_000.0)).tied(runs[0], runs[1:]) == [False]
    assert Evidence(runs, None).tied(runs[0], runs[1:]) == [False]


def test_more_images_are_needed_where_seeds_agree() -> None:
    rng = np.random.default_rng(3)
    agreeing = [Runs((float(bits.mean()),) * 3, (pack(bits),) * 3) for bits in rng.random((9, IMAGES)) < 0.5]
    assert Evidence(agreeing, SPLIT).needs_images(3)
    assert not Evidence(drawn(rng, [0.5] * 9, shared=0.8, training=0.3), SPLIT).needs_images(3)


def test_texts_of_other_images_or_of_other_tools_are_not_known() -> None:
    known = pack(np.ones(IMAGES, dtype=bool))
    assert unpack_all([known, known], 2, IMAGES) is not None
    for texts in ([known, ""], [known], [known, "x"], [known, pack(np.ones(3, dtype=bool))], [known, "9:AAAA"]):
        assert unpack_all(texts, 2, IMAGES) is None
