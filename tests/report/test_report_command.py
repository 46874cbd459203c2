import csv
import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from nas.cli.pareto import _print, command
from nas.errors import NasError, StudyError
from nas.studies.records import Expected, StudyView
from tests.report.studies import record, searched, study

Made = tuple[StudyView, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return searched(tmp_path_factory.mktemp("study"))


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_default_writes_a_page_and_prints_the_front(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, storage = made
    monkeypatch.chdir(tmp_path)
    printed = invoke("demo", "--storage", storage)
    assert [path.name for path in tmp_path.iterdir()] == ["demo-pareto.html"]
    assert "wrote demo-pareto.html" in printed
    assert all(f"pareto={i} (trial {r.number}" in printed for i, r in enumerate(view.front, 1))
    assert view.baseline is not None
    assert f"baseline {view.baseline.label}" in printed
    assert f"next: nas show study:demo:pareto={len(view.front)} --storage {storage}" in printed


@pytest.mark.parametrize(("on_front", "line"), [(True, "pareto=1 (trial 1, best)"), (False, "best (trial 0)")])
def test_the_best_is_named_on_the_front_or_below_it(
    on_front: bool, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lucky, steady = (attrs.evolve(record(number, accuracy=0.5 + number / 10), score=0.5) for number in (1, 0))
    sure = Expected(0.55, 0.01, 0.55)
    view = attrs.evolve(study(lucky, steady), expected={1 if on_front else 0: sure})
    _print(view, [], "sqlite:///nas.db")
    printed = capsys.readouterr().out
    assert line in printed
    assert printed.count("best") == 1


def test_json_and_csv_hold_the_same_rows(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view, storage = made
    monkeypatch.chdir(tmp_path)
    told = json.loads(invoke("demo", "--storage", storage, "--json", "--csv", "x.csv"))
    with Path("x.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in told["rows"]] == read
    assert (told["study"], told["cost"]) == ("demo", "macs")
    assert told["front"] == [record.number for record in view.front]
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_json_alone_writes_no_file(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    invoke("demo", "--storage", made[1], "--json")
    assert list(tmp_path.iterdir()) == []


def test_unknown_study_names_those_there_are(made: Made) -> None:
    with pytest.raises(StudyError, match="no study 'other'") as told:
        invoke("other", "--storage", made[1])
    assert "demo" in told.value.remedy


def test_folder_that_is_not_there_is_told(made: Made, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="cannot be written"):
        invoke("demo", "--storage", made[1], "--html", str(tmp_path / "no" / "x.html"))


def test_help_has_an_example() -> None:
    assert "nas pareto demo --png demo.png" in invoke("--help")
