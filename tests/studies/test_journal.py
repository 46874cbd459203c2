"""Journals hold what was written to the database, and are read whatever else is in the file."""

import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyError
from nas.optuna_private.identity import study_id
from nas.search.job_study import job_study_names
from nas.studies.bulk_storage import BulkStorage
from nas.studies.journal import JournalState
from nas.studies.journal_files import append, create, database_file, journal_folder, journal_path, journals, read_lines
from nas.studies.journal_text import (
    Attribute,
    Entry,
    Head,
    format_attribute,
    format_head,
    format_trial,
    parse_line,
)
from nas.studies.opening import open_storage
from nas.studies.restore import Contents, read_journal, restore
from nas.studies.study import open_study, read_study
from nas.studies.tables import backend
from tests.search.fake_trials import ATTRS, template
from tests.search.fakes import outcome
from tests.search.test_killed import PROCESSES, TRIALS, complete, end_at, go
from tests.search.trials import JSON, KEYS, finished_trials, shown
from tests.studies.test_study import MADE_WITH

HEAD = Head("demo", ["maximize"], {"nas:settings": {"format": 1}})
GARBAGE = st.binary(max_size=60).filter(lambda line: b"\n" not in line and line.strip())


def read_back(data: bytes) -> Contents:
    with TemporaryDirectory() as folder:
        path = Path(folder, "demo.jsonl")
        path.write_bytes(data)
        return read_journal(path)


@st.composite
def several(draw: st.DrawFn) -> list[FrozenTrial]:
    return [draw(finished_trials(number)) for number in range(draw(st.integers(0, 4)))]


@given(trial=finished_trials(7))
def test_a_trial_is_read_as_it_was_written(trial: FrozenTrial) -> None:
    line = format_trial(trial)
    assert b"\n" not in line
    read = parse_line(line)
    assert isinstance(read, FrozenTrial)
    assert shown(read) == shown(trial)


@given(key=KEYS, value=JSON, directions=st.sampled_from([["maximize"], ["minimize"], ["maximize", "minimize"]]))
def test_a_study_and_an_attribute_are_read_as_they_were_written(key: str, value: Any, directions: list[Any]) -> None:
    for entry, line in (
        (Head(key, directions, {key: value}), format_head(Head(key, directions, {key: value}))),
        (Attribute(key, value), format_attribute(Attribute(key, value))),
        (Attribute(key, [value], 3), format_attribute(Attribute(key, [value], 3))),
    ):
        assert repr(parse_line(line)) == repr(entry)
        assert b"\n" not in line


@given(trials=several(), cut=st.floats(0, 1))
def test_a_file_that_was_cut_still_holds_the_trials_before_the_cut(trials: list[FrozenTrial], cut: float) -> None:
    lines = [format_head(HEAD), *map(format_trial, trials)]
    whole = b"\n".join(lines)
    end = round(len(lines[0]) + cut * (len(whole) - len(lines[0])))
    ends = [len(b"\n".join(lines[: i + 1])) for i in range(len(lines))]
    read = read_back(whole[:end])
    assert list(map(shown, read.trials)) == list(map(shown, trials[: sum(own <= end for own in ends) - 1]))
    # The line break before a line that is wholly gone is all that may be left of it.
    assert len(read.skipped_lines) == (end not in ends and end - 1 not in ends)


@given(trials=several(), garbage=st.lists(GARBAGE, max_size=4), order=st.randoms(use_true_random=False))
def test_garbage_between_lines_is_skipped(trials: list[FrozenTrial], garbage: list[bytes], order: Any) -> None:
    mixed = [*map(format_trial, trials), *garbage]
    order.shuffle(mixed)
    read = read_back(b"\n".join([format_head(HEAD), *mixed]))
    assert list(map(shown, read.trials)) == list(map(shown, trials))
    assert len(read.skipped_lines) == len(garbage)


@given(trial=finished_trials(0), garbage=GARBAGE)
def test_a_line_that_was_cut_short_does_not_spoil_the_next_one(trial: FrozenTrial, garbage: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "demo.jsonl")
        assert create(path, [format_head(HEAD)])
        with path.open("ab") as file:
            file.write(b"\n" + garbage)
        assert append(path, [format_trial(trial)])
        read = read_journal(path)
    assert list(map(shown, read.trials)) == [shown(trial)]
    assert len(read.skipped_lines) == 1


