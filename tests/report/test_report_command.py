"""Tests of the command `nas pareto`."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import attrs
import optuna
import pytest
from click.testing import CliRunner

from nas.cli.pareto.command import command
from nas.cli.pareto.table import print_study
from nas.errors import NasError, StudyError
from nas.report.theme import HEIGHT_PX, WIDTH_PX
from nas.studies.records import Expected, StudyView
from tests.report.browser import find_browser
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


def test_a_score_without_training_is_not_called_a_measured_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    view = study(record(0), proxy={"evaluator": "zero-cost", "score": "depth"})
    print_study(view, [], "sqlite:///nas.db")
    printed = capsys.readouterr().out
    assert "it has the highest zero-cost score of all trials" in printed
    assert "accuracies are measured" not in printed


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
    assert "nas pareto demo --x params --png demo.png" in invoke("--help")


def test_the_front_of_another_cost_is_printed_with_its_hypervolume(searched: Searched, tmp_path: Path) -> None:
    view, storage = searched
    page = tmp_path / "x.html"
    printed = invoke("demo", "--storage", storage, "--x", "params", "--html", str(page))
    front = view.front_by("params")
    for record_ in front:
        assert f"trial {record_.number}" in printed
    assert "pareto=" not in printed
    assert f"next: nas show study:demo:trial={front[-1].number}" in printed
    assert "hypervolume " in printed
    assert "to the reference point" in printed
    assert "noisy" in printed
    assert b"Parameters (millions)" in page.read_bytes()


def test_json_has_the_front_and_the_hypervolume_of_the_cost(searched: Searched) -> None:
    view, storage = searched
    printed = json.loads(invoke("demo", "--storage", storage, "--x", "memory", "--json"))
    assert printed["cost"] == "peak_bytes"
    assert printed["front"] == [record_.number for record_ in view.front_by("peak_bytes")]
    assert 0 < printed["hypervolume"]["value"] < 1
    assert printed["hypervolume"]["cost"] == max(one.costs["peak_bytes"] for one in view.complete)


@pytest.fixture(scope="module")
def two(searched: Searched, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a storage with the study of `searched` and a copy of it under another name."""
    storage = f"sqlite:///{tmp_path_factory.mktemp('two') / 'nas.db'}"
    for name in ("demo", "other"):
        optuna.copy_study(from_study_name="demo", from_storage=searched[1], to_storage=storage, to_study_name=name)
    return storage


def test_several_studies_are_in_one_figure_and_one_table(
    two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = invoke("demo", "other", "--storage", two)
    assert [path.name for path in tmp_path.iterdir()] == ["demo-other-pareto.html"]
    assert printed.index("study demo") < printed.index("study other") < printed.index("front of all studies")
    page = Path("demo-other-pareto.html").read_text()
    assert "demo: front" in page
    assert "other: front" in page
    found = json.loads(invoke("demo", "other", "--storage", two, "--json", "--csv", "x.csv"))
    assert [each["study"] for each in found["studies"]] == ["demo", "other"]
    assert (found["differences"], found["cost"]) == ([], "macs")
    # Equal studies: the trials of the first one are the front of both.
    assert found["front"] == [{"study": "demo", "trial": number} for number in found["studies"][0]["front"]]
    assert found["hypervolume"] == pytest.approx(found["studies"][0]["hypervolume"]["value"])
    with Path("x.csv").open(newline="") as file:
        read = [row["study"] for row in csv.DictReader(file)]
    count = len(found["studies"][0]["rows"])
    assert read == ["demo"] * count + ["other"] * count


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "--x", "latency"), "has the cost latency_ms"),
        (("demo", "--x", "energy"), "not a known cost"),
        (("demo", "demo"), "named more than once"),
        (("demo", "missing"), "no study 'missing'"),
    ],
)
def test_what_cannot_be_drawn_raises_an_error_and_writes_nothing(
    arguments: tuple[str, ...], words: str, searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=words) as raised:
        invoke(*arguments, "--storage", searched[1])
    assert raised.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_drawing_does_not_replace_a_file_of_another_kind(ending: str, searched: Searched, tmp_path: Path) -> None:
    file = tmp_path / f"x.{ending}"
    file.write_bytes(b"SQLite format 3\x00")
    done = CliRunner().invoke(command, ["demo", "--storage", searched[1], f"--{ending}", str(file)])
    assert done.exit_code != 0
    assert file.read_bytes() == b"SQLite format 3\x00"


@pytest.mark.slow
def test_a_drawing_is_a_complete_svg_element(searched: Searched, tmp_path: Path) -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the image")
    file = tmp_path / "x.svg"
    invoke("demo", "--storage", searched[1], "--svg", str(file))
    drawn = ElementTree.parse(file).getroot()  # noqa: S314 - written by this test
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert (drawn.get("width"), drawn.get("height")) == (str(WIDTH_PX), str(HEIGHT_PX))
    assert "Multiply-adds per image (millions)" in "".join(drawn.itertext())
    invoke("demo", "--storage", searched[1], "--svg", str(file))  # replaces a drawing
