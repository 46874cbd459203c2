"""What `nas search` claims: nothing where nothing was learned, and no more than its images support elsewhere."""

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from PIL import Image

from nas.cli.search.result import print_result
from nas.noise import ValidationSplit, pack
from nas.report.uncertainty import first_sentences, leaders_sentence, split_sentence
from nas.studies.records import Expected, Record, StudyView
from tests.cli.conftest import Nas

SEARCH = ("search", "--target", "flops=1.2M", "--band", "0.5", "--space", "tiny.yaml", "--study", "demo")
SHORT = (
    *(*SEARCH, "--data", "photos", "--validation-share", "0.2", "--epochs", "2", "--proxy-resolution", "8"),
    *("--train-on", "cpu", "--threads", "1"),
)


def write_photos(folder: Path, *, alike: bool) -> None:
    """Write two classes of 80 and 40 images: of one gray or of noise that says nothing, or dark and bright ones."""
    rng = np.random.default_rng(0)
    for name, count, level in (("a", 80, 60), ("b", 40, 180)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3)) if alike else rng.integers(level - 40, level + 40, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")


def test_where_nothing_was_learned_no_winner_is_named(nas: Nas) -> None:
    write_photos(nas.folder / "photos", alike=True)
    searched = nas(*SHORT, "--trials", "4")
    assert searched.code == 0, searched.err
    assert searched.out.lstrip().startswith("Nothing has been learned: the highest accuracy of ")
    for words in ("of the 24 validation images", "more --epochs", "--proxy-resolution", "a standard error of"):
        assert words in searched.out
    assert "66.67%" in searched.out  # 16 of the 24 validation images are of the larger class
    for words in ("best: trial", "next:", "study:demo:best"):
        assert words not in searched.out
    told = nas(*SHORT, "--trials", "4", "--json")
    assert told.code == 0, told.err
    assert (told.json["best"], told.json["learned"]) == (None, False)
    assert (told.json["not_told_apart"], told.json["ahead_of_baseline"]) == ([], None)
    split = told.json["split"]
    assert (split["images"], split["majority_class"]) == (24, pytest.approx(16 / 24))
    assert 0.05 < split["standard_error"] < 0.15
    nas("show", "study:demo:best").refused("nothing has been learned", "trial=NUMBER")
    assert nas("show", "study:demo:trial=0", "--json").code == 0
    assert nas("studies", "--json").json[0]["best_accuracy"] is None
    assert nas("pareto", "demo").code == 0


def test_what_was_learned_has_intervals_and_leaders_that_are_alike(nas: Nas) -> None:
    write_photos(nas.folder / "photos", alike=False)
    told = nas(*SHORT, "--trials", "8", "--epochs", "6", "--json")
    assert told.code == 0, told.err
    assert told.json["learned"] is True
    best = told.json["best"]
    assert len(best["further_accuracies"]) == 2
    assert best["expected_low"] < best["expected_accuracy"] < best["expected_high"]
    # Of 24 images, no accuracy is known to a point. A 95% interval reaches two standard deviations to either side, at
    # least where 0 or 1 does not cut it off.
    assert best["expected_spread"] > 0.01
    assert best["expected_high"] - best["expected_low"] > 1.9 * best["expected_spread"]
    shown = nas(*SHORT, "--trials", "8", "--epochs", "6").out
    assert f"best: trial {best['trial']}\n" in shown
    assert "validation split: 24 images" in shown
    if told.json["not_told_apart"]:
        assert f"trial {best['trial']} cannot be told apart from trial" in shown


SETTINGS: dict[str, Any] = {
    "objective": "hard",
    "targets": ["flops=2M"],
    "limits": [{"cost": "macs", "unit": "MACs", "low": 0.0, "high": 2e6}],
    "proxy": {"evaluator": "train"},
}


def record(number: int, correct: int, **more: Any) -> Record:
    accuracy = correct / 1000
    packed = pack(np.arange(1000) < correct)
    return Record(number, "complete", "net", {"macs": 1e6}, accuracy, (accuracy,), accuracy, correct=packed, **more)


VIEW = StudyView(
    "demo",
    SETTINGS,
    (record(0, 700), record(1, 698), record(2, 697), record(3, 500)),
    record(-1, 600, label="known"),
    split=ValidationSplit(1000, 0.1, 1000.0),
)


def test_a_best_that_is_ahead_of_the_baseline_is_said_to_be_with_its_interval() -> None:
    (sentence,) = first_sentences(VIEW)
    assert sentence.startswith("The best network, trial 0, is ahead of the baseline known by more than noise: +10.0 ± ")


def test_a_baseline_that_is_ahead_is_named_first(capsys: pytest.CaptureFixture[str]) -> None:
    view = attrs.evolve(VIEW, baseline=record(-1, 705, label="known"))
    print_result(view, "sqlite:///nas.db")
    out = capsys.readouterr().out.lstrip()
    assert out.startswith(
        "No network is ahead of the baseline known by more than noise: trial 0 differs from it by -0.5"
    )
    assert "--trials" in out.partition("\n")[0]


def test_a_lead_of_unknown_error_is_said_to_be_one() -> None:
    unknown = attrs.evolve(
        VIEW,
        split=None,
        records=tuple(attrs.evolve(each, correct="") for each in VIEW.records),
        baseline=attrs.evolve(record(-1, 600, label="known"), correct=""),
    )
    (sentence,) = first_sentences(unknown)
    assert sentence.endswith("by +10.0 points of accuracy; the noise is not known.")
    assert split_sentence(unknown) == ""


def test_leaders_that_are_alike_are_named() -> None:
    assert leaders_sentence(VIEW) == (
        "trial 0 cannot be told apart from trials 1 and 2: its lead is not more than noise"
    )
    assert leaders_sentence(attrs.evolve(VIEW, records=(record(0, 700), record(3, 500)))) == ""


def test_a_score_without_training_is_not_compared_with_the_baseline() -> None:
    settings = SETTINGS | {"proxy": {"evaluator": "zero-cost"}}
    assert not list(first_sentences(attrs.evolve(VIEW, settings=settings, split=None)))


@pytest.mark.parametrize(("low", "words"), [(None, "70.0 ± 2.0%"), (0.66, "70.0% (66.0-74.0)")])
def test_the_interval_is_shown_and_what_it_contains(
    capsys: pytest.CaptureFixture[str], low: float | None, words: str
) -> None:
    high = None if low is None else 0.74
    view = attrs.evolve(VIEW, expected={0: Expected(0.7, 0.02, 0.7, low, high)})
    print_result(view, "sqlite:///nas.db")
    out = capsys.readouterr().out
    assert words in out
    assert ("between seeds only" in out) == (low is None)
    print_result(attrs.evolve(view, split=None), "sqlite:///nas.db")
    assert "between seeds only" in capsys.readouterr().out
