"""Studies and trials as Python sees them, and what they show in a terminal and in a notebook."""

import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

import nas
from nas.arch.code import format_text, parse_text
from nas.noise import ValidationSplit, pack
from nas.report.frame import trial_frame
from nas.studies.opening import open_storage
from nas.studies.records import DeviceMeasurement, Expected, Record, StudyView
from nas.studies.study import read_study
from tests.search.fakes import TINY

TEXT = format_text(nas.load_architecture("mnasnet-small"))
SETTINGS: dict[str, Any] = {
    "objective": "soft",
    "band": 0.9,
    "targets": ["flops=2M", "latency=8ms on cpu"],
    "limits": [
        {"cost": "macs", "unit": "MACs", "low": 1.8e6, "high": 2e6},
        {"cost": "latency_ms", "unit": "ms", "low": 0.0, "high": 8.0},
    ],
    "proxy": {"evaluator": "train"},
}


def record(number: int, accuracy: float | None, state: str = "complete", **more: Any) -> Record:
    costs = {"macs": 1e6 * (number + 2), "params": 1e4, "latency_ms": 2.0 + number}
    return Record(number, state, TEXT, costs, accuracy, (accuracy,) if accuracy else (), accuracy, 1.5, **more)


VIEW = StudyView(
    "demo",
    SETTINGS,
    (
        record(0, 0.25),
        record(1, 0.5, spreads={"latency_ms": 0.1}, metadata={"batch": 32}, seed=7),
        record(2, 0.375),
        record(3, None, "failed", reason="it failed"),
        record(4, 0.125, "pruned"),
        Record(5, "running", "", {}),
    ),
    record(-1, 0.3, label="mobilenetv2 x0.5"),
    measurements={
        1: DeviceMeasurement("latency_ms", 8.0, 3.0, 9.0, 0.1),
        2: DeviceMeasurement("latency_ms", 8.0, 4.0, 4.5, 0.1),
    },
    expected={1: Expected(0.45, 0.02, 0.45), 2: Expected(0.4, 0.03, 0.4)},
    confirmed={1: (0.375, 0.4375)},
)
STUDY = nas.Study(VIEW, "sqlite:///nas.db")


def test_trials_are_records_of_plain_values() -> None:
    assert [trial.number for trial in STUDY.trials] == [0, 1, 2, 3, 4, 5]
    trial = STUDY.trials[1]
    assert attrs.asdict(trial) == {
        "number": 1,
        "name": "",
        "state": "complete",
        "text": TEXT,
        "accuracy": 0.5,
        "accuracies": (0.5,),
        "expected_accuracy": 0.45,
        "expected_spread": 0.02,
        "expected_low": None,
        "expected_high": None,
        "further_accuracies": (0.375, 0.4375),
        "costs": {"macs": 3e6, "params": 1e4, "latency_ms": 3.0},
        "cost_spreads": {"latency_ms": 0.1},
        "score": 0.5,
        "measured_ms": 9.0,
        "measured_costs": {"latency_ms": 9.0},
        "meets_target": False,
        "seconds": 1.5,
        "seed": 7,
        "reason": "",
        "metadata": {"batch": 32},
    }
    assert trial.architecture == parse_text(TEXT)
    assert pickle.loads(pickle.dumps(trial)) == trial  # noqa: S301
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        trial.accuracy = 1.0  # type: ignore[misc]


def test_what_is_not_known_is_none() -> None:
    failed, running = STUDY.trials[3], STUDY.trials[5]
    assert (failed.accuracy, failed.expected_accuracy, failed.measured_ms, failed.meets_target) == (None,) * 4
    assert (failed.state, failed.reason, running.state) == ("failed", "it failed", "running")
    with pytest.raises(nas.StudyError, match="trial 5 has no architecture"):
        _ = running.architecture


def test_the_best_is_the_one_that_meets_the_target() -> None:
    assert STUDY.best == STUDY.trials[2]
    assert [trial.number for trial in STUDY.ranked] == [1, 2, 0]
    assert [trial.number for trial in STUDY.pareto()] == [0, 1]
    assert (STUDY.counted_trials, STUDY.accuracy_label) == (5, "accuracy")
    baseline = STUDY.baseline
    assert baseline is not None
    assert (baseline.number, baseline.name, baseline.accuracy) == (None, "mobilenetv2 x0.5", 0.3)


def test_a_study_without_complete_trials_has_no_best() -> None:
    empty = nas.Study(StudyView("empty", SETTINGS, ()))
    assert (empty.best, empty.baseline, empty.trials, empty.pareto()) == (None, None, [], [])
    assert repr(empty) == "Study empty\nin sqlite:///nas.db\nflops=2M and latency=8ms on cpu; 0 trials"
    assert "<table>" not in empty._repr_html_()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        STUDY.settings["band"] = 0.5  # type: ignore[index]
    assert STUDY.settings["band"] == 0.9


def test_the_table_of_trials_is_that_of_reports() -> None:
    pd.testing.assert_frame_equal(STUDY.trials_dataframe(), trial_frame(VIEW))


