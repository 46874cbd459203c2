"""The interface of workers, which evaluate networks, and the simplest of them: this process itself.

`nas.workers.processes` evaluates in several processes of this machine, `nas.workers.ray_workers` on a Ray cluster.
"""

import math
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self

from attrs import define, evolve, field, frozen

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, EvaluationLostError, NasError, describe_error
from nas.evaluate.base import Evaluator, Evaluators, HasMetadata, Sendable, Validating
from nas.noise import pack
from nas.workers.interrupts import may_be_interrupted

PATIENCE_S = 30.0
Key = tuple[str, int]


@frozen
class Call:
    """Describe one evaluation; a call can be sent to another process.

    Attributes:
        evaluators: Source of the evaluator for this resolution and seed.
        arch: Network to evaluate.
        resolution: Height and width of the images, in pixels.
        seed: Seed of all random numbers.
        epochs: Largest number of epochs.
        by_epoch: Whether an outcome is reported after every epoch, before which the next one does not start.
    """

    evaluators: Evaluators
    arch: Architecture
    resolution: int
    seed: int
    epochs: int
    by_epoch: bool = False


@frozen
class Outcome:
    """Hold what is known of a call so far.

    Attributes:
        accuracies: Accuracy after each epoch, 0 to 1.
        seconds: Duration since the evaluation started, in seconds.
        environment: Device, threads and versions that the evaluator reports.
        reason: Reason of the failure; "" where there is none.
        metadata: Further results that the evaluator adds to the accuracies.
        correct: Which validation images were classified correctly after the last epoch, as `nas.noise.pack` writes it;
            "" where it is not known.
        ended: Whether this is the last outcome of the call.
        lost: Whether there is no result because the process that evaluated was ended; another one may succeed.
    """

    accuracies: tuple[float, ...]
    seconds: float
    environment: Mapping[str, Any] = field(factory=dict)
    reason: str = ""
    metadata: Mapping[str, Any] = field(factory=dict)
    correct: str = ""
    ended: bool = True
    lost: bool = False


class Workers(Protocol):
    """Evaluates calls; used as a context manager, whose end stops the evaluations that still run."""

    def __enter__(self) -> Self:
        """Return the workers, ready to start calls."""
        ...

    def __exit__(self, kind: object, *_: object) -> None:
        """Stop; `kind` is the type of the exception that ended the context, or None."""
        ...

    @property
    def free(self) -> bool:
        """Return whether one more call can be started."""
        ...

    def start(self, key: Key, call: Call) -> None:
        """Start an evaluation.

        Raises:
            NasError: No evaluation can run at all.
        """
        ...

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """Return the calls that have ended, and each epoch of calls by epoch; the list may be empty.

        Args:
            seconds: Longest time to wait for the first of them.

        Raises:
            NasError: The evaluators fail as a whole.
        """
        ...

    def answer(self, key: Key, *, go_on: bool) -> None:
        """Continue a call by epoch with its next epoch, or end it without a further outcome."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Return a context in which nothing is evaluated on the CPU cores of this machine.

        Raises:
            NasError: These workers cannot be paused.
        """
        ...


