"""`nas search` and what reads its studies: the command as users run it."""

import re
import shlex
import signal
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.api.architectures import find_architecture
from nas.arch.code import format_text, parse_text
from nas.cli.search.result import print_result, result_row
from nas.cli.shared.printing import next_command
from nas.cost.analytic import cost
from nas.errors import StudyError
from nas.search import run
from nas.studies.records import Record, StudyView
from tests.cli import fake_nas
from tests.cli.conftest import FAKE, HELD, Nas, Ran, hear
from tests.cli.forker import Forker
from tests.cli.gate import Gate
from tests.clock import Clock
from tests.search.fakes import TINY

SEARCH = ("search", "--target", "flops=1.2M", "--band", "0.5", "--space", "tiny.yaml", "--study", "demo")
FAST = (*SEARCH, "--epochs", "2", "--trials", "6")
SHORT = (*FAST, "--images", "100", "--proxy-resolution", "8", "--train-on", "cpu")


def trials(folder: Path) -> list[tuple[Any, ...]]:
    """What must not depend on interruptions: of every trial that counts its architecture, state and score."""
    study = optuna.load_study(storage=f"sqlite:///{folder / 'nas.db'}", study_name="demo")
    assert not study.get_trials(states=[optuna.trial.TrialState.RUNNING])
    lasting = [trial for trial in study.trials if "killed" not in trial.user_attrs]
    kept = [(trial.user_attrs["arch"], trial.user_attrs["accuracy_by_epoch"]) for trial in lasting]
    return [(*pair, t.state, t.values) for pair, t in zip(kept, lasting, strict=True)]


def test_json_is_one_object_and_nothing_else(nas: Nas) -> None:
    ran = nas.fake(*FAST, "--target", "params=15k", "--json")
    assert ran.code == 0, ran.err
    result = ran.json
    assert (result["study"], result["trials"], result["targets"]) == ("demo", 6, ["flops=1.2M", "params=15k"])
    assert result["baseline"] is None
    best = result["best"]
    whole = cost(parse_text(best["arch"]))
    assert (best["macs"], best["params"]) == (whole.macs, whole.params)
    assert 0.6e6 <= best["macs"] <= 1.2e6
    assert 0 <= best["accuracy"] <= 1
    expected = best["accuracy"] * (best["macs"] / 1.2e6) ** -0.07  # the second target is a limit
    assert best["score"] == pytest.approx(expected)
    assert ran.err.count("\ntrial ") + ran.err.startswith("trial ") == 6


def test_a_study_is_shown_listed_and_taken_from(nas: Nas) -> None:
    searched = nas.fake(*FAST)
    assert searched.code == 0, searched.err
    for words in ("best: trial", "6 trials are in study demo", "next: nas pareto demo", "nas show study:demo:best"):
        assert words in searched.out
    listed = nas("studies", "--json")
    assert [(row["study"], row["trials"], row["killed"]) for row in listed.json] == [("demo", 6, 0)]
    best = nas("show", "study:demo:best", "--json").json
    assert best["params"] == cost(parse_text(best["arch"])).params
    study = optuna.load_study(storage=f"sqlite:///{nas.folder / 'nas.db'}", study_name="demo")
    storage = f"sqlite:///{nas.folder / 'nas.db'}"
    assert format_text(find_architecture("study:demo", storage)[1]) == best["arch"]
    assert format_text(find_architecture("study:demo:trial=3", storage)[1]) == study.trials[3].user_attrs["arch"]
    assert cost(find_architecture("study:demo:pareto=1", storage)[1]).macs <= best["macs"]
    nas("show", "study:demo:trial=77").refused("study demo has no trial=77", "6 trials are complete")
    with pytest.raises(StudyError, match="there is no study 'other'"):
        find_architecture("study:other", storage)


def test_a_studys_name_may_hold_colons(nas: Nas) -> None:
    assert nas.fake(*FAST, "--study", "mine:v1", "--trials", "1").code == 0
    for words in ("study:mine:v1:best", "study:mine:v1:trial=0", "study:mine:v1:pareto=1"):
        assert find_architecture(words, f"sqlite:///{nas.folder / 'nas.db'}")[0] == words


