"""A Ray cluster that evaluates networks: where each is evaluated Ray decides, and what the caller."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from functools import lru_cache
from typing import Any, Self

from attrs import define, field

from nas.errors import NasError, StudyError
from nas.evaluate.base import Evaluators
from nas.workers.base import PATIENCE_S, Call, Key, Outcome, steps_of
from nas.workers.processes import HELD, LAST_S
from nas.workers.ray_cluster import AUTO, Need, answers, connected, first_line, import_ray, is_here, is_there
from nas.workers.threads import set_threads

PICKLED = "make it of what pickle takes: no open files, locks or connections"
AGAIN = "begin a cluster again and repeat the command: the search goes on where it stopped"
GO_ON_S = 1.0  # for an answer to reach a task; one that takes longer reaches it while a poll listens
SAME = "install the same versions of hwnas, its extras and what the evaluator needs on every machine of the cluster"


@define(eq=False)
class _Task:
    """A call under way."""

    stream: Any  # of outcomes; in one by epoch of a None after each, beyond which it goes once that is read
    waits: bool = False  # for an answer


@define(eq=False)
class RayWorkers:
    """Tasks of a Ray cluster that is there already; one whose machine or process dies is told as lost, not tried again.

    Evaluators go to a machine once, and are read once by each of its processes; their numpy arrays are read-only then.
    With graphics cards each task has a process of its own, since a process stays with the card that it has taken.

    Attributes:
        address: host and port; "auto" is the cluster that this machine belongs to. This process runs on one of its
            machines.
        cpus: processors of each task, and threads of its libraries.
        gpus: graphics cards of each task, or a part of one.
        most: tasks at once; None leaves it to the cluster.
    """

    address: str = AUTO
    cpus: float = 1.0
    gpus: float = 0.0
    most: int | None = None
    _need: Need = field(init=False)
    _ray: Any = field(default=None, init=False)
    _remote: Any = field(default=None, init=False)
    _tasks: dict[Key, _Task] = field(factory=dict, init=False)
    _sent: list[tuple[Evaluators, Any]] = field(factory=list, init=False)
    _told: list[tuple[Key, Outcome]] = field(factory=list, init=False)  # while an answer was given
    _error: NasError | None = field(default=None, init=False)
    _connection: ExitStack = field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        self._need = Need(self.cpus, self.gpus)
        if self.most is not None and self.most < 1:
            raise StudyError(f"at most {self.most} tasks", "give at least 1")

    def __enter__(self) -> Self:
        """See `Workers`.

        Raises:
            MissingPackageError: Ray is absent.
            StudyError: there is no such cluster, or none of its machines holds a task.
        """
        self._ray = self._connection.enter_context(connected(self.address))
        if not self._room():
            self._connection.close()
            raise StudyError(
                f"no machine of the Ray cluster holds a task of {self._need}", "ask for less, or let a larger one join"
            )
        # An object that nobody has read holds its task up; whoever has lost a call decides what becomes of it.
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
                self._ray.wait(ends, num_returns=len(ends), timeout=LAST_S)
        self._tasks.clear()
        self._sent.clear()
        self._connection.close()

    @property
    def free(self) -> bool:
        """See `Workers`; machines come and go."""
        return len(self._tasks) < self._room()

    def start(self, key: Key, call: Call) -> None:
        """See `Workers`."""
        fields = (call.arch, call.resolution, call.seed, call.epochs, call.by_epoch)
        # In a list it is a task's own to fetch, and not before it has begun.
        stream = self._remote.remote([self._send(call.evaluators)], fields, self._need.threads)
        self._tasks[key] = _Task(stream)

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """See `Workers`."""
        seconds = seconds if self._find_head() else 0.0
        end = time.monotonic() + seconds
        told, self._told = self._told or self._hear(seconds), []
        while not told and self._error is None and (left := end - time.monotonic()) > 0:
            told = self._hear(left)
        if self._error is not None and not told:
            raise self._error
        return told

    def answer(self, key: Key, *, go_on: bool) -> None:
        """See `Workers`."""
        if key not in self._tasks:
            return
        if not go_on:
            self._ray.cancel(self._tasks.pop(key).stream)
            return
        task = self._tasks[key]
        task.waits = False
        # It goes on now, and not when somebody listens.
        if self._ray.wait([task.stream], timeout=GO_ON_S)[0] and (said := self._take(key)) is not None:
            self._told.append((key, said))

    def paused(self) -> AbstractContextManager[None]:
        """See `Workers`; allowed where no task runs on this machine anyway.

        Raises:
            NasError: some may run here, and a cluster cannot be kept still.
        """
        if any(self._need.times_in(node) and is_here(node, self._ray) for node in self._ray.nodes()):
            raise NasError(
                "latency cannot be measured on a machine that evaluates networks for a Ray cluster",
                "give a latency table or a device over SSH, or begin this machine's node with `--num-cpus=0`",
            )
        return nullcontext()

    @property
    def _head(self) -> str:
        return str(self._ray.get_runtime_context().gcs_address)

    def _room(self) -> int:
        """Tasks that the cluster holds now."""
        if not self._find_head():
            return 0
        room = sum(map(self._need.times_in, self._ray.nodes()))
        return room if self.most is None else min(room, self.most)

    def _find_head(self) -> bool:
        """Whether it is there: without it Ray ends this process after a minute, whatever a search has left to write."""
        if self._error is None and not is_there(self._head):
            self._error = StudyError(f"the head of the Ray cluster at {self._head} is gone", AGAIN)
        return self._error is None

    def _send(self, evaluators: Evaluators) -> Any:
        """Where they are; they go to the cluster once."""
        known = next((ref for one, ref in self._sent if one is evaluators), None)
        if known is None:
            try:
                known = self._ray.put(evaluators)
            except TypeError as error:
                raise NasError(f"the evaluator cannot be sent elsewhere: {first_line(error)}", PICKLED) from None
            self._sent = [*self._sent, (evaluators, known)][-HELD:]
        return known

    def _hear(self, seconds: float) -> list[tuple[Key, Outcome]]:
        """What one of those says that do not wait for an answer."""
        keys = {task.stream: key for key, task in self._tasks.items() if not task.waits}
        if not keys:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(keys), timeout=seconds)
        told = [(keys[stream], self._take(keys[stream])) for stream in ready]
        return [(key, outcome) for key, outcome in told if outcome is not None]

    def _take(self, key: Key) -> Outcome | None:
        """What a task says next, if it is for the caller."""
        said = self._read(self._tasks[key].stream)
        if isinstance(said, NasError):
            self._error = said
        if isinstance(said, NasError) or (said is not None and said.ended):
            del self._tasks[key]
        elif said is not None:
            self._tasks[key].waits = True
        return said if isinstance(said, Outcome) else None

    def _read(self, stream: Any) -> Outcome | NasError | None:
        errors = self._ray.exceptions
        try:
            said: Outcome | NasError | None = self._ray.get(next(stream))
        except StopIteration:
            return _lost("it ended without a result")
        except errors.RayTaskError as error:
            # What networks and evaluators do wrong is told as such: this is Ray's own, or what was to be run is absent.
            return _lost(first_line(error.cause)) if isinstance(error.cause, errors.RayError) else _absent(error.cause)
        except errors.RayError as error:
            return _lost(first_line(error))
        return said


def _lost(why: str) -> Outcome:
    return Outcome((), 0.0, reason=f"its task on the Ray cluster was lost: {why}", lost=True)


def _absent(error: BaseException) -> NasError:
    return NasError(f"a machine of the Ray cluster cannot evaluate: {first_line(error)}", SAME)


def _evaluate(refs: Sequence[Any], fields: tuple[Any, ...], threads: int) -> Iterator[Outcome | NasError | None]:
    """What a task does."""
    set_threads(threads)
    try:
        evaluators = _read_once(refs[0])
    except import_ray().exceptions.ObjectLostError:
        raise
    except Exception as error:
        yield _absent(error)
        return
    set_threads(threads)  # libraries may have come with the evaluators
    with closing(steps_of(Call(evaluators, *fields))) as steps:
        try:
            for step in steps:
                yield step
                if not step.ended:
                    yield None
        except NasError as error:
            yield error


@lru_cache(HELD)
def _read_once(ref: Any) -> Evaluators:
    """Evaluators, kept by this process for the tasks to come."""
    evaluators: Evaluators = import_ray().get(ref)
    return evaluators