def test_of_two_lines_for_the_same_trial_or_attribute_the_last_counts() -> None:
    first, second = template(TrialState.COMPLETE, [0.5]), template(TrialState.COMPLETE, [0.25])
    first.number = second.number = 0
    notes = [Attribute("a", 1), Attribute("list", [1, 2]), Attribute("list", [3], 2), Attribute("a", 2)]
    notes.append(Attribute("list", [9], 7))  # what is before it is not known
    lines = [format_head(HEAD), *map(format_trial, (first, second)), *map(format_attribute, notes)]
    read = read_back(b"\n".join(lines))
    assert list(map(shown, read.trials)) == [shown(second)]
    assert read.attributes == {"nas:settings": {"format": 1}, "a": 2, "list": [1, 2, 3]}
    assert [line.partition(":")[0] for line in read.skipped_lines] == ["line 8"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"user_attrs": {"costs": {"macs": 1.0}}, "system_attrs": {}},
        {"user_attrs": {}, "system_attrs": {"nsga2:parents": [1, 2], "inner": {"a": {"b": 1}}}},
    ],
)
def test_a_line_that_was_cut_anywhere_does_not_count_as_a_trial(tmp_path: Path, attributes: dict[str, Any]) -> None:
    """Otherwise the trial would not be appended again, and a restore could not read it."""
    trial = template(TrialState.COMPLETE, [0.5], **attributes)
    trial.number = 3
    line = format_trial(trial)
    path = tmp_path / "demo.jsonl"
    path.write_bytes(line)
    assert len(JournalState.read(path).trial_keys) == 1
    for end in range(1, len(line)):
        path.write_bytes(line[:end])
        assert not JournalState.read(path).trial_keys, line[:end]


TRIAL: dict[str, Any] = json.loads(format_trial(template(TrialState.COMPLETE, [0.5], user_attrs={})))
NAMED = {"name": "FloatDistribution", "attributes": {"low": 0.0, "high": 1.0, "log": False, "step": None}}


def changed(**rest: Any) -> bytes:
    return json.dumps(TRIAL | {"number": 0} | rest).encode()


def having(distribution: Any, value: Any = 0.5) -> bytes:
    return changed(params={"x": value}, distributions={"x": distribution})


def data_of(name: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "attributes": attributes}


