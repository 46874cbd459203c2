"""Trainings that are made up, to be sent to other processes: light to import, and all of them plain classes."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.errors import DataError, EvaluationError
from nas.workers.base import Call

# Architecture, resolution, seed, epochs ► accuracies by epoch.
Course = Callable[[Architecture, int, int, int], Iterator[float]]


def final(arch: Architecture, resolution: int, seed: int) -> float:
    """A figure in 0…1 that only these three decide."""
    text = f"{format_text(arch)} at {resolution} by {seed}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def rising(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
    for epoch in range(1, epochs + 1):
        yield final(arch, resolution, seed) * epoch / epochs


def failing(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    yield 0.25
    raise EvaluationError("made to fail", "nothing to mend")


def crashing(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    yield 0.25
    raise ZeroDivisionError("made to crash")


def silent(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    return iter(())


def too_good(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    yield 0.25
    yield 1.5


def dying(_arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
    os.kill(os.getpid(), signal.SIGKILL)
    return iter(())


@frozen
class Stuck:
    """Ends its second epoch never; that it has ended the first can be seen by a file."""

    begun: Path

    def __call__(self, _arch: Architecture, _resolution: int, seed: int, _epochs: int) -> Iterator[float]:
        yield 0.25
        self.begun.with_name(f"{self.begun.name}-{seed}").touch()
        threading.Event().wait(600)


@frozen
class Ticking:
    """Writes a byte every few milliseconds and does not end."""

    ticks: Path

    def __call__(self, _arch: Architecture, _resolution: int, _seed: int, _epochs: int) -> Iterator[float]:
        for _ in range(60_000):
            with self.ticks.open("ab") as file:
                file.write(b".")
            time.sleep(0.01)
        yield 0.5


@frozen
class FakeEvaluator:
    """See `FakeEvaluators`."""

    made_by: "FakeEvaluators"
    resolution: int
    seed: int

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        return self.made_by.course(arch, self.resolution, self.seed, budget)

    def describe(self) -> Mapping[str, Any]:
        return {**self.made_by.describe(), "environment": {"version": self.made_by.version}}


@frozen
class FakeEvaluators:
    """Evaluators of a course; it is described by `name` alone."""

    course: Course = rising
    name: str = "fake"
    version: str = "1"

    def at(self, resolution: int, seed: int) -> FakeEvaluator:
        return FakeEvaluator(self, resolution, seed)

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": self.name, "data": "none"}


@frozen
class NoImages:
    """Evaluators without images."""

    def at(self, resolution: int, seed: int) -> FakeEvaluator:
        raise DataError(f"there are no images of {resolution} pixels, seed {seed}", "give some")

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "none"}


def call(course: Course, arch: Architecture, seed: int = 0, epochs: int = 2) -> Call:
    return Call(FakeEvaluators(course), arch, 16, seed, epochs)
