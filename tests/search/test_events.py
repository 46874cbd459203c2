"""Events of a search hold what a view of it needs, so that it need not read the study itself."""

from pathlib import Path

import pytest

from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.evaluate.base import Evaluator
from nas.noise import ValidationSplit
from nas.search.events import Event
from nas.search.plan import plan
from nas.search.run import run
from nas.search.settings import Settings
from tests.search.fake_validation import FREQUENT, ImageEvaluators
from tests.search.fakes import FakeEvaluator, make_space


def events_of(url: str, trials: int, epochs: int = 2, evaluator: Evaluator | None = None) -> list[Event]:
    targets = (parse_target("flops=2M"), parse_target("params=100k"))
    settings = Settings(targets, trials=trials, epochs=epochs, band=0.0, confirm=0)
    told: list[Event] = []
    run(plan(make_space(), evaluator or FakeEvaluator(), settings, COUNTED, "s"), storage=url, listen=told.append)
    return told


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


def ended(told: list[Event]) -> list[int]:
    return [record.number for event in told for record in event.ended]


def test_each_trial_is_reported_as_ended_once_and_those_of_earlier_runs_first(url: str) -> None:
    assert ended(events_of(url, 5)) == [0, 1, 2, 3, 4]
    told = events_of(url, 9)
    assert ended(told) == [*range(9)]
    first = next(event for event in told if event.ended)
    assert [record.number for record in first.ended] == [*range(5)]


def test_a_trial_begins_before_its_epochs_and_its_end(url: str) -> None:
    told = [event for event in events_of(url, 3) if event.record is not None and event.record.number >= 0]
    for number in range(3):
        kinds = [event.kind for event in told if event.record and event.record.number == number]
        assert kinds[0] == "begun"
        assert kinds[-1] == "trial"
        assert {*kinds[1:-1]} == {"epoch"}
        begun = next(event for event in told if event.record and event.record.number == number)
        assert begun.record is not None
        assert (begun.record.accuracies, begun.record.state) == ((), "running")


def test_events_have_the_targets_by_the_names_of_their_costs(url: str) -> None:
    for event in events_of(url, 2):
        if event.kind in ("trial", "epoch"):
            assert event.limits == {"macs": 2e6, "params": 1e5}
            assert event.units == {"macs": "MACs", "params": "params"}
            assert event.split is None


def test_events_have_the_validation_split_from_the_first_trial_on(url: str) -> None:
    told = events_of(url, 2, evaluator=ImageEvaluators(1000, 0.7).at(32, 0))
    splits = [event.split for event in told if event.kind in ("begun", "trial")]
    assert splits
    assert {*splits} == {ValidationSplit(1000, FREQUENT, 1000.0)}