HOSTILE: dict[str, tuple[bytes, str]] = {
    "huge": (b'{"kind": "trial", "x": "' + b"x" * 33_000_000 + b'"}', "longer than 32,000,000 bytes"),
    "deep": (b'{"kind": "trial", "user": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    "deeper than is kept": (changed(user={"x": json.loads("[" * 80 + "]" * 80)}), "nested more than 50"),
    "long number": (b'{"kind": "trial", "number": ' + b"9" * 10_000 + b"}", "not JSON"),
    "no object": (b"[1, 2]", "no JSON object"),
    "binary": (b"\x80\x04\x95cposix\rsystem", "not"),
    "unknown kind": (b'{"kind": "pickle"}', "kind is none of study, trial, attribute"),
    "kind of another type": (b'{"kind": {}}', "kind is {}"),
    "missing": (b'{"kind": "trial"}', "state is missing"),
    "state": (changed(state="RUNNING"), "state is 'RUNNING'"),
    "state of another type": (changed(state=["COMPLETE"]), "state is ['COMPLETE']"),
    "number below 0": (changed(number=-1), "number is -1"),
    "number of a million and more": (changed(number=10**7), "number is 10000000"),
    "far number": (changed(number=999_999), "far above the number of trials"),
    "number as true": (changed(number=True), "number is True"),
    "number as text": (changed(number="0"), "number is '0'"),
    "NaN": (changed(values=[float("nan")]), "values"),
    "no values": (changed(values=None), "values should be set"),
    "large value": (changed(values=[10**400]), "a value is 1000"),
    "values as text": (changed(values="12"), "values is '12'"),
    "two values": (changed(values=[0.5, 0.5]), "has 2 values, not 1"),
    "begun": (changed(begun="yesterday"), "begun is 'yesterday'"),
    "begun at no time": (changed(begun=None), "begun is None"),
    "zone": (changed(begun="2026-01-01T00:00:00+00:00"), "without its zone"),
    "user": (changed(user=[1]), "user is [1]"),
    "surrogate": (changed(user={"\ud800": 1}), "surrogates not allowed"),
    "long key": (changed(user={"x" * 1000: 1}), "at most 512"),
    "steps": (changed(steps=[[0, 0.5, 1]]), "a step is [0, 0.5, 1]"),
    "step": (changed(steps=[[2**80, 0.5]]), "a step's number"),
    "class": (
        having(data_of("os.system", command="touch hacked")),
        "the distribution of 'x' is 'os.system'",
    ),
    "class of another module": (
        having(data_of("subprocess.Popen", args=["touch", "hacked"])),
        "is 'subprocess.Popen'",
    ),
    "old class": (having(data_of("UniformDistribution", low=0, high=1)), "'UniformDistribution'"),
    "distribution as text": (having(json.dumps(NAMED)), "not an object"),
    "dunder": (having(data_of("__class__")), "'__class__'"),
    "missing attribute": (having(data_of("FloatDistribution", low=0)), "cannot be made"),
    "low is NaN": (
        having(data_of("FloatDistribution", low=float("nan"), high=1, log=False, step=None)),
        "low is nan",
    ),
    "high below low": (
        having(data_of("FloatDistribution", low=1, high=0, log=False, step=None)),
        "cannot be made",
    ),
    "large int": (
        having(data_of("IntDistribution", low=0, high=10**400, log=False, step=1), 1),
        "below 2^53",
    ),
    "choices": (having(data_of("CategoricalDistribution", choices=[{}]), {}), "choices is [{}]"),
    "no choice": (having(data_of("CategoricalDistribution", choices=[])), "cannot be made"),
    "outside": (having(NAMED, 1.5), "isn't contained"),
    "param as text": (having(NAMED, "0.5"), "param"),
    "param without distribution": (changed(params={"y": 1}, distributions={}), "Inconsistent parameters"),
    "format": (b'{"kind": "study", "format": 2, "name": "x", "directions": ["maximize"], "attributes": {}}', "format"),
    "directions": (
        b'{"kind": "study", "format": 1, "name": "x", "directions": ["up"], "attributes": {}}',
        "directions is ['up']",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_line_is_refused_with_its_number_and_a_reason(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, reason = HOSTILE[case]
    monkeypatch.chdir(tmp_path)
    good = template(TrialState.COMPLETE, [0.5], user_attrs={})
    good.number = 1
    read = read_back(b"\n".join([format_head(HEAD), line, format_trial(good)]))
    assert list(map(shown, read.trials)) == [shown(good)]
    (told,) = read.skipped_lines
    assert told.startswith("line 2: ")
    assert reason in told
    assert len(told) < 400
    assert list(tmp_path.iterdir()) == []


def test_a_trial_with_an_incompatible_distribution_is_skipped() -> None:
    lines = [
        format_head(HEAD),
        changed(number=0),
        having(NAMED),
        having(data_of("CategoricalDistribution", choices=[1]), 1),
    ]
    lines[2] = json.dumps(json.loads(lines[2]) | {"number": 1}).encode()
    lines[3] = json.dumps(json.loads(lines[3]) | {"number": 2}).encode()
    read = read_back(b"\n".join(lines))
    assert [trial.number for trial in read.trials] == [0, 1]
    assert read.skipped_lines[0].startswith("line 4: ")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"no journal", b'{"kind": "trial"}', b"\0" * 5000])
def test_a_file_without_a_line_of_a_study_is_refused(data: bytes) -> None:
    with pytest.raises(StudyError, match="is no journal: no line of it holds a study"):
        read_back(data)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(StudyError, match="cannot be read"):
            read_journal(path)


NAMES = st.text(max_size=200) | st.sampled_from(
    [
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:x",
        "nul",
        "COM1.txt",
        ".",
        "",
        " ",
        "x" * 512,
        "mine:v1",
    ]
)


@given(name=NAMES, other=NAMES)
def test_every_study_has_its_own_file_in_the_folder(name: str, other: str) -> None:
    assume(name != other)
    folder = Path("nas-trials")
    path = journal_path(folder, name)
    assert path.parent == folder
    assert len(os.fsencode(path.name)) < 200
    assert path.name.isascii()
    assert not path.name.startswith((".", "-"))
    assert journal_path(folder, other) != path


def test_a_plain_name_is_kept_as_the_file_name(tmp_path: Path) -> None:
    name = "mnasnet-flops400M-3fa2b1"
    assert journal_path(tmp_path, name).name == f"{name}.jsonl"
    create(journal_path(tmp_path, name), [format_head(Head("another", ["maximize"]))])
    other = journal_path(tmp_path, name)
    assert other.name.startswith(f"{name}-")
    create(other, [format_head(Head(name, ["maximize"]))])
    assert journal_path(tmp_path, name) == other


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("sqlite:///nas.db", "nas-trials"),
        ("sqlite+pysqlite:////a/my studies.db", "/a/my studies-trials"),
        ("sqlite:///kept.sqlite3", "kept.sqlite3-trials"),
        ("sqlite:///file:nas.db?mode=rwc&uri=true", "nas-trials"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("postgresql://me@host/nas.db", None),
        ("nonsense", None),
    ],
)
def test_journals_are_beside_their_database(url: str, folder: str | None) -> None:
    assert journal_folder(url) == (None if folder is None else Path(folder))
    assert (database_file(url) is None) == (folder is None)


@pytest.fixture(autouse=True)
def _without_messages_of_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_with_journal(folder: Path, name: str = "demo") -> tuple[BulkStorage, optuna.Study, Path]:
    """Open a storage and a study in it; return both with the path of the study's journal."""
    url = f"sqlite:///{folder / 'nas.db'}"
    storage = open_storage(url)
    study = open_study(storage, name, ["maximize"], MADE_WITH)
    return backend(storage), study, folder / "nas-trials" / f"{name}.jsonl"


def entries(path: Path) -> list[Entry]:
    return [parse_line(line) for _, line in read_lines(path)]


def numbers(path: Path) -> list[int]:
    return [entry.number for entry in entries(path) if isinstance(entry, FrozenTrial)]


def run_one(study: optuna.Study, value: float = 0.5) -> None:
    """Run a trial by Optuna's calls, one at a time."""
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(value / 2, 1)
    trial.set_user_attr("arch", "text")
    study.tell(trial, value)


def test_a_trial_is_appended_however_it_ends(tmp_path: Path) -> None:
    storage, study, path = open_with_journal(tmp_path)
    storage.create_new_trial(study_id(study), template(TrialState.COMPLETE, [0.5]))
    run_one(study)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    first, *rest = entries(path)
    assert first == Head("demo", ["maximize"], {"nas:settings": MADE_WITH})
    kept = storage.get_all_trials(study_id(study))[:3]
    assert [shown(entry) for entry in rest if isinstance(entry, FrozenTrial)] == list(map(shown, kept))
    assert len(rest) == 3


def test_attributes_are_appended_except_for_temporary_ones(tmp_path: Path) -> None:
    _, study, path = open_with_journal(tmp_path)
    study.set_user_attr("nas:runner", {"runner": "me"})
    study.set_user_attr("nas:verdicts", {"1": {"cost": "latency_ms"}})
    assert entries(path)[1:] == [Attribute("nas:verdicts", {"1": {"cost": "latency_ms"}})]


def test_of_a_list_that_grows_only_the_new_end_is_appended(tmp_path: Path) -> None:
    _, study, path = open_with_journal(tmp_path)
    for known in ([[1, 0.5]], [[1, 0.5], [2, None]], [[1, 0.5], [2, None], [3, 0.1]], [[4, 1.0]]):
        study.set_user_attr("nas:screened", known)
        assert read_journal(path).attributes["nas:screened"] == known
    assert [entry.value for entry in entries(path)[2:] if isinstance(entry, Attribute)] == [
        [[2, None]],
        [[3, 0.1]],
        [[4, 1.0]],
    ]


def test_lines_that_a_journal_lacks_are_appended_by_the_next_process(tmp_path: Path) -> None:
    _, study, path = open_with_journal(tmp_path)
    for value in (0.1, 0.2, 0.3):
        run_one(study, value)
    study.set_user_attr("nas:screened", [1])
    study.set_user_attr("nas:screened", [1, 2])
    whole = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([whole[0], whole[2][:-9], whole[3]]))
    study = open_with_journal(tmp_path)[1]
    run_one(study, 0.4)
    read = read_journal(path)
    assert [trial.value for trial in read.trials] == [0.1, 0.2, 0.3, 0.4]
    assert read.attributes == {"nas:settings": MADE_WITH, "nas:screened": [1, 2]}
    assert len(read.skipped_lines) == 1


