"""Databases from strangers: one message or a safe page; and passwords that stay where they were given."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from nas.arch.code import format_text
from nas.cli.shared.printing import print_json
from nas.studies.opening import open_storage
from nas.studies.records import SETTINGS
from nas.studies.study import open_study
from tests.cli.conftest import Nas, Ran
from tests.cli.test_cli_search import FAST
from tests.report.browser import browse, find_browser
from tests.search.fake_trials import template
from tests.search.fakes import make_space
from tests.studies.test_study import MADE_WITH

ARCH = format_text(make_space().from_indices([0] * 7))
TAG = "<img src=x onerror=\"document.title='hacked'\"></script><script>document.title='hacked'</script>"
KEPT: dict[str, Any] = {
    "arch": ARCH,
    "costs": {"macs": 1e6, "params": 5000, "peak_bytes": 20000},
    "accuracy_by_epoch": [0.5],
    "seconds": 0.1,
    "seed": 0,
}
Here = Callable[..., Ran]


@pytest.fixture(name="here")
def _here(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return lambda *arguments: nas.here(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def make_study(folder: Path, name: str = "demo", settings: Any = MADE_WITH, **kept: Any) -> None:
    """A study that anyone could have written."""
    storage = open_storage(f"sqlite:///{folder / 'nas.db'}")
    study = open_study(storage, name, ["maximize"], MADE_WITH)
    study.set_user_attr(SETTINGS, settings)
    storage.create_new_trial(study._study_id, template(TrialState.COMPLETE, [0.5], user_attrs=KEPT | kept))


TRIALS: dict[str, dict[str, Any]] = {
    "costs as text": {"costs": "macs"},
    "a cost as text": {"costs": {"macs": "1e6"}},
    "a cost that is none": {"costs": {"macs": float("nan")}},
    "an endless cost": {"costs": {"macs": float("inf")}},
    "accuracies as text": {"accuracy_by_epoch": "0.5"},
    "an accuracy as an object": {"accuracy_by_epoch": [{}]},
    "seconds": {"seconds": [1]},
    "arch as a list": {"arch": ["net"]},
    "reason": {"reason": {"a": 1}},
    "spreads": {"cost_spreads": [1]},
    "remarks": {"remarks": "text"},
}
SETTINGS_OF: dict[str, Any] = {
    "a text": "settings",
    "nothing": {},
    "targets as text": MADE_WITH | {"targets": "flops=1M"},
    "no limits": MADE_WITH | {"limits": []},
    "a limit as text": MADE_WITH | {"limits": ["macs"]},
    "proxy as text": MADE_WITH | {"proxy": "train"},
}


@pytest.mark.parametrize("case", SETTINGS_OF)
def test_settings_of_other_types_are_told_by_every_command(nas: Nas, here: Here, case: str) -> None:
    make_study(nas.folder, settings=SETTINGS_OF[case])
    for verb in (("studies",), ("show", "study:demo:best"), ("pareto", "demo"), ("pareto", "demo", "--json")):
        here(*verb).refused("study demo holds what nas does not write")


@pytest.mark.parametrize("case", TRIALS)
def test_a_trial_with_attributes_of_other_types_is_named_and_left_out(nas: Nas, here: Here, case: str) -> None:
    make_study(nas.folder, **TRIALS[case])
    make_study(nas.folder)
    for verb in (("studies",), ("pareto", "demo"), ("pareto", "demo", "--json")):
        ran = here(*verb)
        assert ran.code == 0, ran.err
        assert "1 trial was written or changed by another program and is left out: 0" in ran.err
    assert [(row["trials"], row["foreign"]) for row in here("studies", "--json").json] == [(1, 1)]
    assert [row["trial"] for row in here("pareto", "demo", "--json").json["rows"]] == [1]
    assert here("show", "study:demo:best", "--json").json["arch"] == ARCH
    here("show", "study:demo:trial=0").refused("study demo has no trial=0")


def test_a_damaged_study_does_not_hide_the_others(nas: Nas, here: Here) -> None:
    make_study(nas.folder)
    for name in ("damaged", "empty"):
        make_study(nas.folder, name, settings={})
    for options in ((), ("--json",)):
        ran = here("studies", *options)
        assert ran.code == 1
        assert "demo" in ran.out
        assert "study damaged holds what nas does not write" in ran.err
        assert "study empty holds what nas does not write" in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("kept", "settings", "verb", "word"),
    [
        ({"arch": "net\nstem __import__('os')"}, {}, ("show", "study:demo:best"), "line"),
        ({"costs": {"macs": 1.5, "params": 1e30}}, {}, ("pareto", "demo"), "holds a figure that nas does not write"),
        ({}, {"limits": [{"cost": "evil", "unit": "x", "low": 0, "high": 1}]}, ("pareto", "demo"), "no complete trial"),
    ],
)
def test_values_that_mean_nothing(
    nas: Nas, here: Here, kept: dict[str, Any], settings: dict[str, Any], verb: tuple[str, ...], word: str
) -> None:
    make_study(nas.folder, settings=MADE_WITH | settings, **kept)
    here(*verb).refused(word)


ROWS = {
    "a class": ("UPDATE trial_params SET distribution_json = ?", '{"name": "os.system", "attributes": {}}'),
    "no distribution": ("UPDATE trial_params SET distribution_json = ?", "[]"),
    "no JSON": ("UPDATE trial_user_attributes SET value_json = ?", "\x80\x04cos\nsystem"),
    "deep": ("UPDATE trial_user_attributes SET value_json = ?", "[" * 100_000),
    "state": ("UPDATE trials SET state = ?", "PICKLED"),
    "study's JSON": ("UPDATE study_user_attributes SET value_json = ?", "{"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_optuna_would_not_write(nas: Nas, here: Here, case: str) -> None:
    assert here(*FAST, "--trials", "1").code == 0
    with closing(sqlite3.connect(nas.folder / "nas.db")) as database:
        database.execute(ROWS[case][0], (ROWS[case][1],))
        database.commit()
    # A front has no use for the parameters of trials, and does not read them.
    pareto = () if "trial_params" in ROWS[case][0] else (("pareto", "demo"),)
    for verb in (("studies",), ("show", "study:demo:best"), *pareto, (*FAST, "--trials", "2")):
        ran = here(*verb)
        assert ran.code == 1, verb
        ran.refused("sqlite:///nas.db")


def test_json_holds_no_number_that_json_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [inf, nan, 1.5, 2], "b": {"c": -inf}, "d": (np.float64("inf"), None)})
    printed = capsys.readouterr().out
    assert not [word for word in ("Infinity", "NaN") if word in printed]
    assert json.loads(printed) == {"a": [None, None, 1.5, 2], "b": {"c": None}, "d": [None, None]}


def test_names_that_a_terminal_would_obey(nas: Nas, here: Here) -> None:
    make_study(nas.folder, "\x1b]0;hacked\x07\x1b[2J")
    assert "\x1b" not in here("studies").out


def test_a_page_holds_no_tag_of_a_database(nas: Nas, here: Here) -> None:
    name = f"a{TAG}"
    settings = MADE_WITH | {"space": TAG, "targets": [TAG]}
    make_study(nas.folder, name, settings, arch=f"net{TAG}")
    ran = here("pareto", name, "--html", "page.html", "--csv", "rows.csv")
    assert ran.code == 0, ran.err
    page = (nas.folder / "page.html").read_text()
    assert "<img src=x" not in page
    assert "</script><script>document" not in page
    assert page.count("hacked") > 1
    assert "default-src 'none'" in page


@pytest.mark.slow
def test_a_browser_runs_nothing_of_a_database(nas: Nas, here: Here) -> None:
    find_browser()
    settings = MADE_WITH | {"space": TAG, "targets": [TAG]}
    make_study(nas.folder, f"a{TAG}", settings, arch=f"net{TAG}")
    here("pareto", f"a{TAG}", "--html", "page.html")
    shown = browse(nas.folder / "page.html")
    assert "<title>hacked</title>" not in shown
    assert "main-svg" in shown


def test_rows_for_a_spreadsheet_hold_no_formula(nas: Nas, here: Here) -> None:
    make_study(nas.folder, arch="=cmd|'/C calc'!A0")
    assert here("pareto", "demo", "--csv", "rows.csv").code == 0
    assert ",'=cmd" in (nas.folder / "rows.csv").read_text()


SECRET = "hunter2/%$ word"  # noqa: S105 -- a made-up one
QUOTED = "hunter2%2F%25%24%20word"
REFUSING = "127.0.0.1:1"  # nothing listens there
URLS = {
    "user": f"postgresql+psycopg://me:{QUOTED}@{REFUSING}/db",
    "query": f"postgresql+psycopg://me@{REFUSING}/db?password={QUOTED}",
    "key of a certificate": f"postgresql+psycopg://me@{REFUSING}/db?sslpassword={QUOTED}",
    "usual driver": f"postgresql://me:{QUOTED}@{REFUSING}/db",
    "mysql": f"mysql+pymysql://me:{QUOTED}@{REFUSING}/db",
    "no port": f"postgresql+psycopg://me:{QUOTED}@127.0.0.1:port/db",
    "sqlite": f"sqlite:///file:nowhere/nas.db?uri=true&password={QUOTED}",
    "no url": QUOTED,
}
CHECK = ("check", "--space", "tiny.yaml", "--target", "flops=1.2M", "--evaluator", "zero-cost:macs", "--networks", "8")
VERBS = {
    "search": FAST,
    "dry run": (*FAST, "--dry-run"),
    "dry run as JSON": (*FAST, "--dry-run", "--json"),
    "start from": (*FAST, "--start-from", "study:demo:best"),
    "studies": ("studies",),
    "studies as JSON": ("studies", "--json"),
    "show": ("show", "study:demo:best"),
    "pareto": ("pareto", "demo"),
    "scale": ("scale", "--phi", "1"),
    "fit": ("scale", "mnasnet-small", "--fit"),
    "restore from": ("studies", "restore", "--into", "new.db"),
    "check": CHECK,
}


def leaks(text: str) -> bool:
    return any(form in text for form in (SECRET, QUOTED, "hunter2"))


@pytest.mark.parametrize("url", URLS)
def test_no_command_tells_a_password(nas: Nas, here: Here, url: str) -> None:
    for name, verb in VERBS.items():
        ran = here(*verb, "--storage", URLS[url])
        assert not leaks(ran.out + ran.err), name
        assert "Traceback" not in ran.err
        assert ran.code == 1, name
    into = here("studies", "restore", "tiny.yaml", "--into", URLS[url])
    assert not leaks(into.out + into.err)
    left = [path for path in nas.folder.rglob("*") if path.is_file()]
    assert not [path for path in left if leaks(path.read_bytes().decode("latin-1")) or leaks(path.name)]


def test_what_is_written_and_what_comes_next_hold_no_password(nas: Nas, here: Here) -> None:
    at = f"sqlite:///file:nas.db?uri=true&password={QUOTED}"
    for verb in (
        (*FAST, "--trials", "2"),
        (*FAST, "--trials", "2", "--json"),
        ("studies", "--json"),
        ("pareto", "demo"),
    ):
        ran = here(*verb, "--storage", at)
        assert not leaks(ran.out + ran.err)
    (nas.folder / "nas.db").write_bytes(b"")
    here("studies", "--storage", at).refused("nas studies restore --storage")
    assert not leaks(here("studies", "--storage", at).err)
    for path in nas.folder.rglob("*"):
        assert not leaks(path.name)
        assert not path.is_file() or not leaks(path.read_bytes().decode("latin-1")), path


@pytest.mark.slow
def test_a_server_that_refuses_is_told_with_its_place(here: Here) -> None:
    pytest.importorskip("psycopg")
    for verb in VERBS.values():
        if "--dry-run" in verb or "restore" in verb:
            continue
        ran = here(*verb, "--storage", URLS["user"])
        assert ran.code == 1
        assert "postgresql+psycopg://me:***@127.0.0.1:1/db" in ran.err
        assert "check that the server runs" in ran.err
        assert not leaks(ran.out + ran.err)


def test_a_journal_and_its_json_hold_what_was_asked_for_alone(nas: Nas, here: Here) -> None:
    assert here(*FAST, "--trials", "1", "--json").code == 0
    (line, *_) = (nas.folder / "nas-trials" / "demo.jsonl").read_text().split("\n")
    settings = json.loads(line)["attributes"][SETTINGS]
    assert not [key for key in settings if "storage" in key]
