"""Evaluations of several evaluators on the same networks, kept, cut short and gone on with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import optuna
import pytest

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, StudyError
from nas.fidelity.collect import CheckedEvaluator, Evaluations, collect
from nas.search.job import JobResult
from nas.search.job_study import JobStudy, open_job_study
from nas.search.session import open_session
from nas.workers.base import Here
from tests.search.fake_trainings import Course, FakeEvaluators, failing, final, rising
from tests.search.test_job_study import network

ARCHS = [network(8 * i) for i in range(1, 8)]


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> str:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return f"sqlite:///{tmp_path / 'nas.db'}"


def opener(url: str) -> Callable[[CheckedEvaluator], AbstractContextManager[JobStudy]]:
    @contextmanager
    def opened(one: CheckedEvaluator) -> Iterator[JobStudy]:
        with (
            open_session(Here()) as session,
            open_job_study(one.name, {"kind": "check"}, one.evaluators, one.epochs, session, storage=url) as study,
        ):
            yield study

    return opened


class Counted:
    """A course that knows what it was asked for."""

    def __init__(self, course: Course = rising) -> None:
        self.course, self.asked = course, list[tuple[Architecture, int, int]]()

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        self.asked.append((arch, resolution, seed))
        return self.course(arch, resolution, seed, epochs)


def source(
    course: Course, name: str = "cheap", seeds: Sequence[int] = (0, 1), networks: int | None = None
) -> CheckedEvaluator:
    return CheckedEvaluator(name, FakeEvaluators(course), 2, 16, seeds, networks)


def test_every_network_has_a_verdict_of_every_seed(url: str) -> None:
    course = Counted()
    said = collect([source(course)], ARCHS, opener(url), 600)["cheap"]
    assert said.accuracies == {
        n: {seed: pytest.approx(final(arch, 16, seed)) for seed in (0, 1)} for n, arch in enumerate(ARCHS)
    }
    assert said.complete([2, 0]) == ([2, 0], [[said.accuracies[n][seed] for n in (2, 0)] for seed in (0, 1)])
    assert len(said.seconds) == len(course.asked) == 14


def test_networks_of_several_resolutions_have_images_of_their_share() -> None:
    one = CheckedEvaluator("train", FakeEvaluators(rising), 2, 16, full_resolution=64)
    archs = [ARCHS[0].adapted(resolution=resolution, classes=10) for resolution in (64, 32)]
    jobs = [one.job(number, arch, 0) for number, arch in enumerate(archs)]
    assert [job.resolution for job in jobs] == [16, 8]
    assert jobs[0].key != jobs[1].key


def test_what_is_there_is_not_asked_for_again(url: str) -> None:
    before = collect([source(rising)], ARCHS[:5], opener(url), 600)["cheap"]
    course = Counted()
    after = collect([source(course)], ARCHS, opener(url), 600)["cheap"]
    assert {arch for arch, _, _ in course.asked} == set(ARCHS[5:])
    assert before.accuracies.items() <= after.accuracies.items()


def test_all_sources_judge_the_first_networks_before_any_judges_the_next(url: str) -> None:
    asked: list[tuple[str, int]] = []

    def noted(name: str) -> Course:
        def course(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
            asked.append((name, ARCHS.index(arch)))
            return rising(arch, resolution, seed, epochs)

        return course

    collect([source(noted("a"), "a", (0,)), source(noted("b"), "b", (0,))], ARCHS, opener(url), 600)
    assert asked == [(name, n) for group in (range(4), range(4, 7)) for name in "ab" for n in group]


def test_a_source_may_judge_only_the_first_networks(url: str) -> None:
    said = collect([source(rising, "few", (0,), 5), source(rising, "all", (0,))], ARCHS, opener(url), 600)
    assert sorted(said["few"].accuracies) == [0, 1, 2, 3, 4]
    assert sorted(said["all"].accuracies) == list(range(7))


def test_when_time_is_up_nothing_new_is_begun(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("nas.fidelity.collect.time.monotonic", lambda: now[0])

    def slow(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        now[0] += 10
        return rising(arch, resolution, seed, epochs)

    cut = collect([source(slow, seeds=(0,))], ARCHS, opener(url), 25)["cheap"]
    assert sorted(cut.accuracies) == [0, 1, 2]
    course = Counted()
    whole = collect([source(course, seeds=(0,))], ARCHS, opener(url), 1e9)["cheap"]
    assert [ARCHS.index(arch) for arch, _, _ in course.asked] == [3, 4, 5, 6]
    assert sorted(whole.accuracies) == list(range(7))


def test_known_verdicts_need_no_time(url: str) -> None:
    whole = collect([source(rising)], ARCHS, opener(url), 600)["cheap"]
    assert collect([source(rising)], ARCHS, opener(url), -1)["cheap"].accuracies == whole.accuracies


def test_a_failure_is_told_and_takes_nothing_else_with_it(url: str) -> None:
    def odd_ones_fail(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        return (failing if ARCHS.index(arch) % 2 else rising)(arch, resolution, seed, epochs)

    said = collect([source(odd_ones_fail, seeds=(0,))], ARCHS, opener(url), 600)["cheap"]
    assert sorted(said.accuracies) == [0, 2, 4, 6]
    assert sorted(said.reasons) == [1, 3, 5]
    assert "made to fail" in said.reasons[1]


def test_one_failure_after_another_ends_it(url: str) -> None:
    def all_fail(*_: object) -> Iterator[float]:
        raise EvaluationError("no memory")

    with pytest.raises(StudyError, match="no memory"):
        collect([CheckedEvaluator("cheap", FakeEvaluators(all_fail))], ARCHS, opener(url), 600)


def test_progress_counts_networks_and_rounds(url: str) -> None:
    told: list[int] = []
    collect([source(rising)], ARCHS, opener(url), 600, progressed=lambda done, _left: told.append(done))
    assert told == [4, 7, 11, 14]


def test_more_may_be_judged_at_once(url: str) -> None:
    told: list[int] = []
    collect([source(rising)], ARCHS, opener(url), 600, 6, lambda done, _left: told.append(done))
    assert told == [6, 7, 13, 14]


def test_the_order_of_arrival_changes_nothing() -> None:
    mixed, ordered = evaluations_of((2, 1), (0, 1), (2, 0), (0, 0)), evaluations_of((0, 0), (0, 1), (2, 0), (2, 1))
    for number in (3, 1):
        mixed.add(number, 0, JobResult(None, 0.0, f"{number}"))
    mixed.sort()
    assert list(mixed.accuracies.items()) == list(ordered.accuracies.items())
    assert [list(row) for row in mixed.accuracies.values()] == [[0, 1], [0, 1]]
    assert list(mixed.reasons) == [1, 3]


def evaluations_of(*pairs: tuple[int, int]) -> Evaluations:
    said = Evaluations()
    for number, seed in pairs:
        said.add(number, seed, JobResult(number / 8 + seed / 64, 2.0 + seed))
    return said


def test_a_network_without_a_seed_is_left_out_where_most_have_all() -> None:
    said = evaluations_of((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0))
    assert said.complete(range(5)) == ([0, 1, 2], [[0, 8 / 64, 16 / 64], [1 / 64, 9 / 64, 17 / 64]])


def test_one_seed_counts_where_few_networks_have_all() -> None:
    said = evaluations_of((0, 0), (1, 0), (2, 1), (0, 1), (3, 0))
    assert said.complete(range(5)) == ([0, 1, 3], [[0, 8 / 64, 24 / 64]])


def test_without_verdicts_there_is_nothing_to_compare() -> None:
    assert Evaluations().complete(range(5)) == ([], [])
    assert Evaluations().seconds_each is None
    assert evaluations_of((0, 0), (1, 0), (2, 1)).seconds_each == 2.0
