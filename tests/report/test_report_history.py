"""The history of a search: best so far, hypervolume, failures and the recommended trial."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.history import history, history_section, hypervolumes
from nas.studies.records import Record, StudyView
from tests.report.sections import drawn
from tests.report.studies import SETTINGS, record, studies, study

POINTS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 10)), max_size=12)


def by_cells(points: list[tuple[int, int]], most: int, height: int) -> float:
    """Count the unit squares that a point dominates, which is an independent definition of the hypervolume."""
    cells = sum(
        any(cost <= x and accuracy >= y + 1 for cost, accuracy in points) for x in range(most) for y in range(height)
    )
    return cells / (most * height)


@given(POINTS)
def test_the_hypervolume_is_the_share_of_the_cells_that_are_dominated(points: list[tuple[int, int]]) -> None:
    trials = [(i, float(cost), accuracy / 10) for i, (cost, accuracy) in enumerate(points)]
    steps = dict(hypervolumes(trials, (10.0, 0.0)))
    last = 0.0
    for i in range(len(points)):
        last = steps.get(i, last)
        assert last == pytest.approx(by_cells(points[: i + 1], 10, 10))


def test_only_steps_that_raise_the_hypervolume_are_listed() -> None:
    steps = hypervolumes([(0, 5.0, 0.5), (1, 6.0, 0.5), (2, 5.0, 0.5), (3, 4.0, 0.5)], (10.0, 0.0))
    assert [number for number, _ in steps] == [0, 3]
    assert all(a < b for (_, a), (_, b) in pairwise(steps))


def test_the_reference_point_is_the_target_and_the_most_frequent_class() -> None:
    from nas.noise import ValidationSplit

    split = ValidationSplit(images=1000, chance=0.5, effective=1000.0)
    view = StudyView("demo", SETTINGS, (record(0, 200e6, 0.75), record(1, 100e6, 0.4)), split=split)
    found = history(view)
    assert found.reference == (400e6, 0.5)
    # Half of the range above the most frequent class, at half of the largest cost.
    ((number, volume),) = found.volumes
    assert (number, round(volume, 9)) == (0, 0.5 * 0.5)


def test_the_best_so_far_rises_and_ignores_trials_that_are_not_complete() -> None:
    trials = [record(0, accuracy=0.4), record(1, accuracy=0.9, state="pruned"), record(2, accuracy=0.5)]
    found = history(study(*trials, record(3, accuracy=0.45), record(4, accuracy=None, state="failed")))
    assert found.best == ((0, 0.4), (2, 0.5))
    assert found.pruned == ((1, 0.9),)
    assert found.failed == (4,)


def test_the_moment_of_the_answer_counts_trials_and_time() -> None:
    trials = [Record(i, "complete", "net", {"macs": 5}, accuracy=a, seconds=s) for i, (a, s) in enumerate(ANSWERS)]
    answer = history(study(*trials)).answer
    assert answer is not None
    assert (answer.number, answer.before) == (1, 2)
    assert answer.share == pytest.approx(40 / 100)
    said = history_section(study(*trials)).text
    assert "trial 1, the 2nd of 3 trials, after 40% of the time" in said


ANSWERS = ((0.5, 10.0), (0.8, 30.0), (0.6, 60.0))


def test_an_unknown_duration_is_not_zero() -> None:
    trials = [Record(i, "complete", "net", {"macs": 5}, accuracy=accuracy) for i, (accuracy, _) in enumerate(ANSWERS)]
    assert "the 2nd of 3 trials." in history_section(study(*trials)).text


def test_the_interval_of_the_answer_is_drawn_on_the_scale_of_scores() -> None:
    from nas.studies.records import Expected

    trial = Record(0, "complete", "net", {"macs": 5}, accuracy=0.5, score=0.6)
    expected = {0: Expected(0.5, 0.05, 0.6, low=0.4, high=0.6)}
    answer = history(StudyView("demo", SETTINGS, (trial,), expected=expected)).answer
    assert answer is not None
    assert answer.value == pytest.approx(0.6)
    assert answer.low == pytest.approx(0.48)
    assert answer.high == pytest.approx(0.72)


def test_trials_that_failed_are_marked() -> None:
    failed = [Record(i, "failed", "net", {}, reason="no memory") for i in range(1, 6)]
    names = [trace.name for trace in drawn(history_section(study(record(0), *failed))).data]
    assert "failed or interrupted (5)" in names


@given(studies())
def test_the_last_hypervolume_is_that_of_the_front(view: StudyView) -> None:
    from attrs import evolve

    from nas.report.fronts import cost_axis, hypervolume

    # Means over seeds change the order of trials.
    seeds = {record.number: ((7 * record.number) % 5 / 5,) for record in view.complete if record.number % 2}
    view = evolve(view, confirmed=seeds)
    axis = cost_axis(view)
    last = next(reversed(history(view).volumes), (0, 0.0))[1]
    assert last == pytest.approx(hypervolume(view, axis, view.front).value)


def test_a_study_without_complete_trials_says_so() -> None:
    section = history_section(study(record(0, accuracy=None, state="failed")))
    assert section.missing
    assert not section.figures


@given(studies())
def test_every_study_has_a_section_whose_numbers_are_finite(view: StudyView) -> None:
    section = history_section(view)
    assert bool(section.missing) != bool(section.figures)
    for number in range(len(section.figures)):
        heights = [y for trace in drawn(section, number).data for y in trace.y]
        assert all(math.isfinite(y) for y in heights)
