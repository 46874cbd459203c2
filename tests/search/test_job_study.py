"""A study of jobs: each is done once, however often its processes are ended and however many work on it."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import optuna
import pytest
from attrs import frozen
from click.testing import CliRunner
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import Engine

from nas.arch.code import format_text, parse_text
from nas.arch.spec import Architecture
from nas.cli.pareto import command as pareto
from nas.cli.studies import command as studies
from nas.cost.analytic import COUNTED
from nas.cost.target import parse_target
from nas.errors import DataError, StudyError
from nas.evaluate.base import Evaluators
from nas.search.events import Event
from nas.search.fixed_list import REPEATED
from nas.search.job import Job, JobResult
from nas.search.job_study import JobStudy, open_job_study
from nas.search.reserving import MOST_FAILURES
from nas.search.run import search
from nas.search.session import open_session
from nas.search.settings import Settings
from nas.studies.journal_files import journals
from nas.studies.opening import open_storage
from nas.studies.restore import restore
from nas.studies.study import study_names
from nas.workers.base import Key
from nas.workers.processes import make_workers
from tests.device.processes import eventually
from tests.search.fake_trainings import Course, FakeEvaluators, NoImages, failing, final, rising
from tests.search.fakes import FakeEvaluator, make_space

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.search.searched_once"])
EPOCHS = 3


def network(channels: int, resolution: int = 32) -> Architecture:
    return parse_text(f"net resolution={resolution} classes=10\nstem conv k3 s2 c{channels}\nconv k3 s1 c8\nhead pool")


JOBS = [Job(network(8 * i), 16, seed, {"alpha": 1.0 + i}) for seed in (0, 1) for i in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'nas.db'}"


@contextlib.contextmanager
def opened(url: str, evaluators: Evaluators | None = None, **rest: Any) -> Iterator[JobStudy]:
    """A study of jobs; a course that fails is described as any other."""
    settings = {"kind": "fit", "base": "small"} | rest.pop("settings", {})
    epochs, name = rest.pop("epochs", EPOCHS), rest.pop("name", "fit")
    with (
        open_session(make_workers(rest.pop("workers", 1))) as session,
        open_job_study(name, settings, evaluators or FakeEvaluators(), epochs, session, storage=url, **rest) as study,
    ):
        yield study


def go(url: str, jobs: Sequence[Job] = JOBS, evaluators: Evaluators | None = None, **rest: Any) -> dict[Key, JobResult]:
    """The results of all jobs."""
    with opened(url, evaluators, **rest) as study:
        return study.evaluate(jobs)


def trials(url: str, *states: TrialState, name: str = "fit") -> list[optuna.trial.FrozenTrial]:
    found = optuna.load_study(storage=url, study_name=name).get_trials(states=states or None)
    return sorted(found, key=lambda trial: trial.number)


def accuracies(scores: dict[Key, JobResult]) -> dict[Key, float | None]:
    return {key: score.accuracy for key, score in scores.items()}


EXPECTED = {job.key: pytest.approx(final(job.arch, 16, job.seed)) for job in JOBS}


def test_every_job_has_the_accuracy_of_its_last_epoch() -> None:
    scores = go("sqlite://")
    assert accuracies(scores) == EXPECTED
    assert [score.number for score in scores.values()] == list(range(6))


def test_trials_carry_what_they_were_and_what_came_of_them(url: str) -> None:
    go(url)
    study = optuna.load_study(storage=url, study_name="fit")
    assert study.direction.name == "MAXIMIZE"
    for trial, job in zip(trials(url), JOBS, strict=True):
        kept = trial.user_attrs
        assert trial.state == TrialState.COMPLETE
        assert trial.params == job.params
        assert parse_text(kept["arch"]) == job.arch
        assert parse_text(kept["trained"]).resolution == kept["resolution"] == 16
        assert (kept["seed"], kept["epochs"], kept["reason"]) == (job.seed, EPOCHS, "")
        assert kept["environment"] == {"version": "1"}
        assert set(kept["versions"]) == {"nas", "optuna", "python"}
        assert kept["versions"]["optuna"] == optuna.__version__
        last = final(job.arch, 16, job.seed)
        assert kept["accuracy_by_epoch"] == pytest.approx([last / 3, last * 2 / 3, last])
        assert trial.value == kept["accuracy_by_epoch"][-1]
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        assert trial.datetime_start <= trial.datetime_complete


def test_a_job_is_what_is_trained_and_its_seed() -> None:
    job = Job(network(8), 16, 0)
    assert Job(network(8, resolution=40), 16, 0, {"alpha": 2.0}).key == job.key
    others = [Job(network(16), 16, 0), Job(network(8), 17, 0), Job(network(8), 16, 1)]
    assert len({job.key, *(other.key for other in others)}) == 4


def test_jobs_that_are_the_same_training_are_scored_once(url: str) -> None:
    alike = [Job(network(8, resolution=side), 16, 0, {"alpha": side / 10}) for side in (30, 31, 32)]
    scores = go(url, alike)
    assert set(scores) == {alike[0].key}
    assert len(trials(url)) == 1


def counted(ran: list[tuple[str, int]], course: Course = rising) -> FakeEvaluators:
    """Evaluators that note what they train."""

    def noting(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        ran.append((format_text(arch), seed))
        yield from course(arch, resolution, seed, epochs)

    return FakeEvaluators(noting)


def test_what_was_scored_is_not_scored_again_and_a_longer_list_goes_on(url: str) -> None:
    ran: list[tuple[str, int]] = []
    told: list[Event] = []
    first = go(url, JOBS[:4], counted(ran))
    assert len(ran) == 4
    assert go(url, JOBS[:4], counted(ran), listen=told.append) == first
    assert (len(ran), told) == (4, [Event("started", done=4, total=4)])
    longer = go(url, JOBS, counted(ran), listen=told.append)
    assert ran[4:] == [(format_text(job.arch), job.seed) for job in JOBS[4:]]
    assert [(one.done, one.total) for one in told[1:]] == [(4, 6), (5, 6), (6, 6)]
    assert told[-1].record is not None
    assert (told[-1].job, told[-1].record.number) == (JOBS[5], longer[JOBS[5].key].number)
    assert told[-1].record.accuracy == longer[JOBS[5].key].accuracy
    assert accuracies(longer) == EXPECTED


def test_one_study_can_be_asked_several_times(url: str) -> None:
    with opened(url) as study:
        first = study.evaluate(JOBS[:2])
        assert study.evaluate(JOBS[1:3]) == {JOBS[1].key: first[JOBS[1].key]} | study.evaluate(JOBS[2:3])
    assert len(trials(url)) == 3


def test_several_processes_score_the_same(url: str) -> None:
    assert accuracies(go(url, workers=2)) == EXPECTED
    assert {trial.state for trial in trials(url)} == {TrialState.COMPLETE}
    assert len(trials(url)) == 6


@frozen
class Picky:
    """A course that fails for some seeds."""

    seeds: tuple[int, ...]

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        return (failing if seed in self.seeds else rising)(arch, resolution, seed, epochs)


def test_failures_keep_their_reason_and_are_not_repeated(url: str) -> None:
    scores = go(url, evaluators=FakeEvaluators(Picky((1,))))
    assert accuracies(scores) == {job.key: None if job.seed else EXPECTED[job.key] for job in JOBS}
    assert {score.reason for score in scores.values()} == {"", "made to fail\n  nothing to mend"}
    failed = trials(url, TrialState.FAIL)
    assert [trial.user_attrs["reason"] for trial in failed] == ["made to fail\n  nothing to mend"] * 3
    assert all(trial.user_attrs["accuracy_by_epoch"] == [0.25] for trial in failed)
    assert go(url) == scores
    assert len(trials(url)) == 6


def test_failures_in_a_row_end_it_and_come_again_with_the_same_command(url: str) -> None:
    jobs = [Job(network(8), 16, seed) for seed in range(7)]
    with pytest.raises(StudyError, match=f"{MOST_FAILURES} training runs failed one after another.*made to fail"):
        go(url, jobs, FakeEvaluators(failing))
    assert [trial.state for trial in trials(url)] == [TrialState.FAIL] * MOST_FAILURES
    scores = go(url, jobs)
    assert [score.accuracy is None for score in scores.values()] == [False] * 7
    assert [trial.state for trial in trials(url)] == [TrialState.FAIL] * MOST_FAILURES + [TrialState.COMPLETE] * 7


def test_failures_between_others_do_not_end_it() -> None:
    jobs = [Job(network(8), 16, seed) for seed in range(9)]
    scores = go("sqlite://", jobs, FakeEvaluators(Picky((0, 1, 2, 3, 5, 6, 7, 8))))
    assert [seed for (_, seed), score in scores.items() if score.accuracy is not None] == [4]


def test_evaluators_that_fail_as_a_whole_leave_no_failure(url: str) -> None:
    with pytest.raises(DataError, match="no images"):
        go(url, evaluators=NoImages())
    assert ["killed" in trial.user_attrs for trial in trials(url)] == [True]


def interrupting(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
    yield 0.25
    if seed == 1:
        signal.raise_signal(signal.SIGTERM)
    yield from rising(arch, resolution, seed, epochs)


def test_an_interrupt_leaves_the_training_killed_and_it_comes_again(url: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(url, evaluators=FakeEvaluators(interrupting))
    (cut,) = trials(url, TrialState.FAIL)
    assert cut.user_attrs["killed"] is True
    assert "cut short by KeyboardInterrupt" in cut.user_attrs["reason"]
    scores = go(url)
    assert set(scores) == set(EXPECTED)
    assert [scores[job.key].accuracy for job in JOBS if job.seed] == [
        pytest.approx(final(job.arch, 16, 1)) for job in JOBS if job.seed
    ]
    assert len(trials(url)) == 7


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"settings": {"base": "large"}}, "made with base small, not large"),
        ({"epochs": 4}, "made with epochs 3, not 4"),
        ({"evaluators": FakeEvaluators(name="other")}, r"made with proxy\.evaluator fake, not other"),
        ({"settings": {"more": 1}}, "made with more None, not 1"),
    ],
)
def test_a_study_of_other_settings_is_refused_and_stays(url: str, other: dict[str, Any], words: str) -> None:
    go(url, JOBS[:1])
    with pytest.raises(StudyError, match=f"study fit was {words}"):
        go(url, **other)
    assert len(trials(url)) == 1
    assert set(go(url, JOBS[:1], FakeEvaluators(version="2"))) == {JOBS[0].key}


def searched(url: str, name: str) -> None:
    settings = Settings([parse_target("flops=1.2M")], trials=2, epochs=1, band=0.5)
    search(make_space(), FakeEvaluator(), settings, COUNTED, study_name=name, storage=url)


def test_a_study_of_another_kind_is_refused(url: str) -> None:
    searched(url, "search")
    optuna.create_study(storage=url, study_name="foreign").add_trial(optuna.create_trial(value=1.0))
    optuna.create_study(storage=url, study_name="minimize")
    for name in ("search", "foreign", "minimize"):
        with pytest.raises(StudyError, match=f"study {name} was not made by nas for this"):
            go(url, name=name)
    go(url, JOBS[:1])
    with pytest.raises(StudyError, match="study fit was not made by nas for this"):
        searched(url, "fit")


def invoke(command: Any, *arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_other_commands_pass_it_over(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    go(url, JOBS[:1])
    assert study_names(open_storage(url)) == ()
    assert invoke(studies.command, "--storage", url, "--json").strip() == "[]"
    searched(url, "demo")
    assert study_names(open_storage(url)) == ("demo",)
    listed = invoke(studies.command, "--storage", url)
    assert listed.splitlines()[-1] == (
        "studies of nas scale and nas check: fit; the command that made a study shows its results"
    )
    assert "fit" not in "".join(listed.splitlines()[:-1])
    assert "demo" in invoke(pareto.command, "demo", "--storage", url)
    with pytest.raises(StudyError, match="study 'fit' keeps the training runs of `nas scale --fit`") as told:
        invoke(pareto.command, "fit", "--storage", url)
    assert told.value.remedy.startswith("repeat its `nas scale --fit` command")


@frozen
class KilledIn:
    """A course in which one training kills its process after its first epoch."""

    job: int

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        for accuracy in rising(arch, resolution, seed, epochs):
            yield accuracy
            if (arch, seed) == (JOBS[self.job].arch, JOBS[self.job].seed):
                os.kill(os.getpid(), signal.SIGKILL)


def killed_in(url: str, job: int) -> None:
    go(url, evaluators=FakeEvaluators(KilledIn(job)))


def killed_at(url: str, commits: int, number: int) -> None:
    """Send this process a signal when that many transactions are about to be finished."""
    left = commits

    def count(_connection: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

    event.listen(Engine, "commit", count)
    with contextlib.suppress(KeyboardInterrupt):
        go(url)


def run(target: Any, *arguments: Any) -> int | None:
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(name="reference", scope="module")
def _reference() -> dict[Key, JobResult]:
    return go("sqlite://")


def without_seconds(scores: dict[Key, JobResult]) -> dict[Key, JobResult]:
    return {key: attrs.evolve(score, seconds=0.0, number=-1) for key, score in scores.items()}


def test_killed_in_mid_training_it_runs_what_is_missing(url: str, reference: dict[Key, JobResult]) -> None:
    for done, job in enumerate((2, 4)):
        assert run(killed_in, url, job) == -signal.SIGKILL
        assert [trial.user_attrs["seed"] for trial in trials(url, TrialState.RUNNING)] == [JOBS[job].seed]
        assert len(trials(url, TrialState.FAIL)) == done
    ran: list[tuple[str, int]] = []
    told: list[Event] = []
    scores = go(url, evaluators=counted(ran), listen=told.append)
    assert ran == [(format_text(job.arch), job.seed) for job in JOBS[4:]]
    cut = "1 training run was cut short and will be done again"
    assert told[:2] == [Event("resumed", message=cut), Event("started", done=4, total=6)]
    assert without_seconds(scores) == without_seconds(reference)
    assert len(trials(url)) == 6 + 2
    assert not trials(url, TrialState.RUNNING)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("commits", range(1, 70, 12))
def test_ended_at_any_moment(url: str, reference: dict[Key, JobResult], commits: int, number: signal.Signals) -> None:
    assert run(killed_at, url, commits, number) in (0, -number)
    assert run(killed_at, url, commits // 2 + 8, number) in (0, -number)
    assert without_seconds(go(url)) == without_seconds(reference)
    lasting = [trial for trial in trials(url) if "killed" not in trial.user_attrs]
    assert [trial.state for trial in lasting] == [TrialState.COMPLETE] * 6


@frozen
class Interrupted:
    """A course in which Ctrl-C is pressed after the first epoch of one training run, so many times."""

    job: int
    times: int = 1

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        for epoch, accuracy in enumerate(rising(arch, resolution, seed, epochs)):
            yield accuracy
            if epoch == 0 and (arch, seed) == (JOBS[self.job].arch, JOBS[self.job].seed):
                for _ in range(self.times):
                    os.kill(os.getpid(), signal.SIGINT)


def test_a_first_interrupt_lets_what_runs_finish(url: str) -> None:
    told: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        go(url, evaluators=FakeEvaluators(Interrupted(1)), listen=told.append)
    assert [trial.state for trial in trials(url)] == [TrialState.COMPLETE] * 2
    (stopping,) = [event for event in told if event.kind == "stopping"]
    assert stopping.message == "finishing 1 trial; press Ctrl-C again to leave at once"
    assert accuracies(go(url)) == EXPECTED
    assert len(trials(url)) == 6


def test_a_second_interrupt_leaves_at_once(url: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(url, evaluators=FakeEvaluators(Interrupted(1, 2)))
    assert ["killed" in trial.user_attrs for trial in trials(url)] == [False, True]
    # A run that was given back has lost no attempt, so it is done again even where nothing else would be.
    assert accuracies(go(url, retries=0)) == EXPECTED


def test_when_it_is_late_nothing_more_is_begun(url: str) -> None:
    done: list[tuple[str, int]] = []
    with opened(url, counted(done)) as study:
        results = study.evaluate(JOBS, lambda: len(done) >= 2)
        assert list(results) == [job.key for job in JOBS[:2]]
        assert list(study.evaluate(JOBS, lambda: True)) == list(results)
    assert len(trials(url)) == 2


def test_a_run_whose_process_is_killed_again_and_again_fails_in_the_end(url: str) -> None:
    """It is begun as often as `retries` says beside the first time; the others are not affected."""
    for _ in range(2):
        assert run(killed_in, url, 1) == -signal.SIGKILL
    results = go(url, retries=1)
    reason = "2 times it was begun and did not end; the last time its process ended before it did"
    assert results[JOBS[1].key] == JobResult(None, 0.0, reason, results[JOBS[1].key].number)
    others = {key: accuracy for key, accuracy in accuracies(results).items() if key != JOBS[1].key}
    assert others == {key: accuracy for key, accuracy in EXPECTED.items() if key != JOBS[1].key}
    assert go(url, retries=5) == results


@frozen
class Held:
    """A course whose first training run is done at once, and the next one when a test has opened the gate.

    Attributes:
        folder: Folder of the files "second", which says that the next one has begun, and "open".
        first: Key of the first training run.
    """

    folder: Path
    first: Key

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        if Job(arch, resolution, seed).key != self.first:
            (self.folder / "second").touch()
            eventually((self.folder / "open").exists)
        yield from rising(arch, resolution, seed, epochs)

    def open(self) -> None:
        (self.folder / "open").touch()


def go_there(url: str, jobs: list[Job], course: Course) -> None:
    with contextlib.suppress(StudyError):
        go(url, jobs, FakeEvaluators(course))


@pytest.fixture(name="start")
def _start() -> Iterator[Any]:
    """Starts a process that does jobs, and waits until it has done the first one and has begun the second one."""
    processes = []

    def start(url: str, jobs: list[Job], course: Held) -> Any:
        processes.append(PROCESSES.Process(target=go_there, args=(url, jobs, course)))
        processes[-1].start()
        eventually((course.folder / "second").exists)
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_jobs_that_another_process_does_are_waited_for(url: str, tmp_path: Path, start: Any) -> None:
    held = Held(tmp_path, JOBS[0].key)
    start(url, JOBS, held)
    done: list[tuple[str, int]] = []

    def listen(event: Event) -> None:
        if event.kind == "trial" and len(done) == 4:  # all but the one that is done and the one that is held
            held.open()

    results = go(url, JOBS[::-1], counted(done), listen=listen)
    assert accuracies(results) == EXPECTED
    assert len(done) == 4
    assert len(trials(url)) == len(JOBS)


def test_jobs_of_another_process_are_left_out_where_they_are_not_waited_for(
    url: str, tmp_path: Path, start: Any
) -> None:
    held = Held(tmp_path, JOBS[0].key)
    start(url, JOBS[:2], held)
    with opened(url) as study:
        results = study.evaluate([JOBS[1], JOBS[5]], waits=False)
        assert set(results) == {JOBS[5].key}
        held.open()
        assert accuracies(study.evaluate([JOBS[1]])) == {JOBS[1].key: EXPECTED[JOBS[1].key]}


def test_jobs_of_other_lists_are_not_taken_over(url: str) -> None:
    assert run(killed_in, url, 1) == -signal.SIGKILL
    assert set(go(url, [JOBS[0], JOBS[3]])) == {JOBS[0].key, JOBS[3].key}
    assert [trial.state for trial in trials(url)].count(TrialState.RUNNING) == 1
    assert accuracies(go(url)) == EXPECTED


def test_what_fails_in_one_process_for_a_cause_of_its_own_is_done_by_another(
    url: str, tmp_path: Path, start: Any
) -> None:
    jobs = [Job(network(8), 16, seed) for seed in range(10)]
    held = Held(tmp_path, jobs[0].key)
    other = start(url, jobs, held)
    with pytest.raises(StudyError, match=f"{MOST_FAILURES} training runs failed one after another"):
        go(url, jobs, FakeEvaluators(failing))
    held.open()
    other.join(60)
    results = go(url, jobs, FakeEvaluators(failing))
    assert [result.accuracy is None for result in results.values()] == [False] * 10
    failed = [trial for trial in trials(url, TrialState.FAIL) if "killed" not in trial.user_attrs]
    assert [trial.number for trial in failed] == sorted(
        optuna.load_study(storage=url, study_name="fit").user_attrs[REPEATED]
    )


def older(url: str) -> None:
    """A study as version 0.1 left it: trials without reservations, and the attribute of the last process at work."""
    study = optuna.create_study(storage=open_storage(url), study_name="fit", direction="maximize")
    settings = {"kind": "fit", "base": "small", "epochs": EPOCHS, "proxy": FakeEvaluators().describe()}
    study.set_user_attr("nas:scoring", settings)
    study.set_user_attr("nas:runner", {"runner": "elsewhere 1 1.00", "beat": time.time(), "lasts_s": 600.0})
    study.set_user_attr("nas:again", [1])
    states = [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]
    results: list[dict[str, Any]] = [
        {"accuracy_by_epoch": [0.5], "seconds": 2.0},
        {"reason": "not its own"},
        {"reason": "its own"},
        {"killed": True, "reason": "cut"},
        {},
    ]
    for job, state, result in zip(JOBS, states, results, strict=False):
        kept = {"arch": format_text(job.arch), "trained": job.key[0], "resolution": 16, "seed": job.seed} | result
        value = 0.5 if state == TrialState.COMPLETE else None
        study.add_trial(optuna.create_trial(state=state, value=value, user_attrs=kept))


def test_a_study_of_an_older_version_goes_on(url: str) -> None:
    """Of its trials the one that ended well and the one that failed by its own fault count, and no other."""
    older(url)
    ran: list[tuple[str, int]] = []
    told: list[Event] = []
    results = go(url, evaluators=counted(ran), listen=told.append)
    assert ran == [(format_text(JOBS[i].arch), JOBS[i].seed) for i in (1, 3, 4, 5)]
    assert results[JOBS[0].key] == JobResult(0.5, 2.0, "", 0)
    assert results[JOBS[2].key] == JobResult(None, 0.0, "its own", 2)
    assert told[0].message == "1 training run was cut short and will be done again"
    assert (told[1].kind, told[1].done, told[1].total) == ("started", 2, 6)
    assert not trials(url, TrialState.RUNNING)
    assert go(url, evaluators=counted(ran)) == results
    assert len(ran) == 4


def test_a_restored_study_goes_on(url: str, tmp_path: Path) -> None:
    assert run(killed_in, url, 3) == -signal.SIGKILL
    again = f"sqlite:///{tmp_path / 'again.db'}"
    restore(journals(url), again)
    ran: list[tuple[str, int]] = []
    results = go(again, evaluators=counted(ran))
    assert ran == [(format_text(job.arch), job.seed) for job in JOBS[3:]]
    assert accuracies(results) == EXPECTED
    assert len(journals(again)) == 1
