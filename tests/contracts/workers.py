"""Contract tests of workers, which run for every kind of workers."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import psutil
import pytest
from attrs import evolve

from nas.arch.code import parse_text
from nas.errors import DataError
from nas.workers.base import Call, Key, Outcome, Workers
from tests.device.processes import eventually, is_gone
from tests.search.fake_trainings import (
    Course,
    NoImages,
    Stuck,
    call,
    crashing,
    failing,
    final,
    rising,
    silent,
    too_good,
)

SMALL = parse_text("net resolution=32 classes=10\nstem conv k3 s2 c8\nconv k3 s1 c8\nhead pool")
OTHER = parse_text("net resolution=32 classes=10\nstem conv k3 s2 c8\nmbconv k3 s2 e2 c12\nhead conv c16")


def all_of(workers: Workers, seconds: float = 60) -> list[tuple[Key, Outcome]]:
    """Return the next outcomes, and wait until there is at least one."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if back := workers.poll(seconds):
            return back
    raise TimeoutError


def finish(workers: Workers, calls: dict[Key, Call]) -> list[tuple[Key, Outcome]]:
    """Run all calls, as many at once as the workers accept, and return all outcomes."""
    waiting, running, back = list(calls.items()), 0, []
    while waiting or running:
        while waiting and workers.free:
            workers.start(*waiting.pop())
            running += 1
        finished = workers.poll()
        running -= len(finished)
        back += finished
    return back


class WorkersContract:
    """Test workers. A subclass defines `make` and `most`.

    Attributes:
        most: Number of calls that the workers run at once.
    """

    most: int

    def make(self, limit_s: float | None = None) -> Workers:
        """Return new workers with a time limit for each evaluation, which workers with a single call at once ignore."""
        raise NotImplementedError

    @pytest.fixture(name="workers")
    def _workers(self) -> Iterator[Workers]:
        with self.make() as workers:
            yield workers

    def test_every_call_comes_back_once_with_its_key_and_its_accuracies(self, workers: Workers) -> None:
        keys = {(str(i), seed): (arch, seed) for i, arch in enumerate((SMALL, OTHER)) for seed in (0, 1, 7)}
        calls = {key: call(rising, arch, seed, epochs=3) for key, (arch, seed) in keys.items()}
        back = finish(workers, calls)
        assert sorted(key for key, _ in back) == sorted(keys)
        for key, outcome in back:
            last = final(keys[key][0], 16, keys[key][1])
            assert outcome.accuracies == pytest.approx((last / 3, last * 2 / 3, last))
            assert outcome.reason == ""
            assert outcome.environment == {"version": "1"}
            assert 0 <= outcome.seconds < 60

    @pytest.mark.parametrize(
        ("course", "reason", "accuracies"),
        [
            (failing, "made to fail\n  nothing to mend", (0.25,)),
            (crashing, "ZeroDivisionError: made to crash", (0.25,)),
            (silent, "the evaluator gave no accuracy", ()),
            (too_good, "the evaluator gave accuracy 1.5\n  an accuracy lies between 0 and 1", (0.25,)),
        ],
    )
    def test_what_goes_wrong_with_a_network_is_its_reason_and_the_next_one_is_evaluated(
        self, workers: Workers, course: Course, reason: str, accuracies: tuple[float, ...]
    ) -> None:
        ((_, outcome),) = finish(workers, {("bad", 0): call(course, SMALL)})
        assert (outcome.reason, outcome.accuracies) == (reason, accuracies)
        ((_, outcome),) = finish(workers, {("good", 0): call(rising, SMALL)})
        assert outcome.accuracies[-1] == final(SMALL, 16, 0)

    def test_they_are_free_until_as_many_run_as_may(self, workers: Workers) -> None:
        for number in range(self.most):
            assert workers.free
            workers.start((str(number), 0), call(rising, SMALL))
        assert not workers.free
        back: list[tuple[Key, Outcome]] = []
        while len(back) < self.most:
            back += workers.poll()
            assert workers.free == (len(back) > 0)
        assert sorted(key for key, _ in back) == [(str(number), 0) for number in range(self.most)]

    def test_a_call_by_epoch_waits_after_each(self, workers: Workers) -> None:
        workers.start(("a", 0), evolve(call(rising, SMALL, epochs=3), by_epoch=True))
        last, told = final(SMALL, 16, 0), list[Outcome]()
        for _ in range(3):
            ((key, outcome),) = all_of(workers)
            assert (key, outcome.ended) == (("a", 0), False)
            told.append(outcome)
            workers.answer(key, go_on=True)
        ((key, outcome),) = all_of(workers)
        assert outcome.ended
        assert outcome.accuracies == told[-1].accuracies == pytest.approx((last / 3, last * 2 / 3, last))
        assert [len(each.accuracies) for each in told] == [1, 2, 3]

    def test_a_call_that_is_ended_early_says_no_more_and_makes_room(self, workers: Workers) -> None:
        for number in range(self.most):
            workers.start((str(number), 0), evolve(call(rising, SMALL, epochs=9), by_epoch=True))
        ended = set[Key]()
        while len(ended) < self.most:
            for key, outcome in all_of(workers):
                assert (key in ended, len(outcome.accuracies)) == (False, 1)
                workers.answer(key, go_on=False)
                ended.add(key)
        assert workers.free
        ((key, outcome),) = finish(workers, {("next", 0): call(rising, OTHER)})
        assert (key, outcome.accuracies[-1]) == (("next", 0), final(OTHER, 16, 0))

    def test_they_go_on_after_a_pause(self, workers: Workers) -> None:
        workers.start(("a", 0), call(rising, SMALL))
        with workers.paused():
            pass
        ((_, outcome),) = all_of(workers)
        assert outcome.accuracies[-1] == final(SMALL, 16, 0)

    def test_evaluators_that_fail_as_a_whole_end_it(self) -> None:
        with self.make() as workers, pytest.raises(DataError, match="no images of 16 pixels, seed 5") as told:
            finish(workers, {("a", 5): Call(NoImages(), SMALL, 16, 5, 1)})
        assert told.value.remedy == "give some"

    def test_an_evaluation_that_takes_too_long_fails_and_the_next_one_is_done(self, tmp_path: Path) -> None:
        if self.most == 1:
            return  # this process cannot be stopped in an evaluation
        with self.make(0.5) as workers:
            ((_, outcome),) = finish(workers, {("long", 0): call(Stuck(tmp_path / "begun"), SMALL)})
            assert (outcome.reason, outcome.lost) == ("the evaluation took longer than 0.5 s", False)
            cast("_Limited", workers).limit_s = 600.0  # a short evaluation may take long on a busy machine
            ((_, outcome),) = finish(workers, {("short", 0): call(rising, SMALL)})
            assert outcome.accuracies[-1] == final(SMALL, 16, 0)

    def test_leaving_stops_what_runs(self, tmp_path: Path) -> None:
        before = set(psutil.Process().children(recursive=True))
        with self.make() as workers:
            workers.start(("a", 3), call(Stuck(tmp_path / "begun"), SMALL, 3))
            assert workers.poll(0.05) == []  # The first epoch runs in this process, or is about to start in another.
            if self.most > 1:
                eventually((tmp_path / "begun-3").exists)
            came = _working(before)
            assert len(came) >= self.most - 1
        assert all(is_gone(process) for process in came)


class _Limited(Protocol):
    limit_s: float | None


def _working(before: set[psutil.Process]) -> list[psutil.Process]:
    """Return the child processes that are not in `before`, without the resource tracker of multiprocessing."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process not in before and "resource_tracker" not in " ".join(process.cmdline())
    ]
