"""Tests of the answers at the top of a report page, from studies with given records."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings

from nas.noise import ValidationSplit
from nas.report.page import certainty as certainty_part
from nas.report.page import choice as choice_part
from nas.report.page import device_cost as cost_part
from nas.report.page.answers import answers
from nas.report.page.asked import asked
from nas.report.page.certainty import certainty
from nas.report.page.choice import choice
from nas.report.page.device_cost import device_cost
from nas.report.page.failures import failures_section
from nas.report.page.front import front_section
from nas.report.page.trainings import trainings_section
from nas.report.page.words import sentence
from nas.studies.records import DeviceMeasurement, Expected, Interval, Record, StudyView
from tests.report.studies import ARCH, SETTINGS, record, studies, study

URL = "sqlite:///nas.db"
LATENCY: dict[str, Any] = {
    "targets": ["flops=400M", "latency=8ms on cpu"],
    "limits": [
        {"cost": "latency_ms", "unit": "ms", "low": 7.2, "high": 8.0, "basis": {"by": "measuring"}},
        {"cost": "macs", "unit": "MACs", "low": 0.0, "high": 400e6},
    ],
}


def timed(number: int, latency: float, accuracy: float) -> Record:
    found = record(number, accuracy=accuracy)
    return evolve(found, costs={**found.costs, "latency_ms": latency}, spreads={"latency_ms": 0.4})


def test_the_best_trial_is_recommended_with_its_cost_and_the_commands_for_it() -> None:
    found = choice(study(record(0, 380e6, 0.5), record(1, 390e6, 0.75)), URL)
    assert found.question == choice_part.QUESTION
    assert found.sentences[0] == (
        "Use trial 1: its accuracy is 75.00% (95% interval unknown), and it costs 390M MACs and 4M params."
    )
    assert [command for _, command in found.commands] == [
        "nas show study:demo:trial=1",
        "nas train study:demo:trial=1 --data FOLDER --out trial-1",
        "nas export trial-1",
    ]


@pytest.mark.parametrize(
    ("macs", "score", "settings", "said"),
    [
        # (320/400)^-0.07 = 1.0157, the objective of MnasNet.
        (320e6, 0.5 * 1.0157, {}, "That is 20% less than the target of 400M MACs: the soft objective pays for lower "),
        (320e6, 0.5 * 1.0157, {}, "is 1.6% above its accuracy, for multiply-adds (MACs)."),
        (398e6, 0.5 * 1.0004, {}, ""),
        (320e6, 0.5, {"objective": "hard"}, ""),
        (320e6, 0.5, {"w": [0.0, -1.0]}, ""),
        (320e6, None, {}, ""),
    ],
)
def test_what_the_soft_objective_pays_for_a_low_cost_is_stated(
    macs: float, score: float | None, settings: dict[str, Any], said: str
) -> None:
    found = " ".join(choice(study(evolve(record(0, macs, 0.5), score=score), **settings), URL).sentences)
    assert said in found
    assert bool(said) == ("pays for lower costs" in found)


def test_scores_without_training_have_no_intervals() -> None:
    view = study(record(0, accuracy=0.6), record(1, accuracy=0.7), proxy={"evaluator": "zero-cost", "score": "depth"})
    view = evolve(view, expected={number: Expected(0.6, 0.01, 0.6, 0.55, 0.65) for number in (0, 1)})
    section = front_section(view)
    assert section.figures[0].figure is not None
    assert all(trace.error_y.array is None for trace in section.figures[0].figure.data)
    assert "95% interval" not in section.text
    assert "95% interval" not in section.figures[0].figure.layout.meta["subtitle"]
    assert view.interval(view.records[0]) == Interval(0.6)


def test_networks_whose_difference_is_noise_are_not_told_apart() -> None:
    view = study(record(0, accuracy=0.70), record(1, accuracy=0.71), record(2, accuracy=0.10))
    split = ValidationSplit(images=100, effective=100.0, chance=0.1)
    expected = {0: Expected(0.70, 0.04, 0.70, 0.61, 0.78), 1: Expected(0.71, 0.04, 0.71, 0.62, 0.79)}
    alike = evolve(view, split=split, expected=expected)
    said = " ".join(choice(alike, URL).sentences)
    # 1 point of 100 images is far below their standard error of 4.5 points; 61 points are far above it.
    assert "Trial 1 cannot be told apart from trial 0: its lead is not more than noise." in said
    assert "trial 2" not in said
    sure = " ".join(certainty(alike).sentences)
    assert "95% interval 62.00 to 79.00%" in sure
    assert "Validation split: 100 images" in sure
    assert "Trial 1 was evaluated with one seed only." in sure


def test_nothing_is_recommended_where_nothing_was_learned() -> None:
    view = study(record(0, accuracy=0.11), record(1, accuracy=0.10))
    view = evolve(view, split=ValidationSplit(images=100, effective=100.0, chance=0.1))
    found = choice(view, URL)
    assert found.commands == ()
    assert found.sentences[0].startswith("Nothing has been learned: the highest accuracy of 2 networks is 11.00%")
    assert device_cost(view).sentences == ("No network is recommended, so that no cost is stated.",)


def test_costs_are_shown_as_asked_for_as_used_and_as_measured() -> None:
    measurements = {
        0: DeviceMeasurement("latency_ms", 8.0, 7.5, 8.4, 0.1),
        1: DeviceMeasurement("latency_ms", 8.0, 7.6, 7.9, 0.1),
    }
    view = evolve(study(timed(0, 7.5, 0.8), timed(1, 7.6, 0.7), **LATENCY), measurements=measurements)
    found = device_cost(view)
    # Trial 0 is more accurate and misses the target on the device.
    assert found.sentences[0] == (
        "Measured on the device, trial 1 takes 7.9 ms ± 0.1; the search used 7.6 ms, and the target is 8 ms."
    )
    assert (
        found.sentences[1] == "2 networks were measured on the device after the search, and 1 of them met the target."
    )
    (table,) = found.tables
    assert table.rows[0] == ("latency", "8 ms", "7.6 ms ± 0.4", "7.9 ms ± 0.1", "yes, as measured")
    assert table.rows[1] == ("multiply-adds (MACs)", "400M MACs", "380M MACs", "exact by counting", "yes")


def test_an_unknown_cost_is_not_a_number() -> None:
    only = Record(0, "complete", ARCH, {"params": 4e6}, accuracy=0.5)
    (table,) = device_cost(study(only)).tables
    assert table.rows[0] == ("multiply-adds (MACs)", "400M MACs", "unknown", "not measured", "unknown")


def test_a_network_that_did_not_run_is_said_to_have_failed() -> None:
    view = study(timed(0, 7.5, 0.8), **LATENCY)
    lost = {0: DeviceMeasurement("latency_ms", 8.0, 7.5, float("inf"), 0.0)}
    found = device_cost(evolve(view, measurements=lost))
    assert "No network is recommended" in found.sentences[0]


def test_an_empty_study_is_said_to_be_empty() -> None:
    found = {each.question: " ".join(each.sentences) for each in answers(study(), URL, is_active=True)}
    assert "No trial has begun yet" in found["What was asked?"]
    assert "A process is at work on this study now" in found["What was asked?"]
    assert found[choice_part.QUESTION] == "No network is recommended: no trial is complete."
    assert found[certainty_part.QUESTION] == "No trial is complete, so that nothing is known yet."
    assert found[cost_part.QUESTION] == "No network is recommended, so that no cost is stated."


def test_failures_are_counted_by_their_reasons() -> None:
    lost = [evolve(record(number, accuracy=None, state="failed"), reason="out of memory") for number in (0, 2)]
    ended = evolve(record(1, accuracy=None, state="killed"), reason="the process ended")
    section = failures_section(study(lost[0], ended, lost[1]))
    assert section.text.startswith("2 trials failed; 1 trial were interrupted.") or section.text.startswith(
        "2 trials failed; 1 trial"
    )
    assert "Every trial that ended has failed" in section.text
    assert section.tables[0].rows == (
        ("2", "failed", "out of memory", "0, 2"),
        ("1", "killed", "the process ended", "1"),
    )


def test_full_training_runs_show_both_accuracies_with_their_intervals() -> None:
    run = {
        "trial": 3, "folder": "photos-trained", "best_epoch": 2, "epochs": 2,
        "curve": [{"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": 0.75}],
        "validation": {"accuracy": 0.75, "low": 0.7, "high": 0.8},
        "test": {"accuracy": 0.72, "low": 0.69, "high": 0.75},
    }  # fmt: skip
    section = trainings_section(study(record(3)), [run], "")
    assert section.tables[0].rows == (
        (
            "3",
            "2 of 2",
            "75.00% (95% interval 70.00 to 80.00%)",
            "72.00% (95% interval 69.00 to 75.00%)",
            "photos-trained",
        ),
    )
    assert section.figures[0].figure is not None
    assert list(section.figures[0].figure.data[0].y) == [50.0, 75.0]
    for folder, shown in {str(Path.cwd() / "a" / "b"): str(Path("a") / "b"), "/home/someone/photos": "photos"}.items():
        assert trainings_section(study(record(3)), [{**run, "folder": folder}], "").tables[0].rows[0][-1] == shown
    assert trainings_section(study(record(3)), [], "nas train X").commands == ("nas train X",)


@given(studies())
@settings(max_examples=60, deadline=None)
def test_any_study_has_answers_of_whole_sentences(view: StudyView) -> None:
    for answer in answers(view, URL):
        assert answer.sentences
        for text in answer.sentences:
            assert text == sentence(text)
            assert "None" not in text
            assert "nan" not in text


def test_the_kind_of_evaluation_is_stated() -> None:
    view = study(
        record(0), proxy={"evaluator": "train", "data": "photos", "resolution": 32, "images": {"train": 80, "val": 20}}
    )
    assert asked(view).sentences[1] == (
        "Each network was trained from random weights for 3 epochs on 80 images of photos at 32 pixels, "
        "and validated on 20."
    )


def test_a_table_is_not_said_to_be_a_training_run() -> None:
    said = " ".join(certainty(study(record(0), record(1), proxy={"evaluator": "table"})).sentences)
    assert "looked up in one column only" in said
    assert "seed only" not in said


def test_scores_without_training_have_no_intervals_of_accuracies() -> None:
    trials = [record(number, accuracy=0.5) for number in range(3)]
    expected = {number: Expected(0.5, 0.01, 0.5) for number in range(3)}
    view = StudyView("demo", {**SETTINGS, "proxy": {"evaluator": "zero-cost"}}, tuple(trials), expected=expected)
    assert not any("95%" in text for text in certainty(view).sentences)
    assert "the network with the highest zero-cost score" in asked(view).sentences[0]


def test_a_front_of_one_network_has_no_ends() -> None:
    section = front_section(study(record(0)))
    assert "goes from" not in section.figures[0].alt_text
    assert "has 1 network, which none of 1 complete trial beats" in section.text