def outcomes(call: Call) -> Generator[Outcome, None, None]:
    """Yield an outcome after each epoch; the last one is the result.

    Raises:
        NasError: The evaluators fail as a whole.
    """
    start, outcome = time.monotonic(), Outcome((), 0.0, ended=False)
    reason = ""
    try:
        evaluator = call.evaluators.at(call.resolution, call.seed)
        outcome = evolve(outcome, environment=dict(evaluator.describe().get("environment", {})))
        for accuracy in evaluator.evaluate(call.arch, call.epochs):
            outcome = evolve(
                outcome, accuracies=(*outcome.accuracies, _checked(accuracy)), seconds=time.monotonic() - start
            )
            yield outcome
        if not outcome.accuracies:
            reason = "the evaluator gave no accuracy"
        else:
            outcome = _with_details(outcome, evaluator, call.arch)
    except EvaluationError as error:
        outcome = evolve(outcome, lost=isinstance(error, EvaluationLostError))
        reason = str(error)
    # Any other error of this package concerns all networks, so it ends the search.
    except NasError:
        raise
    except Exception as error:
        # An error of one network must not end a search: the next network may succeed.
        reason = describe_error(error)
    except (SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and may_be_interrupted():
            raise
        # The code that evaluates raised it itself, which must not end the search either.
        reason = f"the evaluation ended the process ({describe_error(error)})"
    yield evolve(outcome, seconds=time.monotonic() - start, reason=reason, ended=True)


def _with_details(outcome: Outcome, evaluator: Evaluator, arch: Architecture) -> Outcome:
    """Return an outcome with what the evaluator knows besides the accuracies."""
    if isinstance(evaluator, HasMetadata):
        outcome = evolve(outcome, metadata=dict(evaluator.metadata(arch)))
    if isinstance(evaluator, Validating) and (correct := evaluator.correct(arch)) is not None:
        outcome = evolve(outcome, correct=pack(correct))
    return outcome


def _checked(accuracy: float) -> float:
    if not 0 <= accuracy <= 1:
        raise EvaluationError(f"the evaluator gave accuracy {accuracy}", "an accuracy lies between 0 and 1")
    return accuracy


@define(eq=False)
class Here:
    """Evaluates in this process; one poll trains one epoch."""

    _key: Key = field(default=("", 0), init=False)
    _by_epoch: bool = field(default=False, init=False)
    _steps: Generator[Outcome, None, None] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """See `Workers`."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """See `Workers`."""
        self._end()

    @property
    def free(self) -> bool:
        """See `Workers`."""
        return self._steps is None

    def start(self, key: Key, call: Call) -> None:
        """See `Workers`."""
        self._key, self._by_epoch, self._steps = key, call.by_epoch, outcomes(call)

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """See `Workers`."""
        if self._steps is None:
            time.sleep(seconds)
            return []
        step = next(self._steps)
        if step.ended:
            self._end()
        return [(self._key, step)] if step.ended or self._by_epoch else []

    def answer(self, key: Key, *, go_on: bool) -> None:
        """See `Workers`."""
        if key == self._key and not go_on:
            self._end()

    def paused(self) -> AbstractContextManager[None]:
        """See `Workers`; nothing runs between two polls."""
        return nullcontext()

    def _end(self) -> None:
        # Closing the generator releases what the evaluator holds now, and not when the generator is collected.
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()


@frozen
class Single:
    """Evaluators of a search, which always give the same one; can be sent to another process where that one can."""

    evaluator: Evaluator

    def __reduce__(self) -> "tuple[type[Single], tuple[Evaluator]]":
        """Return what pickle sends to another process."""
        return Single, (self.evaluator.to_send() if isinstance(self.evaluator, Sendable) else self.evaluator,)

    def at(self, resolution: int, seed: int) -> Evaluator:  # noqa: ARG002 -- the evaluator holds its own images and seed
        """See `Evaluators`."""
        return self.evaluator

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluators`."""
        return self.evaluator.describe()


@define(eq=False)
class Deadline:
    """Limits the duration of one evaluation, without the time in which it was paused.

    Attributes:
        limit_s: Longest duration in seconds; None sets no limit.
    """

    limit_s: float | None
    _begun: float | None = field(default=None, init=False)

    def begin(self) -> None:
        """Note that the evaluation begins now, unless it has begun before."""
        self._begun = time.monotonic() if self._begun is None else self._begun

    def extend(self, seconds: float) -> None:
        """Allow so many further seconds, in which the evaluation was paused."""
        self._begun = None if self._begun is None else self._begun + seconds

    @property
    def seconds_left(self) -> float:
        """Return the seconds that are left, infinite without a limit or before the evaluation has begun."""
        if self.limit_s is None or self._begun is None:
            return math.inf
        return self._begun + self.limit_s - time.monotonic()

    def outcome(self) -> Outcome:
        """Return the outcome of an evaluation that takes longer."""
        return Outcome((), self.limit_s or 0.0, reason=f"the evaluation took longer than {self.limit_s:g} s")


def steps_of(call: Call) -> Generator[Outcome, None, None]:
    """Yield all outcomes of a call by epoch, and the last outcome of any other call."""
    if call.by_epoch:
        yield from outcomes(call)
        return
    *_, last = outcomes(call)
    yield last