def test_a_space_that_runs_out_ends_early_and_says_so(nas: Nas) -> None:
    ran = nas.fake("search", "--target", "flops=10M", "--objective", "pareto", "--space", "smallest.yaml", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["trials"] == 3
    assert "exhausted: 3 of 20 trials are done; no new architecture was found in the cost range" in ran.err


def test_failures_are_shown_with_their_reason_and_five_in_a_row_end_it(nas: Nas) -> None:
    ran = nas.fake(*FAST, "--json", NAS_FAKE_FAILS="1")
    ran.refused("nas: 5 trials failed one after another, the last with: made to fail")
    assert ran.err.count("failed: made to fail") == 5
    assert nas("studies", "--json").json[0]["trials"] == 5
    later = nas.fake(*FAST, "--json")
    assert (later.code, later.json["trials"]) == (0, 6)


def test_a_dry_run_touches_nothing(nas: Nas) -> None:
    for target in ("flops=1M", "flops=2.44M"):
        ran = nas.fake("search", "--target", target, "--space", "tiny.yaml", "--dry-run", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["targets"] == [target]
        assert ran.json["seconds_in_all"] == 20 * 3 * 2.0
        assert "price" not in ran.json
    assert not (nas.folder / "nas.db").exists()


def test_a_dry_run_estimates_the_price(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*options: str) -> Ran:
        return nas.here(*FAST, *options, capsys=capsys, monkeypatch=monkeypatch)

    told = run("--dry-run", "--price", "2.5", "--json").json
    assert told["price"] == pytest.approx(2.5 * told["seconds_in_all"] / 3600, rel=0.01)
    for workers in ("1", "3"):
        told = run("--dry-run", "--trials", "6", "--workers", workers, "--threads", "1", "--json").json
        assert told["threads"] == 1
        assert told["seconds_in_all"] == pytest.approx(6 / int(workers) * told["seconds_a_trial"])
    run("--price", "2.5").refused("--price needs --dry-run", code=2)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("url", ["postgresql://me:hunter2@nowhere.invalid/db", "mysql://h/db?password=hunter2"])
def test_a_dry_run_keeps_a_password_to_itself(
    nas: Nas, url: str, form: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = nas.here(*FAST, "--storage", url, "--dry-run", *form, capsys=capsys, monkeypatch=monkeypatch)
    assert ran.code == 1
    assert url.partition(":")[0] in ran.err
    assert "hunter2" not in ran.out + ran.err


def test_a_next_command_is_what_a_shell_reads() -> None:
    words = ("show", "study:it's $HOME; a *:best")
    assert shlex.split(next_command(*words, storage="sqlite:///nas.db")) == ["nas", *words]
    at = ["--storage", "sqlite:///my files/nas.db"]
    assert shlex.split(next_command(*words, storage=at[1])) == ["nas", *words, *at]
    assert next_command("pareto", "demo", storage="postgresql://me:hunter2@h/db").endswith(" postgresql://me@h/db")


def test_next_commands_can_be_pasted(nas: Nas) -> None:
    at = ("--storage", "sqlite:///my studies.db")
    lines = nas.fake(*FAST, "--study", "my study", *at, "--trials", "1").out.splitlines()[-2:]
    searched = [shlex.split(line.removeprefix("next:")) for line in lines]
    assert searched == [["nas", "pareto", "my study", *at], ["nas", "show", "study:my study:best", *at]]
    drawn = nas(*searched[0][1:]).out.splitlines()[-1]
    shown = shlex.split(drawn.removeprefix("next:"))
    assert shown == ["nas", "show", "study:my study:pareto=1", *at]
    assert nas(*shown[1:]).code == nas(*searched[1][1:]).code == 0


def test_a_cost_that_a_study_does_not_hold_is_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    record = Record(0, "complete", "conv", {"macs": 2e6}, accuracy=0.5)
    settings = {"objective": "soft", "limits": [], "targets": ["flops=2M"], "proxy": {"evaluator": "train"}}
    view = StudyView("demo", settings, (record,))
    row = result_row(view, record)
    assert row is not None
    assert (row["macs"], row["params"], row["peak_bytes"]) == (2_000_000, None, None)
    print_result(view, "sqlite:///nas.db")
    assert capsys.readouterr().out.splitlines()[4].split() == ["trial", "0", "50.00%", "2.00M", "-", "-"]


def rows(folder: Path, state: str) -> int:
    """How many trials the database shows in a state, read beside Optuna."""
    try:
        with sqlite3.connect(f"file:{folder / 'nas.db'}?mode=ro", uri=True) as database:
            return int(database.execute("select count(*) from trials where state = ?", (state,)).fetchone()[0])
    except sqlite3.OperationalError:  # not yet there, or being written
        return 0


def end_and_go_on(nas: Nas, gate: Gate, arguments: tuple[str, ...], module: str, number: signal.Signals) -> None:
    """End the command in the middle of its first, then of its third trial, then let it finish."""
    for complete, arrivals in ((0, 1), (2, 4)):  # the first trial is begun twice
        gate.let(arrivals - 1)
        process = nas.start(*arguments, module=module, **gate.environment)
        gate.wait_for(arrivals)
        assert (rows(nas.folder, "COMPLETE"), rows(nas.folder, "RUNNING")) == (complete, 1)
        process.send_signal(number)
        if number == signal.SIGINT:
            hear(process, "finishing 1 trial")
            process.send_signal(number)  # the first one waits for the trial
        out, err = process.communicate(timeout=60)
        assert out == ""
        assert "Traceback" not in err
        if number != signal.SIGKILL:
            assert process.returncode == 130
            assert "stopped; the same command goes on with study demo" in err
            assert rows(nas.folder, "RUNNING") == 0
        else:
            assert process.returncode == -number
            assert rows(nas.folder, "RUNNING") == 1
    resumed = nas(*arguments, "--json", module=module)
    assert resumed.code == 0, resumed.err
    assert resumed.json["trials"] == 6
    assert "resumed: 2 of 6 trials are done" in resumed.err
    assert nas("studies", "--json").json[0]["killed"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended_twice_in_mid_trial_it_is_the_same_study(nas: Nas, gate: Gate, number: signal.Signals) -> None:
    end_and_go_on(nas, gate, FAST, FAKE, number)
    interrupted = trials(nas.folder)
    (nas.folder / "nas.db").unlink()
    assert nas.fake(*FAST).code == 0
    assert interrupted == trials(nas.folder)


@pytest.mark.slow
def test_ctrl_c_once_finishes_what_runs_and_tells_what_was_found(nas: Nas, gate: Gate) -> None:
    gate.let(1)
    process = nas.start(*FAST, module=FAKE, **gate.environment)
    gate.wait_for(2)
    process.send_signal(signal.SIGINT)
    hear(process, "finishing 1 trial; press Ctrl-C again to leave at once")
    gate.let()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command goes on with study demo" in err
    assert "nas show study:demo:best" in out
    assert (rows(nas.folder, "COMPLETE"), rows(nas.folder, "RUNNING"), rows(nas.folder, "FAIL")) == (2, 0, 0)
    assert nas.fake(*FAST).code == 0
    assert rows(nas.folder, "COMPLETE") == 6


@pytest.mark.slow
def test_sigterm_leaves_at_once_and_loses_nothing(nas: Nas, gate: Gate) -> None:
    process = nas.start(*FAST, module=FAKE, **gate.environment)
    gate.wait_for(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (process.returncode, rows(nas.folder, "RUNNING")) == (130, 0)
    assert nas.fake(*FAST, "--json").json["trials"] == 6


def test_no_trial_is_begun_after_the_time_limit(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(run, "time", clock)
    monkeypatch.setattr(fake_nas, "time", clock)
    monkeypatch.setenv("NAS_FAKE_SECONDS", "0.6")
    timed = nas.here(*FAST, "--timeout", "1s", "--json", capsys=capsys, monkeypatch=monkeypatch)
    assert timed.code == 0, timed.err
    assert timed.json["trials"] == 1  # of two epochs
    nas.fake(*FAST, "--timeout", "10").refused("'10' is not a duration above zero; write one like 90s", code=2)


def test_it_stops_when_nothing_better_has_come_for_long(nas: Nas) -> None:
    patient = nas.fake(*FAST, "--patience", "2", "--json")
    assert patient.code == 0, patient.err
    scores = [value for _, _, _, (value,) in trials(nas.folder)]
    best = scores.index(max(scores))
    assert len(scores) == best + 3 < 6


@pytest.mark.slow
def test_several_workers_make_a_study_of_as_many_different_trials(nas: Nas) -> None:
    ran = nas.fake(*FAST, "--workers", "3", "--trials", "12", "--json", NAS_FAKE_SECONDS="0.1")
    assert ran.code == 0, ran.err
    assert (ran.json["trials"], len({arch for arch, *_ in trials(nas.folder)})) == (12, 12)


@pytest.mark.slow
def test_two_commands_search_one_study(nas: Nas, gate: Gate) -> None:
    both = [nas.start(*FAST, "--trials", "12", module=FAKE, **gate.environment) for _ in range(2)]
    gate.wait_for(2)  # each has begun a trial
    gate.let()
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all("12 trials are in study demo" in out for out, _ in said)
    assert len({arch for arch, *_ in trials(nas.folder)}) == rows(nas.folder, "COMPLETE") == 12
    assert all(re.search(r"^trial ", err, re.MULTILINE) for _, err in said)


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> list[tuple[Any, ...]]:
    """What real trainings find that nobody ends."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "tiny.yaml").write_text(TINY)
    ran = Nas(folder, forker)(*SHORT)
    assert ran.code == 0, ran.err
    return trials(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_real_training_ended_twice_is_the_same_study(
    nas: Nas, gate: Gate, undisturbed: list[tuple[Any, ...]], number: signal.Signals
) -> None:
    end_and_go_on(nas, gate, SHORT, HELD, number)
    assert trials(nas.folder) == undisturbed
    assert len(undisturbed) == 6


@pytest.mark.slow
def test_balanced_accuracy_under_hyperband_is_a_study_of_its_own(nas: Nas) -> None:
    ran = nas(*SHORT, "--metric", "balanced", "--pruner", "hyperband", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["trials"] == 6
    lengths = {len(kept) for _, kept, *_ in trials(nas.folder)}
    assert lengths <= {1, 2}
    nas(*SHORT, "--pruner", "hyperband").refused("proxy.metric balanced, not accuracy")
