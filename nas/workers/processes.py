"""Several processes on this machine that evaluate networks, each on processors of its own."""

import ctypes
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Self

import psutil
from attrs import define, field, frozen

from nas.errors import NasError, StudyError
from nas.evaluate.base import Evaluators
from nas.workers.base import PATIENCE_S, Call, Here, Key, Outcome, Workers, steps_of

_LOG = logging.getLogger(__name__)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MEMORY_SHARE = 0.9  # of what is free, for all workers together
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
LAST_S = 10.0  # for a worker to end by itself
HELD = 4  # evaluators that a worker keeps; a search has one, and one more for each further seed


@frozen
class Place:
    """Where a worker runs.

    Attributes:
        cores: numbers of its processors; () leaves them open.
        threads: of its libraries.
        gpu: number of its graphics card; None where there is none to share out.
        data_bytes: memory that it may ask for; None sets no limit.
    """

    cores: tuple[int, ...]
    threads: int
    gpu: str | None = None
    data_bytes: int | None = None


def find_cores() -> tuple[int, ...]:
    """Numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def find_gpus() -> tuple[str, ...]:
    """Numbers of the Nvidia graphics cards that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(filter(None, named.split(",")))
    return tuple(sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")))


def share_out(
    number: int, cores: Sequence[int], gpus: Sequence[str] = (), free_bytes: int | None = None
) -> list[Place]:
    """A place for each worker: processors, graphics cards and memory in equal parts.

    Where there are more workers than processors, each has one and shares it with others. Memory is not limited beside
    graphics cards, whose drivers ask for more of it than they use.
    """
    each = max(1, len(cores) // number)
    memory = None if free_bytes is None or gpus else int(MEMORY_SHARE * free_bytes / number)
    starts = (each * i % len(cores) for i in range(number))
    return [
        Place(tuple(cores[start : start + each]), each, gpus[i % len(gpus)] if gpus else None, memory)
        for i, start in enumerate(starts)
    ]


def make_workers(number: int) -> Workers:
    """As many processes beside this one; for 1 this one itself.

    Raises:
        StudyError: no such number.
    """
    if number < 1:
        raise StudyError(f"{number} workers", "give at least 1")
    return Here() if number == 1 else Processes(number)


@define(eq=False)
class _Worker:
    """A process, what it is at, and which evaluators it was sent."""

    place: Place
    process: SpawnProcess
    connection: Connection
    key: Key | None = None
    sent: list[Evaluators] = field(factory=list)

    def send(self, key: Key, call: Call) -> None:
        """Give it a call; evaluators go over once.

        Raises:
            NasError: they cannot be sent.
        """
        self.key = key
        known = next((i for i, one in enumerate(self.sent) if one is call.evaluators), None)
        if known is None:
            self._say(("take", call.evaluators))
            self.sent = [*self.sent, call.evaluators][-HELD:]
            known = len(self.sent) - 1
        fields = (call.arch, call.resolution, call.seed, call.epochs, call.by_epoch)
        self._say(("call", known, fields))

    def _say(self, message: object) -> None:
        try:
            whole = ForkingPickler.dumps(message)
        except Exception as error:
            raise StudyError(
                f"the evaluator cannot be sent to another process: {type(error).__name__}: {error}",
                "leave --workers out, or make it of what pickle takes",
            ) from None
        with suppress(BrokenPipeError, ConnectionError):  # one that died meanwhile is told by the next poll
            self.connection.send_bytes(whole)


@define(eq=False)
class Processes:
    """Several processes; one that dies is followed by another, and its call is told as lost.

    Attributes:
        number: of processes.
    """

    number: int
    places: Sequence[Place] = field()
    _workers: list[_Worker] = field(factory=list, init=False)
    _context: SpawnContext = field(init=False)
    _error: NasError | None = field(default=None, init=False)

    @places.default
    def _share_out(self) -> Sequence[Place]:
        return share_out(self.number, find_cores(), find_gpus(), psutil.virtual_memory().available)

    @_context.default
    def _spawning(self) -> SpawnContext:
        return multiprocessing.get_context("spawn")  # torch's threads do not survive a fork

    def __enter__(self) -> Self:
        """See `Workers`."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """See `Workers`."""
        for worker in self._workers:
            if kind or worker.key is not None:
                worker.process.terminate()
            with suppress(OSError):
                worker.connection.send(None)
        for worker in self._workers:
            _end(worker)
        self._workers.clear()

    @property
    def free(self) -> bool:
        """See `Workers`."""
        return sum(worker.key is not None for worker in self._workers) < self.number

    def start(self, key: Key, call: Call) -> None:
        """See `Workers`."""
        for worker in [one for one in self._workers if one.key is None and not one.process.is_alive()]:
            self._bury(worker)
        worker = next((one for one in self._workers if one.key is None), None) or self._another()
        worker.send(key, call)

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """See `Workers`."""
        by_connection = {worker.connection: worker for worker in self._workers}
        if not by_connection:
            time.sleep(seconds)
        ready = wait(list(by_connection), seconds)
        told = [self._hear(by_connection[one]) for one in ready if isinstance(one, Connection)]
        # What has come to an end beside an error is not lost: that one is raised next time.
        whole = [each for each in told if each is not None]
        if self._error is not None and not whole:
            raise self._error
        return whole

    def answer(self, key: Key, *, go_on: bool) -> None:
        """See `Workers`."""
        for worker in self._workers:
            if worker.key == key:
                worker.key = key if go_on else None
                with suppress(OSError):
                    worker.connection.send(go_on)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See `Workers`; they are stopped, and go on afterwards."""
        pids = [worker.process.pid for worker in self._workers if worker.process.pid and hasattr(signal, "SIGSTOP")]
        try:
            _signal(pids, "SIGSTOP")
            yield
        finally:
            _signal(pids, "SIGCONT")

    def _another(self) -> _Worker:
        """A new process in a place that is not taken."""
        taken = [worker.place for worker in self._workers]
        left = list(self.places)
        for place in taken:
            left.remove(place)
        ours, its = self._context.Pipe()
        process = self._context.Process(target=_work, args=(its, left[0]), daemon=True)
        with _surroundings(left[0]), _interrupts_blocked():
            process.start()
        its.close()  # so that its death is heard of
        self._workers.append(_Worker(left[0], process, ours))
        _LOG.debug("Started worker process %s on CPU cores %s.", process.pid, left[0].cores)
        return self._workers[-1]

    def _hear(self, worker: _Worker) -> tuple[Key, Outcome] | None:
        try:
            outcome = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(outcome, NasError):
            self._error = outcome
            return None
        key = worker.key
        if outcome.ended:
            worker.key = None
        return None if key is None else (key, outcome)

    def _bury(self, worker: _Worker) -> tuple[Key, Outcome] | None:
        self._workers.remove(worker)
        _end(worker)
        _LOG.debug("Worker process %s %s.", worker.process.pid, _cause(worker.process.exitcode))
        if worker.key is None:
            return None
        reason = f"its worker {_cause(worker.process.exitcode)}"
        return worker.key, Outcome((), 0.0, reason=reason, lost=True)


def _cause(code: int | None) -> str:
    """What became of a process."""
    if code is None or code >= 0:
        return f"ended with {code}"
    name = signal.Signals(-code).name
    hint = "; it may have been out of memory" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join(LAST_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _signal(pids: Sequence[int], name: str) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, name))


@contextmanager
def _surroundings(place: Place) -> Iterator[None]:
    """Variables that a process must find when it begins: libraries read them while they are imported."""
    wanted = dict.fromkeys(THREADS, str(place.threads))
    if place.gpu is not None:
        wanted["CUDA_VISIBLE_DEVICES"] = place.gpu
    usual = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        _restore(usual)


def _restore(usual: Mapping[str, str | None]) -> None:
    for name, value in usual.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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


def _work(connection: Connection, place: Place) -> None:
    """What a worker does until it is told to end, or its parent is gone."""
    _follow_parent()
    _settle(place)
    held: list[Evaluators] = []
    with suppress(EOFError, OSError):
        while (message := connection.recv()) is not None:
            if message[0] == "take":
                held = [*held, message[1]][-HELD:]
            elif message[0] == "call":
                _evaluate(connection, Call(held[message[1]], *message[2]))


def _evaluate(connection: Connection, call: Call) -> None:
    with closing(steps_of(call)) as steps:
        try:
            for step in steps:
                connection.send(step)
                if not step.ended and not connection.recv():
                    return
        except NasError as error:
            connection.send(error)


def _settle(place: Place) -> None:
    """On its own processors, within its own memory."""
    if place.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, place.cores)
    if place.data_bytes is None:
        return
    with suppress(ImportError, ValueError, OSError):  # where there are no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (place.data_bytes, resource.RLIM_INFINITY))


def _follow_parent() -> None:
    """A worker leaves interrupts to its parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):  # on Linux one that is stopped ends too
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
