"""Several processes of this machine that evaluate networks, each on its own CPU cores."""

import logging
import math
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
from nas.processes import cause_of_end, interrupts_blocked, is_killed_with_parent, kill_tree, resume_tree, suspend_tree
from nas.workers.base import PATIENCE_S, Call, Deadline, Here, Key, Outcome, Workers, steps_of
from nas.workers.threads import VARIABLES

_LOG = logging.getLogger(__name__)
MEMORY_SHARE = 0.9  # share of the free memory that all workers together may use
EXIT_S = 10.0  # seconds that a worker has to exit by itself
KEPT_EVALUATORS = 4  # a search has one, and one more for each further seed


@frozen
class Place:
    """Describe the part of this machine that a worker may use.

    Attributes:
        cores: Numbers of its CPU cores; () does not restrict them.
        threads: Number of threads of its numerical libraries.
        gpu: Number of its GPU; None where there is no GPU to distribute.
        data_bytes: Limit of its memory, in bytes; None sets no limit.
    """

    cores: tuple[int, ...]
    threads: int
    gpu: str | None = None
    data_bytes: int | None = None


def find_cores() -> tuple[int, ...]:
    """Return the numbers of the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def find_gpus() -> tuple[str, ...]:
    """Return the numbers of the NVIDIA GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        # An empty value hides all GPUs from CUDA.
        return tuple(filter(None, named.split(",")))
    return tuple(sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")))


def share_out(
    number: int,
    cores: Sequence[int],
    gpus: Sequence[str] = (),
    free_bytes: int | None = None,
    threads: int | None = None,
) -> list[Place]:
    """Return a place for each worker, with CPU cores, GPUs and memory in equal parts.

    Where there are more workers than CPU cores, several workers share a core. Memory is not limited where there are
    GPUs, because their drivers reserve far more address space than they use. Each worker has as many threads as CPU
    cores, unless their number is given.
    """
    each = max(1, len(cores) // number)
    memory = None if free_bytes is None or gpus else int(MEMORY_SHARE * free_bytes / number)
    # With more workers than cores, the places start again from the first core.
    starts = (each * i % len(cores) for i in range(number))
    return [
        Place(tuple(cores[start : start + each]), threads or each, gpus[i % len(gpus)] if gpus else None, memory)
        for i, start in enumerate(starts)
    ]


def make_workers(number: int, threads: int | None = None, limit_s: float | None = None) -> Workers:
    """Return workers that evaluate in so many processes; a single worker without a time limit is this process itself.

    Args:
        number: Number of processes.
        threads: Number of threads of each process beside this one; None takes one for each of its CPU cores.
        limit_s: Longest duration of an evaluation, in seconds; None sets no limit.

    Raises:
        StudyError: The number is below 1.
    """
    if number < 1:
        raise StudyError(f"the number of workers is {number}", "give at least 1")
    # Only another process can be stopped in the middle of an evaluation.
    return Here() if number == 1 and limit_s is None else Processes(number, threads=threads, limit_s=limit_s)


def is_importing_main() -> bool:
    """Return whether this is a worker process that is still importing the main module of its parent."""
    # The attribute by which `multiprocessing` itself refuses to start processes at that moment.
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))


