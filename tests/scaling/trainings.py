"""A network that every coefficient of a coarse grid makes exactly larger, and trainings of it that are made up."""

import math
import random
from collections.abc import Iterable, Iterator
from typing import cast

from attrs import define, field, frozen

from nas.arch.code import format_text, parse_text
from nas.arch.spec import Architecture
from nas.errors import EvaluationError
from nas.scaling.rules import PowerRule
from nas.search.job import Job, JobResult
from nas.search.job_study import JobStudy
from nas.workers.base import Call, Key, outcomes
from tests.search.fake_trainings import Course, FakeEvaluators

LAYERS, CHANNELS, HEAD, SIDE, CLASSES = 10, 80, 160, 100, 7
PROXY = 40
# In steps of 0.1 all of these are multiplied without rounding.
BASE = parse_text(
    f"net resolution={SIDE} classes={CLASSES}\nstem conv k3 s2 c{CHANNELS}\nconv r{LAYERS} k3 s1 c{CHANNELS}\n"
    f"head conv c{HEAD}"
)
Shape = tuple[float, float, float]


def macs_of(depth: float = 1, width: float = 1, resolution: float = 1) -> float:
    """Multiply-adds of the base so much deeper, wider and larger, by hand."""
    side = math.ceil(round(SIDE * resolution) / 2)
    channels, layers, head = CHANNELS * width, LAYERS * depth, HEAD * width
    return side**2 * (9 * 3 * channels + layers * 9 * channels**2 + channels * head) + head * CLASSES


def shape_of(arch: Architecture, resolution: int) -> Shape:
    """How deep, wide and large it is, read from the network and the images it is trained on."""
    return sum(stage.layers for stage in arch.stages) / LAYERS, arch.stem.channels / CHANNELS, resolution / PROXY


def rule_shape(rule: PowerRule) -> Shape:
    return rule.alpha, rule.beta, rule.gamma


@frozen
class Hill:
    """Accuracies that are highest at one shape, and that noise moves, another one for every network and seed."""

    top: Shape
    noise: float = 0.0
    height: float = 0.8

    def __call__(self, arch: Architecture, resolution: int, seed: int, _epochs: int) -> Iterator[float]:
        shape = shape_of(arch, resolution)
        away = sum(math.log(is_ / best) ** 2 for is_, best in zip(shape, self.top, strict=True))
        chance = random.Random(f"{format_text(arch)} {resolution} {seed}")  # noqa: S311 -- no secret
        yield self.height - 0.5 * away + chance.gauss(0, self.noise)


@frozen
class Broken:
    """A course that fails for some shapes and seeds."""

    course: Course
    shapes: frozenset[Shape]
    seeds: frozenset[int]

    def __call__(self, arch: Architecture, resolution: int, seed: int, epochs: int) -> Iterator[float]:
        if seed in self.seeds and (shape_of(arch, resolution) in self.shapes or not self.shapes):
            raise EvaluationError("made to fail", "nothing to mend")
        return self.course(arch, resolution, seed, epochs)


@define
class Memory:
    """What `fit` and `compare` use of a `JobStudy`, without a database; notes what it trains."""

    course: Course
    known: dict[Key, JobResult] = field(factory=dict)
    trained: list[Job] = field(factory=list)

    def evaluate(self, jobs: Iterable[Job]) -> dict[Key, JobResult]:
        wanted = list(jobs)
        for job in wanted:
            if job.key not in self.known:
                *_, last = outcomes(Call(FakeEvaluators(self.course), job.arch, job.resolution, job.seed, 1))
                self.known[job.key] = JobResult(None if last.reason else last.accuracies[-1], 1.0, last.reason)
                self.trained.append(job)
        return {job.key: self.known[job.key] for job in wanted}

    @property
    def study(self) -> JobStudy:
        return cast(JobStudy, self)
