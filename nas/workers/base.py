"""Who evaluates networks: this process, one epoch at a time. `processes` has several beside it."""

import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self

from attrs import define, evolve, field, frozen

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Evaluator, Evaluators, HasMetadata, Sendable

PATIENCE_S = 30.0
Key = tuple[str, int]


@frozen
class Call:
    """An evaluation; can be sent to another process.

    Attributes:
        evaluators: give the evaluator.
        arch: the network.
        resolution: of the images.
        seed: of everything random.
        epochs: at most.
        by_epoch: whether every epoch is told, and the next one waits for an answer.
    """

    evaluators: Evaluators
    arch: Architecture
    resolution: int
    seed: int
    epochs: int
    by_epoch: bool = False


@frozen
class Outcome:
    """What is known of a call.

    Attributes:
        accuracies: by epoch.
        seconds: since it began.
        environment: what the evaluator says of its surroundings.
        reason: why it failed; "" where it did not.
        remarks: what else the evaluator had to say.
        ended: whether this is the result.
        lost: whether it has none because who evaluated it is gone; it may do better elsewhere.
    """

    accuracies: tuple[float, ...]
    seconds: float
    environment: Mapping[str, Any] = field(factory=dict)
    reason: str = ""
    remarks: Mapping[str, Any] = field(factory=dict)
    ended: bool = True
    lost: bool = False


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

    def poll(self, seconds: float = PATIENCE_S) -> list[tuple[Key, Outcome]]:
        """What has finished, and of calls by epoch each epoch; waits so long for it, and may come back with nothing.

        Raises:
            NasError: the evaluators fail as a whole.
        """
        ...

    def answer(self, key: Key, *, go_on: bool) -> None:
        """After an epoch of a call by epoch: train the next one, or end it, and say no more of it."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Inside it nothing is evaluated on this machine's processors.

        Raises:
            NasError: that cannot be had.
        """
        ...


def outcomes(call: Call) -> Generator[Outcome, None, None]:
    """What is known after each epoch; the last one is the result.

    Raises:
        NasError: the evaluators fail as a whole.
    """
    begun, told = time.monotonic(), Outcome((), 0.0, ended=False)
    reason = ""
    try:
        evaluator = call.evaluators.at(call.resolution, call.seed)
        told = evolve(told, environment=dict(evaluator.describe().get("environment", {})))
        for accuracy in evaluator.evaluate(call.arch, call.epochs):
            told = evolve(told, accuracies=(*told.accuracies, _checked(accuracy)), seconds=time.monotonic() - begun)
            yield told
        if not told.accuracies:
            reason = "the evaluator gave no accuracy"
        elif isinstance(evaluator, HasMetadata):
            told = evolve(told, remarks=dict(evaluator.metadata(call.arch)))
    except EvaluationError as error:
        reason = str(error)
    except NasError:
        raise
    except Exception as error:
        # Whatever goes wrong with this network, the next one may do better.
        reason = f"{type(error).__name__}: {error}"
    yield evolve(told, seconds=time.monotonic() - begun, reason=reason, ended=True)


def _checked(accuracy: float) -> float:
    if not 0 <= accuracy <= 1:
        raise EvaluationError(f"the evaluator gave accuracy {accuracy}", "an accuracy lies between 0 and 1")
    return accuracy


@define(eq=False)
class Here:
    """This process: a poll is one epoch."""

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
        """See `Workers`; between two polls nothing runs."""
        return nullcontext()

    def _end(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()


@frozen
class Single:
    """Evaluators of a search: one, whatever is asked for; can be sent to another process where that one can."""

    evaluator: Evaluator

    def __reduce__(self) -> "tuple[type[Single], tuple[Evaluator]]":
        """What is sent."""
        return Single, (self.evaluator.to_send() if isinstance(self.evaluator, Sendable) else self.evaluator,)

    def at(self, resolution: int, seed: int) -> Evaluator:  # noqa: ARG002 -- it has images and a seed of its own
        """See `Evaluators`."""
        return self.evaluator

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluators`."""
        return self.evaluator.describe()


def steps_of(call: Call) -> Generator[Outcome, None, None]:
    """Of a call by epoch all outcomes, of another one the last."""
    if call.by_epoch:
        yield from outcomes(call)
        return
    *_, last = outcomes(call)
    yield last