@pytest.mark.usefixtures("in_time_zone")
def test_where_the_local_time_is_not_utc_no_trial_is_appended_twice(tmp_path: Path) -> None:
    storage, study, path = open_with_journal(tmp_path)
    run_one(study)
    whole = path.read_bytes()
    run_one(open_with_journal(tmp_path)[1])
    assert path.read_bytes().startswith(whole)
    assert numbers(path) == [0, 1]
    path.unlink()
    open_with_journal(tmp_path)[0].catch_up(study_id(study))
    kept = [shown(trial) for trial in storage.get_all_trials(study_id(study))]
    assert [shown(entry) for entry in entries(path)[1:] if isinstance(entry, FrozenTrial)] == kept


def test_a_study_without_a_journal_gets_one(tmp_path: Path) -> None:
    _, study, path = open_with_journal(tmp_path)
    run_one(study)
    path.unlink()
    path.parent.rmdir()
    run_one(study)  # the same process
    assert numbers(path) == [0, 1]
    path.unlink()
    run_one(open_with_journal(tmp_path)[1])
    assert numbers(path) == [0, 1, 2]


def test_a_new_study_keeps_the_journal_of_an_older_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for times in range(3):
        _, study, path = open_with_journal(tmp_path)
        for _ in range(times + 1):
            run_one(study)
        (tmp_path / "nas.db").unlink()
    assert [numbers(each) for each in sorted(path.parent.iterdir())] == [[0, 1, 2], [0], [0, 1]]
    assert journals(f"sqlite:///{tmp_path / 'nas.db'}") == (path,)
    assert [record.message.endswith(f"demo.jsonl.{i}") for i, record in enumerate(caplog.records, 1)] == [True, True]


