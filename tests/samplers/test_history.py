"""Trials as arrays: rows that are updated, curves that were cut short."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.samplers.base import distributions
from nas.samplers.history import TrialHistory, read_curve
from nas.space.files import find_space
from tests.search.fakes import make_space

SPACE = make_space()
PICKS = SPACE.sample(np.random.default_rng(0), 200)
MNASNET = find_space("mnasnet")


def trial(number: int, state: TrialState, curve: Sequence[float] = (), **given: Any) -> FrozenTrial:
    made = create_trial(
        state=state,
        values=[curve[-1]] if state == TrialState.COMPLETE else None,
        params=SPACE.params(PICKS[number].tolist()),
        distributions=distributions(SPACE),
        user_attrs={"accuracy_by_epoch": list(curve)} if curve else {},
        **given,
    )
    made.number = number
    return made


def complete(number: int, *curve: float) -> FrozenTrial:
    return trial(number, TrialState.COMPLETE, curve)


def pruned(number: int, *curve: float) -> FrozenTrial:
    return trial(number, TrialState.PRUNED, curve)


def ledger_of(*trials: FrozenTrial) -> TrialHistory:
    trial_history = TrialHistory(SPACE)
    for each in trials:
        trial_history.add(each)
    return trial_history


def test_an_empty_one_has_an_empty_history() -> None:
    history = TrialHistory(SPACE).history()
    assert history.indices.shape == (0, len(SPACE.all_choices))
    assert len(history.measured) == len(history.failed) == len(history.running) == 0


def test_states_are_told_apart_in_the_order_of_their_coming() -> None:
    history = ledger_of(
        complete(5, 0.25, 0.5), trial(2, TrialState.FAIL), trial(9, TrialState.RUNNING), trial(0, TrialState.PRUNED)
    ).history()
    assert history.indices.tolist() == PICKS[[5, 2, 9, 0]].tolist()
    assert history.accuracies[0] == 0.5
    assert np.isnan(history.accuracies[1:]).all()
    assert history.measured.tolist() == [True, False, False, False]
    assert history.failed.tolist() == [False, True, False, True]
    assert history.running.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("ended", "accuracy", "failed"),
    [
        (complete(1, 0.3, 0.6), 0.6, False),
        (trial(1, TrialState.FAIL), np.nan, True),
        (pruned(1, 0.2), 0.4, False),
    ],
)
def test_a_running_trial_that_has_ended_updates_its_row(ended: FrozenTrial, accuracy: float, *, failed: bool) -> None:
    trial_history = ledger_of(complete(0, 0.4, 0.8), trial(1, TrialState.RUNNING), complete(2, 0.1, 0.2))
    before = trial_history.history()
    assert before.running.tolist() == [False, True, False]
    trial_history.add(ended)
    history = trial_history.history()
    assert history.indices.tolist() == PICKS[:3].tolist()
    assert history.accuracies == pytest.approx([0.8, accuracy, 0.2], nan_ok=True)
    assert history.failed.tolist() == [False, failed, False]
    assert not history.running.any()
    # What was given out earlier is as it was.
    assert before.running.tolist() == [False, True, False]
    assert np.isnan(before.accuracies[1])


def test_curves_that_were_cut_are_extended_by_the_median_rise_of_complete_ones() -> None:
    trial_history = ledger_of(
        complete(0, 0.1, 0.2, 0.4),
        complete(1, 0.2, 0.4, 0.5),
        complete(2, 0.25, 0.25, 0.3),
        pruned(3, 0.1),
        pruned(4, 0.1, 0.2),
    )
    # From the first epoch by 4, 2.5 and 1.2; from the second by 2, 1.25 and 1.2.
    assert trial_history.history().accuracies[3:] == pytest.approx([0.1 * 2.5, 0.2 * 1.25])
    trial_history.add(complete(5, 0.1, 0.3, 0.6))
    # Now by 6, too, and by 2.
    assert trial_history.history().accuracies[3:5] == pytest.approx([0.1 * 3.25, 0.2 * 1.625])


def test_what_is_extended_is_no_more_than_1_and_no_rise_is_none() -> None:
    trial_history = ledger_of(pruned(0, 0.5, 0.6))
    assert trial_history.history().accuracies.tolist() == [0.6]
    trial_history.add(complete(1, 0.1, 0.1, 0.9))
    assert trial_history.history().accuracies.tolist() == [1.0, 0.9]


def test_complete_curves_that_are_shorter_or_begin_at_zero_say_nothing() -> None:
    trial_history = ledger_of(
        complete(0, 0.3), complete(1, 0.1, 0.0, 0.4), complete(2, 0.1, 0.2, 0.3), pruned(3, 0.1, 0.2)
    )
    assert trial_history.history().accuracies[3] == pytest.approx(0.2 * 1.5)


def test_a_study_of_others_has_its_values_for_accuracies() -> None:
    assert read_curve({}, [0.7, 5e6]) == (0.7,)
    assert read_curve({"accuracy_by_epoch": [0.1, 0.2]}, [0.7]) == (0.1, 0.2)
    assert read_curve({"accuracy_by_epoch": []}, [0.7]) == (0.7,)
    assert read_curve({}, None) == ()
    other = create_trial(value=0.7, params=SPACE.params(PICKS[0].tolist()), distributions=distributions(SPACE))
    assert ledger_of(other).history().accuracies.tolist() == [0.7]


def test_it_grows_past_any_size() -> None:
    trial_history = ledger_of(*(complete(i, (i + 1) / 1000) for i in range(200)))
    history = trial_history.history()
    assert history.indices.tolist() == PICKS.tolist()
    assert history.accuracies == pytest.approx((np.arange(200) + 1) / 1000)
    trial_history.add(complete(100, 0.9))
    assert trial_history.history().accuracies[100] == 0.9
    assert len(trial_history.history().indices) == 200


def test_parameters_that_are_no_choices_are_passed_over() -> None:
    indices = MNASNET.sample(np.random.default_rng(1), 1)[0]
    made = create_trial(value=0.5, params=MNASNET.params(indices.tolist()), distributions=distributions(MNASNET))
    made.params["rate"] = 0.1
    trial_history = TrialHistory(MNASNET)
    trial_history.add(made)
    assert trial_history.history().indices.tolist() == [indices.tolist()]


def test_a_trial_that_was_cut_short_is_left_out() -> None:
    trial_history = TrialHistory(SPACE)
    for made in (trial(0, TrialState.COMPLETE, [0.5]), trial(1, TrialState.RUNNING), trial(2, TrialState.RUNNING)):
        trial_history.add(made)
    trial_history.forget(1)
    trial_history.forget(7)  # never heard of
    history = trial_history.history()
    assert history.indices.tolist() == PICKS[[0, 2]].tolist()
    assert (history.measured.tolist(), history.running.tolist()) == ([True, False], [False, True])
