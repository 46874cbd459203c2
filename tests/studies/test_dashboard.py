"""What optuna-dashboard shows of a study of nas: asked of the program itself, by its interface over HTTP."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.api.dashboard import MOST_COMPLETE, MOST_ON_FRONT, MOST_PRUNED, draw_front
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import StudyError
from nas.search.plan import plan
from nas.search.run import run
from nas.search.settings import Settings
from nas.studies import dashboard
from nas.studies.dashboard import FIGURE, OWN, PART, STUDY_NOTE, Contents, changes, study_note
from nas.studies.journal_files import journals
from nas.studies.opening import open_storage
from nas.studies.records import Record, StudyView
from nas.studies.restore import restore
from nas.studies.study import read_study
from tests.report.studies import ARCH, record, study
from tests.search.fakes import FakeEvaluator, make_space

NAME = "demo"


def ask(url: str, path: str, method: str = "GET", **body: Any) -> tuple[int, Any]:
    """Return the status and the answer of a dashboard on a database."""
    sent, answered = json.dumps(body).encode(), []
    environment = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(sent)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(sent),
        "wsgi.errors": BytesIO(),
    }
    app = optuna_dashboard.wsgi(optuna.storages.get_storage(url))
    parts = app(environment, lambda status, _headers, *_: answered.append(int(status[:3])))
    return answered[0], json.loads(b"".join(parts) or b"null")


def shown(url: str) -> Any:
    status, answer = ask(url, "/api/studies/1")
    assert status == 200
    return answer


def trial_notes(url: str) -> dict[int, str]:
    return {trial["number"]: trial["note"]["body"] for trial in shown(url)["trials"] if trial["note"]["body"]}


def search(url: str, trials: int, draw: Any = draw_front, objective: str = "soft", seed: int = 0) -> StudyView:
    target = parse_target("flops=2M")
    settings = Settings((target,), trials=trials, epochs=2, band=0.0, objective=objective, confirm=0, seed=seed)
    planned = plan(make_space(), FakeEvaluator(), settings, COUNTED, NAME)
    return run(planned, storage=url, draw=draw)


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


def test_the_dashboard_shows_names_the_recommended_trial_and_the_front(url: str) -> None:
    view = search(url, 12)
    best = view.best
    assert best is not None
    answer = shown(url)
    assert answer["objective_names"] == ["score"]
    assert f"trial {best.number}" in answer["note"]["body"]
    assert "flops=2M" in answer["note"]["body"].splitlines()[0]
    (number, note), *others = trial_notes(url).items()
    assert (number, others) == (best.number, [])
    assert f"{100 * best.accuracy:.2f}%" in note if best.accuracy else False
    (graph,) = answer["plotly_graph_objects"]
    traces = json.loads(graph["graph_object"])["data"]
    front = next(trace for trace in traces if trace.get("name", "").startswith("Pareto front"))
    assert front["x"] == pytest.approx([each.costs["macs"] / 1e6 for each in view.front], rel=1e-5)
    assert front["y"] == pytest.approx([100 * (each.accuracy or 0) for each in view.front], rel=1e-5)
    assert any(trace.get("name", "").startswith("recommended") for trace in traces)


def test_both_objectives_of_a_front_are_named(url: str) -> None:
    search(url, 8, objective="pareto")
    assert shown(url)["objective_names"] == ["accuracy", "macs"]


def test_a_search_that_goes_on_writes_the_notes_again_and_moves_that_of_the_trial(url: str) -> None:
    first, later = search(url, 4), search(url, 40)
    assert first.best is not None
    assert later.best is not None
    assert first.best.number != later.best.number, "the search must find a better trial for this test"
    assert list(trial_notes(url)) == [later.best.number]
    note = shown(url)["note"]
    assert note["body"].endswith("after 40 trials.")
    assert note["version"] == 2
    # Nothing has changed, so nothing is written.
    search(url, 40)
    assert shown(url)["note"] == note


def test_a_note_of_a_user_is_kept(url: str) -> None:
    first = search(url, 4)
    assert first.best is not None
    study_id, trial_id = 1, 1 + first.best.number
    assert ask(url, f"/api/studies/{study_id}/note", "PUT", version=2, body="mine")[0] == 204
    assert ask(url, f"/api/studies/{study_id}/{trial_id}/note", "PUT", version=2, body="look at this")[0] == 204
    later = search(url, 40)
    assert later.best is not None
    assert shown(url)["note"] == {"version": 2, "body": "mine"}
    assert trial_notes(url)[first.best.number] == "look at this"
    assert later.best.number in trial_notes(url)


def test_the_study_counts_as_unchanged_and_is_restored_from_its_journal(url: str, tmp_path: Path) -> None:
    view = search(url, 12)
    assert view.foreign == ()
    other = f"sqlite:///{tmp_path / 'restored.db'}"
    restore(journals(url), other)
    assert read_study(open_storage(other), NAME) == view
    assert shown(other)["note"]["body"] == ""
    assert search(other, 12) == view
    assert shown(other)["note"]["body"] == shown(url)["note"]["body"]


@pytest.mark.parametrize("error", [StudyError("no figure", "none"), ZeroDivisionError(), ImportError("plotly")])
def test_a_figure_that_cannot_be_drawn_fails_no_search(url: str, error: Exception) -> None:
    def draw(_view: StudyView) -> str:
        raise error

    assert search(url, 3, draw).counted == 3
    assert shown(url)["plotly_graph_objects"] == []


def test_a_database_that_refuses_fails_no_search(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise optuna.exceptions.StorageInternalError

    monkeypatch.setattr(dashboard, "in_transaction", refuse)
    assert search(url, 3).counted == 3
    assert shown(url)["note"]["body"] == ""


def test_a_study_without_a_complete_trial_has_a_note_and_no_figure() -> None:
    view = study(record(0, state="failed", accuracy=None))
    assert draw_front(view) == ""
    assert "No network is recommended:** no trial is complete" in study_note(view)


def many(count: int) -> StudyView:
    """Return a study whose front is long: every hundredth trial is on it, and others are pruned."""
    rows = []
    for number in range(count):
        accuracy = 0.3 + 0.5 * number / count
        state = "pruned" if number % 5 == 1 else "complete"
        lower = 0.0 if number % 10 == 0 else 0.1 + 1e-5 * (number % 97)
        rows.append(record(number, 1e6 + 1e4 * number, accuracy - lower, state))
    return study(*rows)


def test_the_figure_of_ten_thousand_trials_is_bounded_and_says_what_it_shows() -> None:
    view = many(10_000)
    assert len(view.front) > 2 * MOST_ON_FRONT
    text = draw_front(view)
    assert len(text) < 100_000
    drawn = json.loads(text)
    by_name = {trace.get("name", ""): trace for trace in drawn["data"]}
    front = next(trace for name, trace in by_name.items() if name.startswith("Pareto front"))
    assert MOST_ON_FRONT / 2 < len(front["x"]) <= MOST_ON_FRONT
    assert front["x"][-1] == pytest.approx(view.front[-1].costs["macs"] / 1e6, rel=1e-5)
    most = max(len(trace["x"]) for trace in drawn["data"])
    assert MOST_COMPLETE / 2 < most <= MOST_COMPLETE
    count = sum(len(trace["x"]) for name, trace in by_name.items() if not name.startswith("recommended") and name)
    assert f"of which a sample of {count:,} is drawn" in drawn["layout"]["title"]["subtitle"]["text"].replace(
        "<br>", " "
    )
    assert count <= MOST_ON_FRONT + MOST_COMPLETE + MOST_PRUNED


def test_a_few_trials_are_all_drawn() -> None:
    failed = record(60, state="failed", accuracy=None)
    view = study(*many(60).records, failed)
    assert "61 trials" in draw_front(view)
    assert "sample" not in draw_front(view)


def stored(known: Mapping[str, Any], contents: Contents) -> dict[str, Any]:
    return {**known, **changes(known, contents)}


texts = st.text(max_size=3 * PART) | st.sampled_from(["", "x" * PART, "x" * (PART + 1), "y" * (3 * PART)])


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_the_dashboard_reads_what_was_written_last(contents: list[tuple[str, str]]) -> None:
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
    from optuna_dashboard._note import get_note_from_system_attrs

    known: dict[str, Any] = {"study:metric_names": ["score"]}
    figure = ""
    for note, drawn in contents:
        known, figure = stored(known, Contents({STUDY_NOTE: note, "7": f"{note}!"}, drawn)), drawn or figure
        assert get_note_from_system_attrs(known, None)["body"] == note
        assert get_note_from_system_attrs(known, 7)["body"] == f"{note}!"
        assert get_plotly_graph_objects(known).get("nas-pareto-front", "") == figure
        assert all(len(value) <= PART for key, value in known.items() if key.startswith((FIGURE, "dashboard:note_str")))
    assert changes(known, Contents({STUDY_NOTE: note, "7": f"{note}!"}, drawn)) == {}


def test_what_is_written_is_known_as_our_own() -> None:
    known = stored({}, Contents({STUDY_NOTE: "a", "7": "b"}))
    assert set(known[OWN]) == {"", "7"}
    known = stored(known, Contents({STUDY_NOTE: "a", "8": "b"}))
    assert set(known[OWN]) == {"", "8"}
    assert known["dashboard:7:note_str:0"] == ""


def test_hostile_texts_cannot_leave_their_place_in_a_note() -> None:
    hostile = Record(
        0, "complete", f"{ARCH}\n```\n<script>alert(1)</script>\n# big\x1b[2J", {"macs": 1.0}, accuracy=0.5
    )
    limits = [{"cost": "macs", "unit": "MACs", "high": 2.0}]
    note = study_note(
        study(
            hostile, limits=limits, targets=["flops=1 <img src=x onerror=alert(1)> [a](javascript:b) `c` \x1b[31m\nd"]
        )
    )
    first, *rest = note.splitlines()
    assert "<img" not in first
    assert "\\[a\\]\\(javascript:b\\) \\`c\\`" in first
    assert "\x1b" not in note
    lines = [line for line in rest if "script" in line or "```" in line or "# big" in line]
    assert len(lines) == 3
    assert all(line.startswith("    ") for line in lines)
