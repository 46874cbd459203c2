"""The command `nas` with accuracies that are made up: all of it but images and torch. Run as a module.

NAS_FAKE_SECONDS is how long an epoch takes, NAS_FAKE_FAILS the level below which an architecture cannot be scored,
NAS_FAKE_GATE the folder of a `Gate` before each training run.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from nas.api import evaluators, training
from nas.arch.spec import Architecture
from nas.cli.main import main
from tests.cli.gate import pass_gate
from tests.search.fake_trainings import FakeEvaluators, failing, rising
from tests.search.fakes import FakeEvaluator, level


@frozen
class SlowEvaluator:
    """A `FakeEvaluator` that takes its time."""

    images: int | None
    seed: int

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        pass_gate()
        below = float(os.environ.get("NAS_FAKE_FAILS", "0"))
        for accuracy in FakeEvaluator(lambda one: level(one) < below).evaluate(arch, budget):
            time.sleep(float(os.environ.get("NAS_FAKE_SECONDS", "0")))
            yield accuracy

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "fake", "data": "none", "images": self.images, "seed": self.seed}

    def seconds_per_epoch(self, _arch: Architecture) -> float:
        return 2.0


def make_evaluator(_rest: str, given: evaluators.Given) -> SlowEvaluator:
    return SlowEvaluator(given.options.images, given.options.seed)


MAKERS = {**evaluators.MAKERS, evaluators.TRAIN: make_evaluator}


def slow(arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
    pass_gate()
    for accuracy in rising(arch, resolution, seed, epochs):
        time.sleep(float(os.environ.get("NAS_FAKE_SECONDS", "0")))
        yield accuracy


def make_evaluators(*_options: object) -> FakeEvaluators:
    """Return evaluators of made-up training runs, which all have a score or all fail."""
    return FakeEvaluators(failing if float(os.environ.get("NAS_FAKE_FAILS", "0")) else slow)


if __name__ == "__main__":
    vars(evaluators)["MAKERS"] = MAKERS
    vars(training)["make_evaluators"] = make_evaluators
    main()