def test_a_study_is_shown_on_one_screen() -> None:
    assert repr(STUDY).splitlines() == [
        "Study demo",
        "in sqlite:///nas.db",
        "flops=2M and latency=8ms on cpu; 6 trials: 3 complete, 1 failed, 1 pruned, 1 running",
        "best                       accuracy     expected   MACs  params  latency        measured   score",
        "trial 1                      50.00%  45.0 ± 2.0%  3.00M   0.01M     3 ms     9 ms, above  0.5000",
        "trial 2 (recommended)        37.50%  40.0 ± 3.0%  4.00M   0.01M     4 ms  4.5 ms, within  0.3750",
        "trial 0                      25.00%            -  2.00M   0.01M     2 ms               -  0.2500",
        "baseline mobilenetv2 x0.5    30.00%            -  1.00M   0.01M     1 ms               -  0.3000",
    ]


def test_a_large_study_is_shown_on_one_screen_too() -> None:
    records = tuple(record(number, (number + 1) / 1000) for number in range(500))
    shown = repr(nas.Study(StudyView("large" * 100, SETTINGS, records), "sqlite:///nas.db")).splitlines()
    assert len(shown) <= 12
    assert max(map(len, shown)) <= 120


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_notebook_shows_the_same_table() -> None:
    page = Page(STUDY._repr_html_())
    assert page.tags.count("tr") == 5
    assert {"trial 1", "45.0 ± 2.0%", "3.00M", "baseline mobilenetv2 x0.5"} <= {*page.words}
    assert [word for word in page.words if word in ("Study demo", "in sqlite:///nas.db")] == [
        *("Study demo", "in sqlite:///nas.db"),
    ]


HOSTILE = "<script>alert('1')</script>&\"\x1b[2J\n\u202e"


def test_hostile_names_are_text() -> None:
    settings = {**SETTINGS, "targets": [HOSTILE], "limits": [{"cost": f"{HOSTILE}_ms", "unit": HOSTILE, "high": 1.0}]}
    trial = attrs.evolve(record(0, 0.5), costs={f"{HOSTILE}_ms": 3.0}, state=HOSTILE)
    view = StudyView(HOSTILE, settings, (trial, record(1, 0.5)), record(-1, 0.3, label=HOSTILE))
    study = nas.Study(view, "sqlite:///<b>.db")
    page = Page(study._repr_html_())
    assert {*page.tags} == {"div", "strong", "br", "table", "thead", "tbody", "tr", "th", "td"}
    assert "script" in "".join(page.words)
    for shown in (repr(study), study._repr_html_()):
        assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert len(repr(study).splitlines()) == 6


def test_a_password_is_shown_nowhere() -> None:
    study = nas.Study(VIEW, "postgresql://me:hunter2@host/db?password=hunter2")
    assert "hunter2" not in repr(study) + study._repr_html_() + study.storage
    assert "me" in study.storage


def test_a_stored_study_is_opened_listed_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    options: dict[str, Any] = {"target": "flops=2M", "band": 0.1, "evaluator": "zero-cost:params", "study": "demo"}
    study = nas.search("tiny.yaml", **options, trials=3)
    opened = nas.open_study("demo")
    assert opened.trials == study.trials
    assert (opened.name, opened.settings, opened.storage) == ("demo", study.settings, "sqlite:///nas.db")
    later = nas.search("tiny.yaml", **options, trials=4)
    assert (len(study.trials), len(later.trials), len(study.refresh().trials)) == (3, 4, 4)
    assert study.trials == later.trials[:3]
    assert nas.study_names(storage=f"sqlite:///{tmp_path / 'nas.db'}") == ["demo"]
    view = read_study(open_storage("sqlite:///nas.db"), "demo")
    assert view.best is not None
    best = nas.load_architecture("study:demo:best")
    assert format_text(best) == view.best.arch
    assert nas.load_architecture("study:demo:trial=2") == later.trials[2].architecture


def test_an_absent_study_or_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (lambda: nas.open_study("demo"), nas.study_names, lambda: nas.load_architecture("study:demo")):
        with pytest.raises(nas.StudyError, match=r"there is no study database nas\.db"):
            call()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "tiny.yaml").write_text(TINY)
    nas.search("tiny.yaml", "flops=2M", band=0.1, evaluator="zero-cost:params", study="demo", trials=1)
    with pytest.raises(nas.StudyError, match="there is no study 'other'"):
        nas.open_study("other")


def test_what_the_data_support_is_there_as_values() -> None:
    """4 of 10 images and 2 of 10 cannot be told apart; with 400 and 200 of 1000 they can."""
    for images, alike in ((10, [2]), (1000, [])):
        flags = [np.arange(images) < images * accuracy for accuracy in (0.1, 0.4, 0.2)]
        records = tuple(record(number, float(own.mean()), correct=pack(own)) for number, own in enumerate(flags))
        split = ValidationSplit(images, 0.01, float(images))
        view = attrs.evolve(VIEW, records=records, measurements={}, confirmed={}, expected={}, split=split)
        study = nas.Study(view, "sqlite:///nas.db")
        assert study.split == split
        assert study.learned is True
        assert study.best is not None
        assert study.best.number == 1
        assert [trial.number for trial in study.not_told_apart][: len(alike)] == alike
        assert study.ahead_of_baseline is not None
        difference, low, high = study.ahead_of_baseline
        assert difference == pytest.approx(0.1)
        assert low < difference < high
    nothing = nas.Study(attrs.evolve(view, split=ValidationSplit(1000, 0.4, 1000.0)), "sqlite:///nas.db")
    assert (nothing.learned, nothing.best, nothing.not_told_apart, nothing.ahead_of_baseline) == (False, None, [], None)
    assert "nothing has been learned" in repr(nothing)
    assert (STUDY.split, STUDY.learned) == (None, None)
