"""Which networks the best trial is ahead of by more than noise."""

import math
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from nas.errors import StudyError
from nas.noise import ValidationSplit, difference, pack
from nas.studies.comparison import against_source, ahead_of_baseline, leaders, not_told_apart
from nas.studies.records import DeviceMeasurement, Expected, Record, StudyView, find_trial

ARCH = "net\nstem conv k3 s2 c8\nhead pool"
SETTINGS: dict[str, Any] = {
    "objective": "soft",
    "targets": ["flops=2M"],
    "limits": [{"cost": "macs", "unit": "MACs", "low": 0.0, "high": 2e6}],
    "proxy": {"evaluator": "train"},
}
IMAGES = 200
SPLIT = ValidationSplit(IMAGES, 0.1, float(IMAGES))


def correct(*spans: tuple[int, int]) -> NDArray[np.bool_]:
    """Return images that are correct in these spans and nowhere else."""
    flags = np.zeros(IMAGES, dtype=bool)
    for start, end in spans:
        flags[start:end] = True
    return flags


def record(number: int, flags: NDArray[np.bool_], factor: float = 1.0, **more: Any) -> Record:
    accuracy = float(flags.mean())
    return Record(number, "complete", ARCH, {"macs": 1e6}, accuracy, (accuracy,), factor * accuracy, **more)


def with_images(number: int, flags: NDArray[np.bool_], factor: float = 1.0) -> Record:
    return record(number, flags, factor, correct=pack(flags))


# 0 and 1 differ in 4 images, 0 and 2 in 60.
FLAGS = (correct((0, 160)), correct((0, 157), (199, 200)), correct((0, 100)))


def view(*records: Record, **more: Any) -> StudyView:
    return StudyView("demo", SETTINGS, records, **{"split": SPLIT} | more)


def test_networks_that_agree_on_most_images_cannot_be_told_apart() -> None:
    study = view(*(with_images(number, flags) for number, flags in enumerate(FLAGS)))
    assert study.best is not None
    assert study.best.number == 0
    assert [each.number for each in not_told_apart(study)] == [1]


def test_pairs_see_more_than_two_accuracies() -> None:
    """80% and 72% of 200 images: 16 images for one and none for the other, but 5 points of standard error each."""
    flags = (correct((0, 160)), correct((0, 144)))
    assert not_told_apart(view(*(with_images(i, each) for i, each in enumerate(flags)))) == ()
    apart = not_told_apart(view(*(record(i, each) for i, each in enumerate(flags))))
    assert [each.number for each in apart] == [1]


def test_it_allows_for_all_networks_that_were_compared() -> None:
    """The same two among many: the best of many is ahead of one of them by chance."""
    flags = (correct((0, 160)), correct((0, 152)), correct((0, 60)))
    two = [with_images(i, each) for i, each in enumerate(flags[:2])]
    assert not_told_apart(view(*two)) == ()
    many = [with_images(i, flags[2]) for i in range(2, 40)]
    assert [each.number for each in not_told_apart(view(*two, *many))] == [1]


def test_seeds_that_differ_make_a_lead_less_clear() -> None:
    records = [with_images(0, correct((0, 160))), with_images(1, correct((0, 144)))]
    assert not_told_apart(view(*records)) == ()
    further = {0: [correct((0, 175)), correct((0, 145))], 1: [correct((0, 130)), correct((0, 158))]}
    study = view(
        *records,
        confirmed={number: tuple(float(each.mean()) for each in flags) for number, flags in further.items()},
        confirmed_correct={number: tuple(map(pack, flags)) for number, flags in further.items()},
    )
    assert [each.number for each in not_told_apart(study)] == [1]


def test_the_lead_over_the_baseline_is_the_difference_with_its_interval() -> None:
    """By hand: 60 of 200 images more, one in three of which would be 0.458 in standard deviation."""
    study = view(with_images(0, FLAGS[0]), baseline=attrs.evolve(with_images(-1, FLAGS[2]), label="known"))
    lead = ahead_of_baseline(study)
    assert lead is not None
    assert lead.value == pytest.approx(0.3)
    assert lead.half == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 200), rel=0.03)
    assert lead.is_clear


@pytest.mark.parametrize("own", [FLAGS[1], FLAGS[0], correct((0, 120), (160, 200))])
def test_a_baseline_that_is_as_good_is_not_beaten(own: NDArray[np.bool_]) -> None:
    study = view(with_images(0, own), baseline=with_images(-1, FLAGS[0]))
    lead = ahead_of_baseline(study)
    assert lead is not None
    assert lead.is_clear is False


def test_accuracies_are_compared_at_equal_score() -> None:
    """The other network costs more, and so has a score of 80% of its accuracy."""
    study = view(with_images(0, FLAGS[1]), with_images(1, FLAGS[0], factor=0.8))
    assert study.best is not None
    assert study.best.number == 0
    assert not_told_apart(study) == ()
    baseline = view(with_images(0, FLAGS[1]), baseline=with_images(-1, FLAGS[0], factor=0.8))
    lead = ahead_of_baseline(baseline)
    assert lead is not None
    assert lead.value == pytest.approx(0.79 - 0.8 * 0.8)


