"""Tests of the command `nas pareto`."""

import csv
import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from nas.cli.pareto.command import command
from nas.cli.pareto.table import print_study
from nas.errors import NasError, StudyError
from nas.studies.records import Expected, StudyView
from tests.report.studies import record, run_search, study

Searched = tuple[StudyView, str]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return run_search(tmp_path_factory.mktemp("study"))


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_writes_a_page_and_prints_the_front(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, storage = searched
    monkeypatch.chdir(tmp_path)
    printed = invoke("demo", "--storage", storage)
    assert [path.name for path in tmp_path.iterdir()] == ["demo-pareto.html"]
    assert "wrote demo-pareto.html" in printed
    assert all(f"pareto={i} (trial {r.number}" in printed for i, r in enumerate(view.front, 1))
    assert view.baseline is not None
    assert f"baseline {view.baseline.label}" in printed
    assert f"next: nas show study:demo:pareto={len(view.front)} --storage {storage}" in printed


@pytest.mark.parametrize(("on_front", "line"), [(True, "pareto=1 (trial 1) *  "), (False, "trial 0 *")])
def test_the_recommended_trial_is_marked_on_the_front_or_printed_after_it(
    on_front: bool, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (attrs.evolve(record(number, accuracy=0.5 + number / 10), score=0.5) for number in (1, 0))
    expected = Expected(0.55, 0.01, 0.55)
    view = attrs.evolve(study(first, second), expected={1 if on_front else 0: expected})
    print_study(view, [], "sqlite:///nas.db")
    printed = capsys.readouterr().out
    assert line in printed
    assert f"\n* recommended: trial {1 if on_front else 0}; it has the highest expected score" in printed
    assert printed.count(" *  ") == 1


def test_json_and_csv_have_the_same_rows(searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view, storage = searched
    monkeypatch.chdir(tmp_path)
    printed = json.loads(invoke("demo", "--storage", storage, "--json", "--csv", "x.csv"))
    with Path("x.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in printed["rows"]] == read
    assert (printed["study"], printed["cost"]) == ("demo", "macs")
    assert printed["front"] == [record.number for record in view.front]
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_json_without_a_file_option_writes_no_file(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    invoke("demo", "--storage", searched[1], "--json")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_study_raises_an_error_that_names_the_existing_ones(searched: Searched) -> None:
    with pytest.raises(StudyError, match="no study 'other'") as raised:
        invoke("other", "--storage", searched[1])
    assert "demo" in raised.value.remedy


def test_a_missing_folder_raises_an_error(searched: Searched, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="cannot be written"):
        invoke("demo", "--storage", searched[1], "--html", str(tmp_path / "no" / "x.html"))


def test_the_help_has_an_example() -> None:
    assert "nas pareto demo --png demo.png" in invoke("--help")