def test_a_journal_that_cannot_be_written_is_warned_of_once_and_completed_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "nas-trials").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        _, study, path = open_with_journal(tmp_path)
        run_one(study)
        run_one(study)
    (told,) = [record.message for record in caplog.records]
    assert "no journal can be kept in" in told
    assert "the search goes on" in told
    (tmp_path / "nas-trials").unlink()
    run_one(study)
    assert numbers(path) == [0, 1, 2]


def fill_the_disk(folder: str) -> None:
    """Write to a journal on a full disk: no file of this process may grow beyond the size of the database."""
    import resource

    storage, study, path = open_with_journal(Path(folder))
    room = path.stat().st_size + 3000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for number in range(3):
        trial = template(TrialState.COMPLETE, [0.5], user_attrs={"text": "x" * 2000})
        trial.number = number
        storage._journals[study_id(study)].trial(trial)  # type: ignore[attr-defined]
    assert path.stat().st_size == room
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run_one(study)


def test_a_line_that_did_not_fit_on_the_disk_does_not_spoil_later_ones(tmp_path: Path) -> None:
    process = PROCESSES.Process(target=fill_the_disk, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    read = read_journal(tmp_path / "nas-trials" / "demo.jsonl")
    assert [trial.value for trial in read.trials] == [0.5]
    assert read.trials[0].user_attrs == {"arch": "text"}
    assert len(read.skipped_lines) == 1


def _append(path: str, own: int, count: int, barrier: Any) -> None:
    trial = template(TrialState.COMPLETE, [0.5], user_attrs={"text": "x" * 20_000})
    barrier.wait(60)
    for each in range(count):
        trial.number = own + 2 * each
        append(Path(path), [format_trial(trial)])


def test_two_processes_can_append_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "demo.jsonl"
    create(path, [format_head(HEAD)])
    barrier = multiprocessing.get_context("forkserver").Barrier(2)
    both = [PROCESSES.Process(target=_append, args=(str(path), own, 100, barrier)) for own in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    read = read_journal(path)
    assert [trial.number for trial in read.trials] == list(range(200))
    assert read.skipped_lines == ()


def test_only_one_of_two_processes_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "demo.jsonl"
    assert [create(path, [b"first"]), create(path, [b"second"])] == [True, False]
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def restored(folder: Path, *more: Path) -> str:
    url = f"sqlite:///{folder / 'new.db'}"
    restore(more or journals(f"sqlite:///{folder / 'nas.db'}"), url)
    return url


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
@pytest.mark.parametrize("name", ["demo", "a/b: \u2713 'x'"])
def test_a_restored_study_equals_the_original(tmp_path: Path, directions: Sequence[Any], name: str) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    storage = open_storage(url)
    study = open_study(storage, name, directions, MADE_WITH)
    study.set_user_attr("nas:screened", [[1, 2]])
    for value in (0.5, float("inf"), -1e300):
        storage.create_new_trial(study_id(study), template(TrialState.COMPLETE, [value] * len(directions)))
    storage.create_new_trial(study_id(study), template(TrialState.FAIL))
    again = optuna.load_study(storage=restored(tmp_path), study_name=name)
    every = optuna.load_study(storage=storage, study_name=name).get_trials()
    assert list(map(shown, again.trials)) == list(map(shown, every))
    assert again.directions == study.directions
    assert again.user_attrs == study.user_attrs


def test_studies_of_training_runs_are_restored_as_well(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'nas.db'}")
    study = open_study(storage, "fit", ["maximize"], {"epochs": 1}, kept_as="nas:scoring")
    run_one(study)
    study.set_user_attr("nas:again", [0])
    new = open_storage(restored(tmp_path))
    assert job_study_names(new) == ("fit",)
    assert open_study(new, "fit", ["maximize"], {"epochs": 1}, kept_as="nas:scoring").user_attrs["nas:again"] == [0]


def test_restored_trials_keep_their_numbers_and_running_ones_are_killed(tmp_path: Path) -> None:
    storage, study, _ = open_with_journal(tmp_path)
    for state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING, TrialState.COMPLETE):
        values = [0.5] if state.is_finished() else None
        kept = ATTRS | {"costs": {"macs": 1.0}}
        storage.create_new_trial(study_id(study), template(state, values, user_attrs=kept))
    view = read_study(open_storage(restored(tmp_path)), "demo")
    assert [(record.number, record.state) for record in view.records] == [
        (0, "complete"),
        (1, "killed"),
        (2, "killed"),
        (3, "complete"),
    ]
    assert view.counted == 2


def test_an_existing_study_is_not_overwritten_and_no_other_is_added(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_one(open_with_journal(tmp_path, name)[1])
    found = journals(f"sqlite:///{tmp_path / 'nas.db'}")
    restored(tmp_path, found[1])
    before = (tmp_path / "new.db").read_bytes()
    with pytest.raises(StudyError, match="has a study b already"):
        restored(tmp_path, *found)
    with pytest.raises(StudyError, match="both of study a"):
        restored(tmp_path, found[0], found[0])
    assert (tmp_path / "new.db").read_bytes() == before
    restored(tmp_path, found[0])
    again = optuna.load_study(storage=f"sqlite:///{tmp_path / 'new.db'}", study_name="a")
    assert [trial.value for trial in again.trials] == [0.5]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_search_can_be_resumed_from_its_journal_alone(tmp_path: Path, number: signal.Signals) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    for commits in (19, 10):
        end_at(url, commits, number)
        assert complete(url)
    kept = [record for record in read_study(open_storage(url), "demo").records if record.state != "running"]
    (tmp_path / "nas.db").unlink()
    assert len(kept) >= 2
    new = restored(tmp_path)
    held = read_study(open_storage(new), "demo").records
    # The trial that was committed as the process died has its line to come; nothing else is missing.
    lost = [record for record in kept if record not in held]
    assert [record.number for record in lost] in ([], [kept[-1].number])
    view = go(new)
    reference = go("sqlite://")
    assert view.counted == TRIALS
    assert outcome(view) == outcome(reference)
    assert view.best is not None
    assert reference.best is not None
    assert (view.best.arch, view.best.score) == (reference.best.arch, reference.best.score)
