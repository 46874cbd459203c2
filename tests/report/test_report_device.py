"""The sections of the latency table and of the proxy: what a study holds, and what it does not."""

import math
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from nas.arch.presets import preset
from nas.cost.correction import CheckedError
from nas.report.device import compared, device_section
from nas.report.proxy import RankAgreement, proxy_section
from nas.studies.records import DeviceMeasurement, Record, StudyView
from tests.report.sections import drawn
from tests.report.studies import study
from tests.report.test_report_diagram import table_of
from tests.test_page_commands import parse

NOW = datetime(2026, 1, 11, 12, 0, tzinfo=UTC)
BASIS = {"by": "table mnasnet-224", "made": "2026-01-01 00:00", "machine": "<cpu> &", "graph": "opset18"}


def view(basis: dict[str, Any], *measured: DeviceMeasurement, spread: float | None = 0.5) -> StudyView:
    limit = {"cost": "latency_ms", "unit": "ms", "low": 7.2, "high": 8.0, "basis": basis}
    trials = [
        Record(i, "complete", "net", {"latency_ms": 8.0}, accuracy=0.5, spreads={"latency_ms": spread})
        for i in range(max(1, len(measured)))
    ]
    whole = study(*trials, targets=["latency=8ms"], limits=[limit])
    return StudyView(whole.name, whole.settings, whole.records, measurements=dict(enumerate(measured)))


def measurement(measured: float, predicted: float | None = 8.0, *, noisy: bool = False) -> DeviceMeasurement:
    return DeviceMeasurement("latency_ms", 8.0, predicted, measured, 0.1, noisy)


def rows_of(section: Any) -> dict[str, str]:
    return dict(section.tables[0].rows)


def test_a_search_with_counted_costs_names_the_commands_that_measure() -> None:
    section = device_section(study())
    assert "counted, and exact" in section.missing
    assert any("latency" in command for command in section.commands)


def test_what_the_study_stored_of_its_table_is_shown() -> None:
    section = device_section(view(BASIS, measurement(8.4)), now=NOW)
    facts = rows_of(section)
    assert facts["costs by"] == "table mnasnet-224"
    assert facts["age of the table"] == "10 days"
    # 0.5 ms of 8 ms.
    assert facts["error of a cost, as the search used it"] == "± 6.2% (standard deviation)"
    assert section.commands == ("nas latency check --table latency_tables/mnasnet-224.csv",)


def test_a_table_that_was_found_adds_its_check() -> None:
    import attrs

    table = attrs.evolve(table_of(preset("mnasnet-small")), checked=CheckedError(0.031, 0.004, 40))
    section = device_section(view(BASIS, measurement(8.4)), table, NOW)
    assert rows_of(section)["error found by a check"] == "3.1% ± 0.4% on 40 networks"
    assert section.commands == ()


def test_predicted_and_measured_costs_are_compared_within_both_errors() -> None:
    found = compared(view(BASIS, measurement(8.4), measurement(10.0), measurement(7.9, noisy=True)), "latency_ms")
    assert [pair.difference for pair in found] == [pytest.approx(x) for x in (0.05, 0.25, -0.0125)]
    # Both errors together are sqrt(0.5² + 0.1²) = 0.51 ms, and 1.96 of them 1.0 ms.
    assert [pair.is_expected for pair in found] == [True, False, True]
    section = device_section(view(BASIS, measurement(8.4), measurement(10.0), measurement(7.9, noisy=True)), now=NOW)
    assert "3 trials were measured in turns: 1 of them meet the target" in section.text
    assert "10.4% on average" in section.text
    assert "2 of 3 are within the 95% interval" in section.text
    assert "disturbed 1 measurement." in section.text
    assert [row[0] for row in section.tables[1].rows] == ["0", "1", "2"]


def test_the_mean_difference_has_students_interval() -> None:
    section = device_section(view(BASIS, measurement(8.0), measurement(8.8), measurement(8.4)), now=NOW)
    # Differences 0, 10 and 5%: mean 5%, standard deviation 5%, t(2) = 4.303; half = 4.303 * 5 / sqrt(3) = 12.4%.
    assert "(mean +5.0%, 95% interval -7.4% to +17.4%)" in section.text


def test_unknown_errors_and_failed_measurements_are_not_zero() -> None:
    section = device_section(view(BASIS, measurement(math.inf), measurement(8.4), spread=None), now=NOW)
    assert rows_of(section)["error of a cost, as the search used it"] == "unknown"
    (row,) = section.tables[1].rows
    assert row[1] == "8 ± ?"
    assert row[4] == "unknown"


def test_a_search_that_measured_every_candidate_says_so() -> None:
    section = device_section(view({"by": "measuring", "machine": "cpu"}), now=NOW)
    assert "every candidate was measured" in section.text
    assert "not verified" in section.text
    assert section.commands == ("nas latency table --device cpu",)


def test_a_cost_of_the_users_own_names_its_function() -> None:
    assert "returned by the function own:energy" in device_section(view({"function": "own:energy"}), now=NOW).text


def test_a_proxy_without_a_check_names_the_command() -> None:
    section = proxy_section(study(proxy={"evaluator": "train", "data": "digits", "recipe": {"shift": 0.1}}))
    assert "is not known" in section.text
    assert ("recipe.shift", "0.1") in section.tables[0].rows
    assert section.commands == ("nas check --space mnasnet --target flops=400M --data digits",)


@pytest.mark.parametrize(
    ("settings", "proxy", "options"),
    [
        ({"source": "efficientnet-lite0"}, {}, "--pretrained efficientnet-lite0 --resolution 96"),
        ({"source": "mine.pth"}, {"full_resolution": 224}, "--pretrained mine.pth"),
        ({}, {}, "--space around:efficientnet-lite0 --resolution 96"),
    ],
)
def test_the_command_for_a_space_around_a_network_can_be_run(
    settings: dict[str, str], proxy: dict[str, int], options: str
) -> None:
    whole: dict[str, Any] = {"space": "around-efficientnet-lite0", "resolution": 96, **settings}
    section = proxy_section(study(proxy={"evaluator": "finetune", "data": "digits", **proxy}, **whole))
    (command,) = section.commands
    assert command == f"nas check {options} --target flops=400M --data digits"
    parse(shlex.split(command)[1:])


def test_agreements_are_shown_with_intervals_and_guessing() -> None:
    agreements = [
        RankAgreement("train epochs=1", "train epochs=4", 16, 0.5, 0.2, 0.75, "check"),
        RankAgreement("a", "b", 16, 0.1, -0.3, 0.4, "check"),
        RankAgreement("c", "d", 16, math.nan, math.nan, math.nan, "check"),
    ]
    section = proxy_section(study(), agreements)
    assert "1 of 3 agreements can be told apart from guessing" in section.text
    assert [row[3] for row in section.tables[1].rows] == ["0.50 (0.20 to 0.75)", "0.10 (-0.30 to 0.40)", "unknown"]
    assert len(drawn(section).data[0].x) == 2


@pytest.mark.parametrize(
    ("proxy", "evaluator"),
    [
        ({"evaluator": "zero-cost", "score": "depth"}, "zero-cost:depth"),
        ({"evaluator": "python", "function": "mine:accuracy"}, "python:mine:accuracy"),
    ],
)
def test_an_evaluator_without_training_is_checked_against_a_training_run(proxy: dict[str, Any], evaluator: str) -> None:
    section = proxy_section(study(proxy=proxy))
    (given,) = section.commands
    assert given.endswith(f"--evaluator {evaluator} --truth train")
    assert "epochs" not in {row[0] for row in section.tables[0].rows}