@define(eq=False)
class _Worker:
    """Holds a worker process, the call that it evaluates and its deadline, and the evaluators that were sent to it."""

    place: Place
    process: SpawnProcess
    connection: Connection
    deadline: Deadline
    key: Key | None = None
    sent: list[Evaluators] = field(factory=list)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self.process.pid or 0

    def send(self, key: Key, call: Call) -> None:
        """Send a call to the process; evaluators are sent only once.

        Raises:
            NasError: The evaluators cannot be pickled.
        """
        self.key, self.deadline = key, Deadline(self.deadline.limit_s)
        known = next((i for i, one in enumerate(self.sent) if one is call.evaluators), None)
        if known is None:
            self._send(("take", call.evaluators))
            # The process keeps the same list by the same rule (see `_work`), so that an index identifies the
            # evaluators.
            self.sent = [*self.sent, call.evaluators][-KEPT_EVALUATORS:]
            known = len(self.sent) - 1
        fields = (call.arch, call.resolution, call.seed, call.epochs, call.by_epoch)
        self._send(("call", known, fields))

    def _send(self, message: object) -> None:
        try:
            whole = ForkingPickler.dumps(message)
        except Exception as error:
            raise StudyError(
                f"the evaluator cannot be sent to another process: {type(error).__name__}: {error}",
                "leave --workers and --trial-timeout out, or build the evaluator from objects that pickle accepts",
            ) from None
        with suppress(BrokenPipeError, ConnectionError):  # the next poll reports a process that has died
            self.connection.send_bytes(whole)


@define(eq=False)
class Processes:
    """Evaluates in several processes; one that dies is replaced, and its call is reported as lost.

    Attributes:
        number: Number of processes.
        threads: Number of threads of each process; None takes one for each of its CPU cores.
        limit_s: Longest duration of an evaluation in seconds, after which its process is killed; None sets no limit.
        places: Part of the machine for each process.
    """

    number: int
    threads: int | None = field(default=None, kw_only=True)
    limit_s: float | None = field(default=None, kw_only=True)
    places: Sequence[Place] = field()
    _workers: list[_Worker] = field(factory=list, init=False)
    _context: SpawnContext = field(init=False)
    _error: NasError | None = field(default=None, init=False)

    @places.default
    def _share_out(self) -> Sequence[Place]:
        free = psutil.virtual_memory().available
        return share_out(self.number, find_cores(), find_gpus(), free, self.threads)

    @_context.default
    def _spawning(self) -> SpawnContext:
        return multiprocessing.get_context("spawn")  # torch's threads do not survive a fork

    def __enter__(self) -> Self:
        """See `Workers`."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """See `Workers`."""
        for worker in self._workers:
            # A process without a call ends by itself when it receives None.
            if kind or worker.key is not None:
                kill_tree(worker.pid)
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
        # A process that died while it was idle is replaced now: a call that is sent to it would be lost.
        for worker in [one for one in self._workers if one.key is None and not one.process.is_alive()]:
            self._remove(worker)
        worker = next((one for one in self._workers if one.key is None), None) or self._start_process()
        worker.send(key, call)

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """See `Workers`."""
        self._check_error()
        end = time.monotonic() + seconds
        outcomes = self._receive_all(seconds)
        # A process that only reports that it begins, or that has died while it was idle, gives no outcome.
        while not outcomes and self._error is None and (left := end - time.monotonic()) > 0:
            outcomes = self._receive_all(left)
        # Calls that have ended are returned first; the error is raised by the next poll.
        if not outcomes:
            self._check_error()
        return outcomes

    def _receive_all(self, seconds: float) -> list[tuple[Key, Outcome]]:
        """Return what the processes report within some seconds, and end those whose evaluation takes too long."""
        by_connection = {worker.connection: worker for worker in self._workers}
        if not by_connection:
            time.sleep(seconds)
        left = min((worker.deadline.seconds_left for worker in self._workers if worker.key), default=math.inf)
        ready = wait(list(by_connection), max(0.0, min(seconds, left)))
        received = [self._receive(by_connection[one]) for one in ready if isinstance(one, Connection)]
        late = [worker for worker in self._workers if worker.key and worker.deadline.seconds_left < 0]
        return [each for each in received if each is not None] + list(map(self._stop, late))

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error

    def answer(self, key: Key, *, go_on: bool) -> None:
        """See `Workers`."""
        for worker in self._workers:
            if worker.key == key:
                # A process reports nothing more about a call that is ended, so it is free at once.
                worker.key = key if go_on else None
                with suppress(OSError):
                    worker.connection.send(go_on)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See `Workers`; the processes and those that they have started are stopped, and continued afterwards."""
        begun, workers = time.monotonic(), list(self._workers)
        try:
            for worker in workers:
                suspend_tree(worker.pid)
            yield
        finally:
            for worker in workers:
                resume_tree(worker.pid)
                worker.deadline.extend(time.monotonic() - begun)

    def _start_process(self) -> _Worker:
        """Start a new process in a place that no other process has."""
        taken = [worker.place for worker in self._workers]
        left = list(self.places)
        # Removed one by one: places are equal where several workers share a CPU core.
        for place in taken:
            left.remove(place)
        ours, its = self._context.Pipe()
        process = self._context.Process(target=_work, args=(its, left[0]), daemon=True)
        with _environment(left[0]), interrupts_blocked():
            process.start()
        its.close()  # the connection must end with the process, so that its death is noticed
        self._workers.append(_Worker(left[0], process, ours, Deadline(self.limit_s)))
        _LOG.debug("Started worker process %s on CPU cores %s.", process.pid, left[0].cores)
        return self._workers[-1]

    def _receive(self, worker: _Worker) -> tuple[Key, Outcome] | None:
        try:
            outcome = worker.connection.recv()
        except (EOFError, OSError):
            return self._remove(worker)
        if isinstance(outcome, NasError):
            self._error = outcome
            return None
        if outcome is None:
            worker.deadline.begin()
            return None
        key = worker.key
        if outcome.ended:
            worker.key = None
        return None if key is None else (key, outcome)

    def _stop(self, worker: _Worker) -> tuple[Key, Outcome]:
        """Kill a process whose evaluation takes too long."""
        assert worker.key is not None  # noqa: S101 -- it evaluates
        kill_tree(worker.pid)
        self._workers.remove(worker)
        _end(worker)
        return worker.key, worker.deadline.outcome()

    def _remove(self, worker: _Worker) -> tuple[Key, Outcome] | None:
        self._workers.remove(worker)
        _end(worker)
        _LOG.debug("Worker process %s %s.", worker.process.pid, cause_of_end(worker.process.exitcode))
        if worker.key is None:
            return None
        reason = f"its worker {cause_of_end(worker.process.exitcode)}"
        return worker.key, Outcome((), 0.0, reason=reason, lost=True)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join(EXIT_S)
    if worker.process.is_alive():
        kill_tree(worker.pid)
        worker.process.join()