def test_where_no_error_is_known_a_lead_is_neither_clear_nor_unclear() -> None:
    study = view(record(0, FLAGS[0]), split=None, baseline=record(-1, FLAGS[2]))
    lead = ahead_of_baseline(study)
    assert lead is not None
    assert math.isnan(lead.half)
    assert lead.is_clear is None
    behind = ahead_of_baseline(view(record(0, FLAGS[2]), split=None, baseline=record(-1, FLAGS[0])))
    assert behind is not None
    assert behind.is_clear is False


def test_without_images_and_seeds_the_models_errors_are_compared() -> None:
    expected = {0: Expected(0.8, 0.01, 0.8), 1: Expected(0.79, 0.01, 0.79), 2: Expected(0.5, 0.01, 0.5)}
    study = view(*(record(number, flags) for number, flags in enumerate(FLAGS)), split=None, expected=expected)
    assert [each.number for each in not_told_apart(study)] == [1]


def test_networks_that_miss_the_target_lead_nothing() -> None:
    slow, fast = (DeviceMeasurement("macs", 2.0, 1.0, value, 0.1) for value in (3.0, 1.0))
    study = view(*(with_images(i, flags) for i, flags in enumerate(FLAGS)), measurements={0: slow, 1: fast, 2: fast})
    assert [each.number for each in leaders(study)] == [1, 2]
    assert study.best is not None
    assert study.best.number == 1


def test_where_nothing_was_learned_there_is_no_best() -> None:
    """Of five networks, the best reaches 13% of 200 images with a chance of 10%: the probability is .1 for each."""
    study = view(*(with_images(i, correct((0, 26))) for i in range(5)), baseline=with_images(-1, correct((0, 20))))
    assert study.learned is False
    assert study.best is None
    assert (not_told_apart(study), ahead_of_baseline(study)) == ((), None)
    with pytest.raises(StudyError, match=r"nothing has been learned(.|\n)*trial=NUMBER"):
        find_trial(study, "best")
    assert find_trial(study, "trial=3").number == 3


def test_a_network_that_learned_nothing_is_not_the_best_where_another_did() -> None:
    """Its cost gives it the higher score."""
    study = view(with_images(0, correct((0, 21)), factor=9.0), with_images(1, FLAGS[0]))
    assert study.learned
    assert study.best is not None
    assert study.best.number == 1


def test_all_seeds_decide_whether_something_was_learned() -> None:
    lucky = view(with_images(0, correct((0, 40))))
    assert lucky.learned
    assert attrs.evolve(lucky, confirmed={0: (0.1, 0.1)}).learned is False


def test_a_lucky_network_that_was_not_re_trained_is_no_winner() -> None:
    """What is most promising is re-trained next; until then, only re-trained networks are recommended."""
    lucky, other = with_images(0, correct((0, 40))), with_images(1, correct((0, 36)))
    study = view(lucky, other, confirmed={1: (0.1, 0.1)})
    assert study.learned is False
    assert study.best is None
    assert study.promising == (lucky, other)
    assert attrs.evolve(study, confirmed={1: (0.1, 0.1), 0: (0.2, 0.2)}).best == lucky


def test_whether_something_was_learned_is_not_known_without_the_split() -> None:
    study = view(record(0, correct((0, 20))), split=None)
    assert study.learned is None
    assert study.best is not None
    assert view().learned is None


FROM_SOURCE = SETTINGS | {"source": "lite"}


def test_a_trial_is_compared_with_its_source_by_accuracy_and_by_cost() -> None:
    """The source costs twice as much, which lowers its score; its accuracy is 0.8 and that of the trial 0.785."""
    trial = attrs.evolve(with_images(0, FLAGS[1]), costs={"macs": 1e6}, score=2.0)
    source = attrs.evolve(with_images(-1, FLAGS[0]), costs={"macs": 2e6}, score=0.1, label="lite")
    study = attrs.evolve(view(trial, baseline=source), settings=FROM_SOURCE)
    against = against_source(study, trial)
    assert against is not None
    assert (against.cost, against.unit, against.own, against.other, against.change) == ("macs", "MACs", 1e6, 2e6, -0.5)
    assert against.lead.value == pytest.approx(-2 / IMAGES)
    # One comparison: the interval is that of the pairs of images, whatever the scores are.
    assert against.lead.half == pytest.approx(difference([FLAGS[1]], [FLAGS[0]]).half_width(1))


def test_measured_costs_are_compared_only_with_measured_ones() -> None:
    trial = attrs.evolve(with_images(0, FLAGS[1]), costs={"macs": 1e6})
    source = attrs.evolve(with_images(-1, FLAGS[0]), costs={"macs": 2e6}, label="lite")
    measured = DeviceMeasurement("macs", 2e6, 1e6, 1.5e6, 0.0)
    only_one = attrs.evolve(view(trial, baseline=source, measurements={0: measured}), settings=FROM_SOURCE)
    both = attrs.evolve(only_one, measurements={0: measured, -1: attrs.evolve(measured, measured=3e6)})
    found = [against_source(study, trial) for study in (only_one, both)]
    assert [(each.own, each.other) for each in found if each] == [(1e6, 2e6), (1.5e6, 3e6)]


def test_a_baseline_that_is_no_source_is_compared_at_equal_score_only() -> None:
    study = view(with_images(0, FLAGS[1]), baseline=with_images(-1, FLAGS[0]))
    assert study.source is None
    assert against_source(study, study.records[0]) is None
