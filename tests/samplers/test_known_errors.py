"""The known errors of accuracies in a history, and what the ranking makes of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState
from scipy.optimize import brentq

from nas.cost.analytic import COUNTED
from nas.noise import ValidationSplit, pack
from nas.samplers import ranking as module
from nas.samplers.encoding import Codes, Encoder, Floats
from nas.samplers.history import MOST_NETWORKS, TrialHistory
from nas.samplers.surrogate import Surrogate, condition, to_accuracy
from nas.samplers.trial_arrays import FIRST, History, fitted_count
from nas.search.sampler_factory import make_ranker
from nas.search.settings import Settings
from tests.samplers.test_history import PICKS, SPACE, complete, pruned, trial
from tests.samplers.test_skewness import yeo_johnson
from tests.search.fakes import cost_range_of

IMAGES = 400
SPLIT = ValidationSplit(IMAGES, 0.1, float(IMAGES))
BAND = cost_range_of(SPACE, "flops=1.2M", band=0.1)


def history_of(
    trials: Sequence[FrozenTrial],
    split: ValidationSplit | None = SPLIT,
    further: Mapping[int, Sequence[float]] | None = None,
) -> History:
    trial_history = TrialHistory(SPACE, split, further or {})
    for each in trials:
        trial_history.add(each)
    return trial_history.history()


def validated(count: int, images: int = IMAGES, seed: int = 0) -> tuple[list[FrozenTrial], Floats]:
    """Networks of the same true accuracy on images of different difficulty, and the variance that they do not share."""
    rng = np.random.default_rng(seed)
    difficulty = rng.beta(4, 1, images)
    made = []
    for number in range(count):
        correct = rng.random(images) < difficulty
        made.append(complete(number, float(correct.mean())))
        made[-1].user_attrs["correct"] = pack(correct)
    return made, (difficulty * (1 - difficulty)).mean() / images


def test_nothing_is_known_without_a_split_a_second_seed_or_a_pruned_trial() -> None:
    history = history_of([complete(i, 0.5) for i in range(8)], split=None)
    assert history.noise.tolist() == [0.0] * 8
    assert history.level_noise.tolist() == [0.0] * 8


def test_what_networks_share_is_left_out_where_single_images_are_known() -> None:
    trials, own = validated(60)
    assert history_of(trials).noise == pytest.approx(own, rel=0.15)
    # Without single images, half of the binomial variance is taken as shared.
    plain = [evolve_without_images(each) for each in trials]
    mean = np.mean([each.values[0] for each in plain])
    assert history_of(plain).noise.mean() == pytest.approx(0.5 * mean * (1 - mean) / IMAGES, rel=0.05)


def evolve_without_images(made: FrozenTrial) -> FrozenTrial:
    return complete(made.number, made.values[0])


def test_an_accuracy_that_is_high_by_chance_has_no_smaller_error() -> None:
    trials, _ = validated(40, images=60)
    history = history_of(trials, ValidationSplit(60, 0.1, 60.0))
    raw = history.accuracies * (1 - history.accuracies)
    assert raw.max() > 1.5 * raw.min()
    assert history.noise.max() < 1.2 * history.noise.min()
    assert history.level_noise.max() < 1.5 * history.level_noise.min()


def test_accuracies_that_really_differ_have_errors_of_their_own() -> None:
    history = history_of([complete(i, 0.5 if i % 2 else 0.95) for i in range(20)])
    shares = [(0.5 * IMAGES + 2) / (IMAGES + 4), (0.95 * IMAGES + 2) / (IMAGES + 4)]
    low, high = (0.5 * share * (1 - share) / (IMAGES + 4) for share in shares)
    assert history.noise[1] == pytest.approx(low, rel=0.02)
    assert history.noise[0] == pytest.approx(high, rel=0.05)


def test_several_training_runs_count_as_their_mean_with_a_smaller_error() -> None:
    trials = [complete(i, accuracy) for i, accuracy in enumerate((0.5, 0.6, 0.55, 0.65))]
    history = history_of(trials, split=None, further={0: (0.7,), 1: (0.8,), 9: (0.1,)})
    assert history.accuracies == pytest.approx([0.6, 0.7, 0.55, 0.65])
    # Both pairs have the variance .02; the mean of two runs has half of it.
    assert history.noise == pytest.approx([0.01, 0.01, 0.02, 0.02])


def test_an_extrapolated_accuracy_has_the_error_of_the_extrapolation_beside_that_of_the_images() -> None:
    trials = [*(complete(i, 0.2, 0.4 + 0.01 * i) for i in range(8)), pruned(8, 0.2)]
    both, alone = history_of(trials), history_of(trials, split=None)
    assert alone.noise[:8].tolist() == [0.0] * 8
    assert both.noise[8] > alone.noise[8] > 0.0
    assert both.noise[8] > both.noise[:8].max()


def test_an_accuracy_of_1_is_what_some_images_can_show() -> None:
    history = history_of([complete(i, 1.0) for i in range(6)], ValidationSplit(20, 0.1, 20.0))
    assert history.accuracies == pytest.approx(1 - 0.5 / 20)
    assert (history.noise > 0).all()


def test_errors_change_only_when_the_weights_do() -> None:
    trials, _ = validated(MOST_NETWORKS + 20)
    noise = {count: history_of(trials[:count]).level_noise for count in range(FIRST, len(trials))}
    for count, found in noise.items():
        assert found[: fitted_count(count)].tolist() == noise[fitted_count(count)].tolist()


def test_a_resumed_search_knows_the_same_errors() -> None:
    trials, _ = validated(20)
    trials[3] = pruned(3, 0.4)
    begun = TrialHistory(SPACE, SPLIT)
    for number, each in enumerate(trials):
        begun.add(trial(number, TrialState.RUNNING))
        begun.history()
        begun.add(each)
        begun.history()
    resumed = history_of(trials)
    assert begun.history().noise.tolist() == resumed.noise.tolist()
    assert begun.history().expected.tolist() == resumed.expected.tolist()


@pytest.mark.parametrize("text", ["", "junk", "3:oA==", "400:", 7])
def test_images_that_cannot_be_read_are_unknown(text: object) -> None:
    trials = [complete(i, 0.5 + i / 100) for i in range(8)]
    for each in trials:
        each.user_attrs["correct"] = text
    plain = history_of([complete(i, 0.5 + i / 100) for i in range(8)])
    assert history_of(trials).noise.tolist() == plain.noise.tolist()


@pytest.mark.parametrize("accuracy", [float("nan"), float("inf"), -0.1, 1.5, 70.0])
def test_what_is_no_accuracy_counts_as_a_failure(accuracy: float) -> None:
    made = trial(0, TrialState.RUNNING)
    made.state, made.user_attrs["accuracy_by_epoch"] = TrialState.COMPLETE, [0.5, accuracy]
    history = history_of([made, pruned(1, accuracy), complete(2, 0.4)])
    assert history.failed.tolist() == [True, True, False]
    assert history.accuracies[2] == 0.4


def test_the_ranking_uses_the_errors_as_variances_of_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = np.append(np.linspace(0.5, 0.7, 20), [np.nan, np.nan])
    noise, expected = np.linspace(0.001, 0.002, 22), np.linspace(0.55, 0.65, 22)
    failed = np.arange(22) == 20
    history = History(PICKS[:22], accuracies, failed, noise=noise, expected=expected)
    seen: list[tuple[Floats, Floats]] = []

    def spied(encoder: Encoder, codes: Codes, levels: Floats, weights: Floats, known: Floats) -> Surrogate:
        seen.append((levels, known))
        return condition(encoder, codes, levels, weights, known)

    monkeypatch.setattr(module, "condition", spied)
    ranker = make_ranker(BAND, Settings(BAND.targets), COUNTED)
    ranker.rank(history, np.random.default_rng(0))
    levels, power = -np.log(1.002 - accuracies[:20]), ranker.weights(history)[1]

    def slopes(at: Floats) -> Floats:
        return (yeo_johnson(at + 1e-5, power, levels) - yeo_johnson(at - 1e-5, power, levels)) / 2e-5

    # By the delta method: the error in level is that in accuracy times the slope, d(-log(1.002 - p))/dp, and the error
    # on the scale of the model is that in level times the slope of its transformation.
    own = (noise / (1.002 - expected) ** 2)[:20]
    assert seen[0][1] == pytest.approx(own * slopes(levels) ** 2, rel=1e-5)
    # A failure is certain, and a running trial will be as noisy as the others.
    value = seen[1][0][-1]
    running = brentq(lambda level: yeo_johnson(np.array([level]), power, levels)[0] - value, -9, 9)
    assert seen[1][1][:20] == pytest.approx(own * slopes(levels) ** 2, rel=1e-5)
    assert seen[1][1][20:] == pytest.approx([0.0, own.mean() * slopes(np.array([running]))[0] ** 2], rel=1e-5)


def test_among_equal_networks_the_model_believes_the_exact_accuracy_more() -> None:
    """Two accuracies of one network, far apart: the expected one is nearer to the one with the smaller error."""
    indices = np.concatenate([PICKS[:10], PICKS[:1], PICKS[:1]])
    accuracies = np.append(np.full(10, 0.6), [0.5, 0.7])
    near = []
    for noise in ([1e-6, 1e-2], [1e-2, 1e-6]):
        known = np.append(np.full(10, 1e-2), noise)
        history = History(indices, accuracies, np.zeros(12, dtype=bool), noise=known)
        ranker = make_ranker(BAND, Settings(BAND.targets), COUNTED)
        _, levels, _ = ranker.expect(history, history.level_noise)
        near.append(float(to_accuracy(levels)[0]))
    assert near[0] < near[1]
