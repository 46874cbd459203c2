"""Tests of `nas report` as a command: its page, bad input, and watching."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import optuna
import pytest

from nas.api.report import watch_report
from nas.errors import StudyError
from nas.studies.opening import open_storage
from nas.studies.records import SETTINGS
from nas.studies.study import open_study
from tests.cli.conftest import Nas

OLDER = Path(__file__).parents[1] / "golden" / "studies_0.1" / "studies.sqlite"
STUDY = ("search", "--target", "flops=1.2M", "--band", "0.5", "--space", "tiny.yaml", "--study", "demo")


@pytest.fixture(name="older")
def _older(nas: Nas) -> Nas:
    """`nas` in a folder with the studies of version 0.1."""
    shutil.copy(OLDER, nas.folder / "nas.db")
    return nas


def answers(page: Path) -> str:
    """Return the text of a page up to the front."""
    text = re.sub("<style>.*?</style>", "", page.read_text(), flags=re.DOTALL)
    return " ".join(re.sub("<[^>]*>", " ", text.partition("Accuracy against cost</h2>")[0]).split())


@pytest.mark.parametrize(("study", "best"), [("finished", 6), ("killed", 2), ("front", 2), ("trained", 2)])
def test_studies_of_an_older_version_have_a_page(older: Nas, study: str, best: int) -> None:
    ran = older("report", study, "--out", "page.html", "--json")
    assert ran.code == 0, ran.err
    assert ran.json == {"study": study, "page": "page.html"}
    assert f"Use trial {best}: its accuracy is" in answers(older.folder / "page.html")


def test_a_study_without_trials_has_a_page_that_says_so(older: Nas) -> None:
    storage = open_storage(f"sqlite:///{older.folder}/nas.db")
    made = storage.get_study_user_attrs(storage.get_study_id_from_name("finished"))[SETTINGS]
    open_study(storage, "</h1><script>", ["maximize"], made)
    ran = older("report", "</h1><script>", "--watch", "1")
    assert ran.code == 0, ran.err
    text = answers(older.folder / "report.html")
    assert "No trial has begun yet" in text
    assert "no trial is complete" in text


def test_a_study_of_failures_alone_has_a_page_with_the_reasons(nas: Nas) -> None:
    (nas.folder / "mine.py").write_text("def accuracy(arch):\n    raise RuntimeError('broken <b>sensor</b>')\n")
    nas(*STUDY, "--trials", "2", "--evaluator", "python:mine:accuracy")
    ran = nas("report", "demo", "--out", "page.html")
    assert ran.code == 0, ran.err
    page = (nas.folder / "page.html").read_text()
    assert "Every trial that ended has failed" in page
    assert "broken &lt;b&gt;sensor&lt;/b&gt;" in page


def test_what_cannot_be_written_or_read_is_refused(older: Nas) -> None:
    older("report", "absent").refused("there is no study 'absent'", "finished")
    older("report", "finished", "--storage", "sqlite:///none.db").refused("there is no study database")
    (older.folder / "page.html").write_text("my notes")
    older("report", "finished", "--out", "page.html").refused("holds something else and not an HTML page")
    older("report", "finished", "--out", "page.txt").refused("has no known form")
    older("report", "finished", "--out", "none/page.html").refused("there is no folder none")
    older("report", "finished", "--watch", "0").refused("--watch", code=2)
    assert (older.folder / "page.html").read_text() == "my notes"
    assert not (older.folder / "report.html").exists()


def test_a_watched_search_is_written_until_it_has_ended(nas: Nas) -> None:
    (nas.folder / "mine.py").write_text(
        "import pathlib, time\ndef accuracy(arch):\n"
        "    while pathlib.Path('hold').exists() and pathlib.Path('first').exists():\n        time.sleep(0.05)\n"
        "    pathlib.Path('first').touch()\n    return 0.5\n"
    )
    (nas.folder / "hold").touch()
    search = nas.start(*STUDY, "--trials", "3", "--evaluator", "python:mine:accuracy")
    while not (nas.folder / "first").exists():
        assert search.poll() is None
    watch = nas.start("report", "demo", "--watch", "1")
    assert watch.stdout is not None
    assert watch.stdout.readline().startswith("wrote report.html after ")
    known = re.search(r'id="report-state">(.*?)</script>', (nas.folder / "report.html").read_text())
    assert known is not None
    assert json.loads(known[1])["refresh_s"] == 5.0
    (nas.folder / "hold").unlink()
    search.communicate(timeout=120)
    out, err = watch.communicate(timeout=120)
    assert watch.returncode == 0, err
    assert (
        out.splitlines()[-1]
        == "wrote report.html after 3 trials; no process is searching, so that this is the last page"
    )
    page = (nas.folder / "report.html").read_text()
    assert '"refresh_s":null' in page
    assert "3 complete" in page


def test_watching_ends_at_an_interrupt_and_leaves_a_whole_page(nas: Nas) -> None:
    (nas.folder / "mine.py").write_text("import time\ndef accuracy(arch):\n    time.sleep(600)\n")
    search = nas.start(*STUDY, "--trials", "3", "--evaluator", "python:mine:accuracy")
    while not (nas.folder / "nas.db").exists() or nas("studies", "--json").out.find("demo") < 0:
        assert search.poll() is None
    watch = nas.start("report", "demo", "--watch", "1")
    assert watch.stdout is not None
    assert watch.stdout.readline().startswith("wrote report.html after 0 trials")
    os.kill(watch.pid, signal.SIGINT)
    _, err = watch.communicate(timeout=60)
    assert watch.returncode == 130, err
    assert "Traceback" not in err
    assert (nas.folder / "report.html").read_text().rstrip().endswith("</html>")


def test_watching_a_study_that_is_deleted_ends_and_leaves_the_page(older: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = f"sqlite:///{older.folder / 'nas.db'}"
    out = older.folder / "watched.html"
    monkeypatch.setattr("nas.studies.activity.is_active", lambda _: True)
    watched = watch_report(
        "finished", out, storage, 1, lambda _: optuna.delete_study(study_name="finished", storage=storage)
    )
    assert next(watched).trials == 12
    before = out.read_bytes()
    with pytest.raises(StudyError, match="study finished was deleted while it was watched"):
        next(watched)
    assert out.read_bytes() == before
