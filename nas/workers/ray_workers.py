"""Workers on a Ray cluster: the caller decides what is evaluated, Ray on which machine."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from functools import lru_cache
from typing import Any, Self

from attrs import define, field

from nas.errors import NasError, StudyError
from nas.evaluate.base import Evaluators
from nas.workers.base import PATIENCE_S, Call, Deadline, Key, Outcome, steps_of
from nas.workers.processes import EXIT_S, KEPT_EVALUATORS
from nas.workers.ray_cluster import AUTO, Need, answers, connected, first_line, import_ray, is_here, is_there
from nas.workers.threads import set_threads

PICKLED = "build the evaluator from objects that pickle accepts: no open files, locks or connections"
AGAIN = "start a cluster again and repeat the command: the search continues where it stopped"
CONTINUE_S = 1.0  # time for an answer to reach a task; a slower answer arrives during the next poll
SAME = "install the same versions of hwnas, its extras and what the evaluator needs on every machine of the cluster"


@define(eq=False)
class _Task:
    """Holds a call that is being evaluated."""

    # Of outcomes; a call by epoch adds None after each, and continues once that None is read. With a time limit, the
    # first object is a None, and the evaluation begins once it is read.
    stream: Any
    deadline: Deadline
    waits: bool = False  # whether the task waits for an answer


@define(eq=False)
class RayWorkers:
    """Evaluates in tasks of a running Ray cluster; a call whose machine or process dies is reported as lost.

    Evaluators are sent to each machine once, and read once by each of its processes; their numpy arrays are read-only
    there. With GPUs each task has its own process, because a process keeps the GPU that it has used first.

    Attributes:
        address: Host and port of the cluster; "auto" is the cluster that this machine belongs to. This process must run
            on one of its machines.
        cpus: Number of CPU cores of each task, and of threads of its libraries.
        gpus: Number of GPUs of each task, or a part of one.
        most: Largest number of tasks at once; None leaves it to the cluster.
        limit_s: Longest duration of an evaluation in seconds, after which its process is killed; None sets no limit.
    """

    address: str = AUTO
    cpus: float = 1.0
    gpus: float = 0.0
    most: int | None = None
    limit_s: float | None = field(default=None, kw_only=True)
    _need: Need = field(init=False)
    _ray: Any = field(default=None, init=False)
    _remote: Any = field(default=None, init=False)
    _tasks: dict[Key, _Task] = field(factory=dict, init=False)
    _sent: list[tuple[Evaluators, Any]] = field(factory=list, init=False)
    _waiting_outcomes: list[tuple[Key, Outcome]] = field(factory=list, init=False)  # while an answer was given
    _error: NasError | None = field(default=None, init=False)
    _connection: ExitStack = field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        self._need = Need(self.cpus, self.gpus)
        if self.most is not None and self.most < 1:
            raise StudyError(f"the largest number of tasks is {self.most}", "give at least 1")

    def __enter__(self) -> Self:
        """See `Workers`.

        Raises:
            MissingPackageError: The package ray is not installed.
            StudyError: There is no such cluster, or none of its machines can hold a task.
        """
        self._ray = self._connection.enter_context(connected(self.address))
        if not self._capacity():
            self._connection.close()
            raise StudyError(
                f"no machine of the Ray cluster can hold a task that needs {self._need}",
                "ask for less, or add a larger machine",
            )
        # A task waits until its last object is read. Ray must not retry: the search decides about a lost call.
        usual = {"max_retries": 0, "num_returns": "streaming", "_generator_backpressure_num_objects": 1}
        self._remote = self._ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, **usual)(_evaluate)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """See `Workers`."""
        streams = [task.stream for task in self._tasks.values()]
        with suppress(self._ray.exceptions.RayError):
            for stream in streams:
                self._ray.cancel(stream, force=True)
            if streams and answers(self._head):
                ends = [stream.completed() for stream in streams]
                self._ray.wait(ends, num_returns=len(ends), timeout=EXIT_S)
        self._tasks.clear()
        self._sent.clear()
        self._connection.close()

    @property
    def free(self) -> bool:
        """See `Workers`; machines may join and leave at any time."""
        return len(self._tasks) < self._capacity()

    def start(self, key: Key, call: Call) -> None:
        """See `Workers`."""
        fields = (call.arch, call.resolution, call.seed, call.epochs, call.by_epoch)
        limited = self.limit_s is not None
        # Ray resolves a plain reference before the task starts, one inside a list is fetched by the task itself.
        stream = self._remote.remote([self._send(call.evaluators)], fields, self._need.threads, limited)
        self._tasks[key] = _Task(stream, Deadline(self.limit_s))

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """See `Workers`."""
        # Outcomes that came together with an error were returned by the poll before.
        self._check_error()
        seconds = seconds if self._find_head() else 0.0
        end = time.monotonic() + seconds
        outcomes, self._waiting_outcomes = self._waiting_outcomes or self._receive(seconds), []
        while not outcomes and self._error is None and (left := end - time.monotonic()) > 0:
            outcomes = self._receive(left)
        if not outcomes:
            self._check_error()
        return outcomes

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error

    def answer(self, key: Key, *, go_on: bool) -> None:
        """See `Workers`."""
        if key not in self._tasks:
            return
        if not go_on:
            self._ray.cancel(self._tasks.pop(key).stream)
            return
        task = self._tasks[key]
        task.waits = False
        # The task continues only when its None is read, so that is read now and not at the next poll.
        if self._ray.wait([task.stream], timeout=CONTINUE_S)[0] and (received := self._take(key)) is not None:
            self._waiting_outcomes.append((key, received))

    def paused(self) -> AbstractContextManager[None]:
        """See `Workers`; possible only where no task can run on this machine.

        Raises:
            NasError: Tasks may run here, and a cluster cannot be paused.
        """
        if any(self._need.times_in(node) and is_here(node, self._ray) for node in self._ray.nodes()):
            raise NasError(
                "latency cannot be measured on a machine that evaluates networks for a Ray cluster",
                "give a latency table or a device over SSH, or start the node of this machine with `--num-cpus=0`",
            )
        return nullcontext()

    @property
    def _head(self) -> str:
        return str(self._ray.get_runtime_context().gcs_address)

    def _capacity(self) -> int:
        """Return the number of tasks that the cluster can hold now."""
        if not self._find_head():
            return 0
        room = sum(map(self._need.times_in, self._ray.nodes()))
        return room if self.most is None else min(room, self.most)

    def _find_head(self) -> bool:
        """Return whether the head node answers.

        Ray ends this process a minute after the head node is gone, without regard to what is not yet stored.
        """
        if self._error is None and not is_there(self._head):
            self._error = StudyError(f"the head of the Ray cluster at {self._head} is gone", AGAIN)
        return self._error is None

    def _send(self, evaluators: Evaluators) -> Any:
        """Return a reference to evaluators, which are sent to the cluster once."""
        known = next((ref for one, ref in self._sent if one is evaluators), None)
        if known is None:
            try:
                known = self._ray.put(evaluators)
            except TypeError as error:
                raise NasError(
                    f"the evaluator cannot be sent to another machine: {first_line(error)}", PICKLED
                ) from None
            self._sent = [*self._sent, (evaluators, known)][-KEPT_EVALUATORS:]
        return known

    def _receive(self, seconds: float) -> list[tuple[Key, Outcome]]:
        """Return outcomes of tasks that do not wait for an answer."""
        keys = {task.stream: key for key, task in self._tasks.items() if not task.waits}
        if not keys:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(keys), timeout=seconds)
        outcomes = [(keys[stream], self._take(keys[stream])) for stream in ready]
        late = [key for key, task in self._tasks.items() if task.deadline.seconds_left < 0]
        stopped = [(key, self._stop(self._tasks.pop(key))) for key in late]
        return [(key, outcome) for key, outcome in outcomes if outcome is not None and key not in late] + stopped

    def _stop(self, task: _Task) -> Outcome:
        """Kill the process of an evaluation that takes too long."""
        self._ray.cancel(task.stream, force=True)
        return task.deadline.outcome()

    def _take(self, key: Key) -> Outcome | None:
        """Return the next outcome of a task, where there is one."""
        received = self._read(self._tasks[key].stream)
        if received is None and not self._tasks[key].waits:
            self._tasks[key].deadline.begin()
        if isinstance(received, NasError):
            self._error = received
        if isinstance(received, NasError) or (received is not None and received.ended):
            del self._tasks[key]
        # The task produces nothing more until the None that follows this outcome is read; see `answer`.
        elif received is not None:
            self._tasks[key].waits = True
        return received if isinstance(received, Outcome) else None

    def _read(self, stream: Any) -> Outcome | NasError | None:
        errors = self._ray.exceptions
        try:
            received: Outcome | NasError | None = self._ray.get(next(stream))
        except StopIteration:
            return _lost("it ended without a result")
        except errors.RayTaskError as error:
            # Errors of networks arrive as outcomes: this one is Ray's, or a package is missing on the machine.
            return _lost(first_line(error.cause)) if isinstance(error.cause, errors.RayError) else _absent(error.cause)
        except errors.RayError as error:
            return _lost(first_line(error))
        return received


def _lost(why: str) -> Outcome:
    return Outcome((), 0.0, reason=f"its task on the Ray cluster was lost: {why}", lost=True)


def _absent(error: BaseException) -> NasError:
    return NasError(f"a machine of the Ray cluster cannot evaluate: {first_line(error)}", SAME)


def _evaluate(
    refs: Sequence[Any], fields: tuple[Any, ...], threads: int, limited: bool
) -> Iterator[Outcome | NasError | None]:
    """Evaluate a call; this is the code of a task."""
    set_threads(threads)
    try:
        evaluators = _read_once(refs[0])
    # The machine that held the evaluators is gone, so the call counts as lost and may succeed later. Any other failure
    # to unpickle, such as a missing package, would occur again on this machine.
    except import_ray().exceptions.ObjectLostError:
        raise
    except Exception as error:
        yield _absent(error)
        return
    set_threads(threads)  # unpickling the evaluators may have loaded further libraries
    if limited:
        yield None
    with closing(steps_of(Call(evaluators, *fields))) as steps:
        try:
            for step in steps:
                yield step
                if not step.ended:
                    yield None
        except NasError as error:
            yield error


@lru_cache(KEPT_EVALUATORS)
def _read_once(ref: Any) -> Evaluators:
    """Return evaluators, which this process keeps for further tasks."""
    evaluators: Evaluators = import_ray().get(ref)
    return evaluators
