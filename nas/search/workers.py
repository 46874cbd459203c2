"""Who evaluates networks: this process, one epoch at a time, or several processes beside it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, Self

from attrs import define, field, frozen

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, NasError, StudyError
from nas.evaluate.base import Evaluators

PATIENCE_S = 30.0
Key = tuple[str, int]


@frozen
class Call:
    """An evaluation; can be sent to another process."""

    evaluators: Evaluators
    arch: Architecture
    resolution: int
    seed: int
    epochs: int


@frozen
class Outcome:
    """What came of a call: accuracies by epoch, seconds, the surroundings, and the reason where it failed."""

    accuracies: tuple[float, ...]
    seconds: float
    environment: Mapping[str, Any] = field(factory=dict)
    reason: str = ""


class Workers(Protocol):
    """Evaluates calls; used as a context manager, whose end stops what still runs."""

    def __enter__(self) -> Self:
        """Ready to start."""
        ...

    def __exit__(self, kind: object, *_: object) -> None:
        """Stopped; `kind` is that of an exception that ended it, or None."""
        ...

    @property
    def free(self) -> bool:
        """Whether one more can be started."""
        ...

    def start(self, key: Key, call: Call) -> None:
        """Begin an evaluation.

        Raises:
            NasError: it cannot go on at all.
        """
        ...

    def poll(self) -> list[tuple[Key, Outcome]]:
        """What has finished; waits a while for it, and may come back with nothing.

        Raises:
            NasError: it cannot go on at all.
        """
        ...


def make_workers(number: int) -> "Workers":
    """As many processes beside this one; for 1 this one itself.

    Raises:
        StudyError: no such number.
    """
    if number < 1:
        raise StudyError(f"{number} workers", "give at least 1")
    return Here() if number == 1 else Processes(number)


def outcomes(call: Call) -> Iterator[Outcome]:
    """What is known after each epoch; the last one is the result.

    Raises:
        NasError: the evaluators fail as a whole.
    """
    begun = time.monotonic()
    accuracies: list[float] = []
    environment: dict[str, Any] = {}
    try:
        evaluator = call.evaluators.at(call.resolution, call.seed)
        environment = dict(evaluator.describe().get("environment", {}))
        for accuracy in evaluator.evaluate(call.arch, call.epochs):
            accuracies.append(_checked(accuracy))
            yield Outcome(tuple(accuracies), time.monotonic() - begun, environment)
        reason = "" if accuracies else "the evaluator gave no accuracy"
    except EvaluationError as error:
        reason = str(error)
    except NasError:
        raise
    except Exception as error:
        # Whatever goes wrong with this network, the next one may do better.
        reason = f"{type(error).__name__}: {error}"
    yield Outcome(tuple(accuracies), time.monotonic() - begun, environment, reason)


def _checked(accuracy: float) -> float:
    if not 0 <= accuracy <= 1:
        raise EvaluationError(f"the evaluator gave accuracy {accuracy}", "an accuracy lies between 0 and 1")
    return accuracy


@define(eq=False)
class Here:
    """This process: a poll is one epoch."""

    _key: Key = field(default=("", 0), init=False)
    _steps: Iterator[Outcome] | None = field(default=None, init=False)
    _last: Outcome | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """See `Workers`."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """See `Workers`."""
        self._steps = None

    @property
    def free(self) -> bool:
        """See `Workers`."""
        return self._steps is None

    def start(self, key: Key, call: Call) -> None:
        """See `Workers`."""
        self._key, self._steps, self._last = key, outcomes(call), None

    def poll(self) -> list[tuple[Key, Outcome]]:
        """See `Workers`."""
        assert self._steps is not None  # noqa: S101 -- something was started
        step = next(self._steps, None)
        if step is not None:
            self._last = step
            return []
        assert self._last is not None  # noqa: S101 -- there is always one
        self._steps = None
        return [(self._key, self._last)]


@define(eq=False)
class Processes:
    """Several processes; when one dies, all of them end.

    Attributes:
        number: of processes.
    """

    number: int
    _pool: ProcessPoolExecutor | None = field(default=None, init=False)
    _running: dict["Future[Outcome]", Key] = field(factory=dict, init=False)
    _others: frozenset[int | None] = field(default=frozenset(), init=False)

    def __enter__(self) -> Self:
        """See `Workers`."""
        # Torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._others = frozenset(process.pid for process in multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(self.number, mp_context=context, initializer=_follow_parent)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """See `Workers`."""
        assert self._pool is not None  # noqa: S101 -- entered
        own = [process for process in multiprocessing.active_children() if process.pid not in self._others]
        for process in own if kind or self._running else ():
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._running.clear()

    @property
    def free(self) -> bool:
        """See `Workers`."""
        return len(self._running) < self.number

    def start(self, key: Key, call: Call) -> None:
        """See `Workers`."""
        assert self._pool is not None  # noqa: S101 -- entered
        with _deaths_told(), _interrupts_blocked():
            self._running[self._pool.submit(_result, call)] = key

    def poll(self) -> list[tuple[Key, Outcome]]:
        """See `Workers`.

        Raises:
            StudyError: a process died.
        """
        done, _ = wait(self._running, PATIENCE_S, FIRST_COMPLETED)
        # What has come to an end beside an error is not lost: that one is raised next time.
        whole = [future for future in done if future.exception() is None]
        with _deaths_told():
            return [(self._running.pop(future), future.result()) for future in whole or done]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started here leaves interrupts to its parent from its first moment on; none is lost."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)


@contextmanager
def _deaths_told() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise StudyError(
            "a worker died; it may have been killed, or out of memory",
            "give the same command again, with fewer --workers if it was memory; finished trainings are kept",
        ) from None


def _result(call: Call) -> Outcome:
    *_, last = outcomes(call)
    return last


def _follow_parent() -> None:
    """A worker leaves interrupts to its parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
