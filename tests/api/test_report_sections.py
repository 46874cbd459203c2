"""All sections of a study, with what its database and the latency tables add."""

import shlex
import shutil
from pathlib import Path

import pytest
from optuna.storages import BaseStorage

from nas.api.report_sections import _words, find_stored_table, rank_agreements, report_sections
from nas.report.section import command
from nas.studies.job_runs import stored_runs
from nas.studies.opening import open_storage
from nas.studies.records import Record, StudyView
from nas.studies.study import read_study
from tests.report.studies import ARCH, record, run_search, study

OLDER = Path(__file__).parent.parent / "golden" / "studies_0.1" / "studies.sqlite"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("older") / "nas.db"
    shutil.copy(OLDER, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def older(url: str) -> BaseStorage:
    return open_storage(url, create=False)


@pytest.mark.parametrize("name", ["finished", "killed", "front", "trained"])
def test_every_older_study_has_every_section(older: BaseStorage, url: str, name: str) -> None:
    view = read_study(older, name)
    sections = report_sections(view, url, stored_runs(older))
    expected = {"history", "choices", "importance", "device", "proxy"}
    assert sections.keys() == expected | ({"network", "family"} if view.best else set())
    for section in sections.values():
        assert bool(section.missing) != bool(section.text)
        for figure in section.figures:
            types = () if figure.figure is None else (trace.type for trace in figure.figure.data)
            assert figure.svg or {*types} <= {"scatter", "bar", "pie"}
    identifiers = [figure.id for section in sections.values() for figure in section.figures]
    assert len(identifiers) == len(set(identifiers))


def test_commands_can_be_pasted_and_hold_no_password() -> None:
    from attrs import evolve

    view = evolve(study(*(Record(0, "complete", ARCH, {"macs": 1}, accuracy=0.5),)), name="a 'b; rm -rf /")
    commands = _words(view, "postgresql://me:secret@host/db")
    assert "secret" not in " ".join(commands)
    quoted = command("nas", "show", *commands)
    assert shlex.split(quoted) == ["nas", "show", *commands]
    assert command("nas", "show", "bad\x1bname") == ""


def test_trials_have_the_options_that_the_database_holds(older: BaseStorage) -> None:
    record = read_study(older, "finished").records[0]
    assert record.params["layer1.operator"] == "mbconv e6 k5"
    assert len(record.params) == 8


def test_training_runs_of_a_fit_a_comparison_and_a_check_are_found(older: BaseStorage) -> None:
    runs = {one.study: one for one in stored_runs(older)}
    assert {one.kind for one in runs.values()} == {"fit", "compare", "check"}
    assert sum(map(len, runs["compared"].accuracies.values())) == 6


def test_a_check_of_the_same_evaluator_is_compared_and_another_is_not(older: BaseStorage) -> None:
    whole = read_study(older, "finished")
    proxy = {"evaluator": "train", "data": "digits", "fingerprint": "2873563a0eba"}
    alike = StudyView("demo", {**whole.settings, "proxy": proxy}, whole.records)
    (agreement,) = rank_agreements(alike, stored_runs(older))
    assert (agreement.evaluator, agreement.other) == (
        "train epochs=1 resolution=16 images=256",
        "train epochs=4 resolution=16 images=256",
    )
    assert agreement.networks == 5
    assert -1 <= agreement.low <= agreement.tau <= agreement.high <= 1
    assert list(rank_agreements(whole, stored_runs(older))) == []


def test_a_new_search_has_every_section(tmp_path: Path) -> None:
    view, url = run_search(tmp_path)
    sections = report_sections(view, url)
    assert sections["history"].figures
    assert "<svg" in sections["network"].figures[0].svg
    assert "with fewer than 20" in sections["choices"].missing


@pytest.mark.parametrize("name", ["../../etc/passwd", "no such table", "a\0b", ""])
def test_a_table_that_is_not_there_is_none(name: str) -> None:
    limit = {"cost": "latency_ms", "unit": "ms", "low": 0.0, "high": 8.0, "basis": {"by": f"table {name}"}}
    assert find_stored_table(study(limits=[limit])) is None


def test_the_table_that_a_study_names_is_found_by_its_date() -> None:
    from nas.api.devices import table_folders
    from nas.cost.table_file import read_table

    path = next(path for folder in table_folders() for path in sorted(folder.glob("mnasnet-*.csv")))
    table = read_table(path)
    basis = {"by": f"table {table.name}", "made": table.origin.date}
    limit = {"cost": "latency_ms", "unit": "ms", "low": 0.0, "high": 8.0, "basis": basis}
    found = find_stored_table(study(limits=[limit]))
    assert found is not None
    assert found.origin == table.origin
    other = {**limit, "basis": {**basis, "made": "2020-01-01 00:00"}}
    assert find_stored_table(study(limits=[other])) is None


@pytest.mark.parametrize("text", ["", "no architecture", 'net <b>&"\nstem'])
def test_a_recommended_trial_that_holds_no_architecture_has_no_diagram(text: str) -> None:
    view = study(Record(0, "complete", text, {"macs": 380_000_000}, accuracy=0.5))
    assert view.best is not None
    sections = report_sections(view)
    assert "holds no architecture that can be read" in sections["network"].missing
    assert "family" not in sections


def test_a_table_of_accuracies_needs_no_check_of_a_training_run() -> None:
    section = report_sections(study(record(0), proxy={"evaluator": "table", "table": "a.csv"}))["proxy"]
    assert not section.commands
    assert "No check" not in section.text
    assert "epochs" not in {row[0] for table in section.tables for row in table.rows}
