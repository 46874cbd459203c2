"""What a search reports of its progress: how much time is left, and what it does first."""

import attrs
import pytest

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.search.duration import describe_work, evaluations_after_trials, seconds_in_all
from nas.search.plan import plan
from nas.search.progress import Progress
from nas.search.settings import Settings
from nas.space.files import find_space
from nas.studies.records import Record
from tests.search.fakes import FakeEvaluator


def after(trials: int, seconds: float) -> Progress:
    progress = Progress()
    for number in range(trials):
        record = Record(number, "complete", "net", {}, 0.5, (0.5,), 0.5)
        progress.add([record])
        progress.ended(record, seconds)
    return progress


def test_trials_at_once_share_the_time_and_what_follows_does_not() -> None:
    progress = after(2, 10.0)
    assert progress.seconds_left(12) == pytest.approx(100)
    assert progress.seconds_left(12, at_once=2) == pytest.approx(50)
    progress.at_once = 5  # as many as the machines of a cluster hold, which no option says
    assert progress.seconds_left(12) == pytest.approx(20)
    assert progress.seconds_left(12, later=3) == pytest.approx(20 + 30)
    assert after(12, 10.0).seconds_left(12, later=2) == pytest.approx(20)
    assert after(12, 10.0).seconds_left(12) == 0
    assert Progress().seconds_left(12, later=3) is None


def test_an_estimate_counts_the_baseline_and_divides_trials_alone() -> None:
    settings = Settings((parse_target("flops=300M"),), trials=40, epochs=3)
    planned = plan(find_space("mnasnet"), FakeEvaluator(), settings, COUNTED)
    assert evaluations_after_trials(planned) == 1  # this evaluator has no seeds
    assert seconds_in_all(planned, 6.0) == 6 * 41
    shared = attrs.evolve(planned, settings=attrs.evolve(settings, workers=4))
    assert seconds_in_all(shared, 6.0) == 6 * 11
    assert describe_work(planned, None) == (
        "each trial takes at most 3 epochs; the baseline mobilenetv2 x0.98 follows after the trials"
    )