@contextmanager
def _environment(place: Place) -> Iterator[None]:
    """Set the variables that libraries read while they are imported, for a process that starts inside the context."""
    wanted = dict.fromkeys(VARIABLES, str(place.threads))
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


def _work(connection: Connection, place: Place) -> None:
    """Evaluate calls until the parent process ends this one, or has ended itself."""
    _follow_parent()
    _restrict(place)
    held: list[Evaluators] = []
    with suppress(EOFError, OSError):
        while (message := connection.recv()) is not None:
            if message[0] == "take":
                held = [*held, message[1]][-KEPT_EVALUATORS:]
            elif message[0] == "call":
                _evaluate(connection, Call(held[message[1]], *message[2]))


def _evaluate(connection: Connection, call: Call) -> None:
    connection.send(None)  # the evaluation begins: until now the process was starting
    with closing(steps_of(call)) as steps:
        try:
            for step in steps:
                connection.send(step)
                if not step.ended and not connection.recv():
                    return
        except NasError as error:
            connection.send(error)


def _restrict(place: Place) -> None:
    """Restrict this process to its CPU cores and its memory."""
    if place.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, place.cores)
    if place.data_bytes is None:
        return
    with suppress(ImportError, ValueError, OSError):  # some systems have no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (place.data_bytes, resource.RLIM_INFINITY))


def _follow_parent() -> None:
    """Ignore interrupts, which the parent handles, and end together with the parent."""
    # A terminal sends both to all processes that were started from it.
    for name in {"SIGINT", "SIGHUP"} & {*signal.Signals.__members__}:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    is_killed_with_parent()  # even while it is stopped
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    # `sys.exit` would end only this thread.
    os._exit(1)
