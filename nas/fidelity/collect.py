"""The accuracies that several evaluators give the same networks, collected until all are there or the time is over."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import product
from statistics import median

from attrs import define, field, frozen

from nas.arch.proxy import proxy_resolution
from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.evaluate.base import Evaluators, Validating
from nas.noise import ValidationSplit
from nas.search.job import Job, JobResult
from nas.search.job_study import JobStudy

# So many networks, or a tenth of all, are evaluated by all evaluators before the next ones are: whenever the time is
# over, there is something to compare.
AT_ONCE, TENTH = 4, 10
MOST = 0.75  # share of the networks


def _nothing() -> float:
    return 0.0


@frozen
class CheckedEvaluator:
    """An evaluator that is checked, or that gives the truth.

    Attributes:
        name: Name as the user wrote it.
        evaluators: The evaluator, by resolution and seed.
        epochs: Number of epochs of each evaluation, at most.
        resolution: Pixels of a side of the images it sees; None where it sees none.
        seeds: Seeds; every network is evaluated once with each.
        networks: Number of networks that it evaluates, the first ones; None for all.
        seconds_before: Returns the duration of what was done once, before all evaluations, and can be used again.
        key: Key that names the study of its evaluations; equal for evaluators that give the same accuracies.
        full_resolution: Resolution of the networks that receive images of `resolution`, where networks have several.
    """

    name: str
    evaluators: Evaluators
    epochs: int = 1
    resolution: int | None = None
    seeds: Sequence[int] = (0,)
    networks: int | None = None
    seconds_before: Callable[[], float] = _nothing
    key: str = field()

    @key.default
    def _name(self) -> str:
        return self.name

    full_resolution: int | None = None

    def evaluates(self, number: int) -> bool:
        """Return whether it evaluates the network of this number."""
        return self.networks is None or number < self.networks

    def validation_split(self) -> ValidationSplit | None:
        """Return the validation split of its images; None if it has none, or does not know it."""
        evaluator = self.evaluators.at(self.resolution or 0, self.seeds[0])
        return evaluator.validation_split() if isinstance(evaluator, Validating) else None

    def count(self, networks: int) -> int:
        """Return the number of its evaluations, where there are so many networks."""
        return len(self.seeds) * (networks if self.networks is None else min(networks, self.networks))

    def job(self, number: int, arch: Architecture, seed: int) -> Job:
        """Return the evaluation of a network, which Optuna's tools show by its number."""
        held = self.resolution
        seen = proxy_resolution(held, arch.resolution, self.full_resolution) if held else arch.resolution
        return Job(arch, seen, seed, {"network": number})


@define(eq=False)
class Evaluations:
    """The evaluations of one evaluator so far.

    Attributes:
        accuracies: Accuracies by the number of the network and by seed.
        correct: Which validation images were classified correctly, likewise, as `nas.noise.pack` writes it; "" where it
            is not known.
        seconds: Duration of each evaluation.
        seconds_before: Duration of what was done once, before all of them.
        reasons: Why networks could not be evaluated, by their numbers.
    """

    accuracies: dict[int, dict[int, float]] = field(factory=dict)
    correct: dict[int, dict[int, str]] = field(factory=dict)
    seconds: list[float] = field(factory=list)
    seconds_before: float = 0.0
    reasons: dict[int, str] = field(factory=dict)
    _known: set[tuple[int, int]] = field(factory=set, init=False)

    def add(self, number: int, seed: int, result: JobResult) -> None:
        """Add an evaluation."""
        self._known.add((number, seed))
        if result.accuracy is None:
            self.reasons[number] = result.reason
            return
        self.accuracies.setdefault(number, {})[seed] = result.accuracy
        self.correct.setdefault(number, {})[seed] = result.correct
        self.seconds.append(result.seconds)

    def sort(self) -> None:
        """Bring everything into the order of networks and seeds, whichever process evaluated what first."""
        self.accuracies = {number: dict(sorted(row.items())) for number, row in sorted(self.accuracies.items())}
        self.correct = {number: dict(sorted(row.items())) for number, row in sorted(self.correct.items())}
        self.reasons = dict(sorted(self.reasons.items()))

    def has(self, number: int, seed: int) -> bool:
        """Return whether an evaluation was added, be it one that failed."""
        return (number, seed) in self._known

    @property
    def seconds_each(self) -> float | None:
        """Median duration of an evaluation; None where there is none."""
        return median(self.seconds) if self.seconds else None

    def complete(self, numbers: Iterable[int]) -> tuple[list[int], list[list[float]]]:
        """Return the networks that were evaluated with the same seeds, and for each of these seeds their accuracies.

        These are all seeds where most networks were evaluated with all of them, else the seed that most networks have.

        Args:
            numbers: Numbers of the networks to choose from.
        """
        rows = {number: self.accuracies[number] for number in numbers if number in self.accuracies}
        seeds = sorted({seed for row in rows.values() for seed in row})
        whole = [number for number, row in rows.items() if len(row) == len(seeds)]
        if len(whole) < MOST * len(rows):
            seeds = [max(seeds, key=lambda seed: sum(seed in row for row in rows.values()))]
            whole = [number for number, row in rows.items() if seeds[0] in row]
        return whole, [[rows[number][seed] for number in whole] for seed in seeds]


Opener = Callable[[CheckedEvaluator], AbstractContextManager[JobStudy]]


def collect(
    evaluators: Sequence[CheckedEvaluator],
    archs: Sequence[Architecture],
    opened: Opener,
    seconds: float,
    at_once: int = AT_ONCE,
    progressed: Callable[[int, float], None] = lambda _networks, _seconds: None,
) -> Mapping[str, Evaluations]:
    """Evaluate networks by all evaluators, all networks with the first seed before any with the next one.

    Args:
        evaluators: The evaluators; no two have the same name.
        archs: The networks.
        opened: Opens the study that keeps an evaluator's evaluations; those it has are not done again.
        seconds: Time limit, after which no evaluations are started; evaluations from before take no time.
        at_once: Number of networks that one evaluator evaluates before the next evaluator does, at least.
        progressed: Called after each group of networks with the number of networks evaluated, counted once for each
            seed, and the estimated seconds that are left.

    Returns:
        Evaluations by the name of the evaluator.

    Raises:
        NasError: A study cannot be used, or the evaluators fail as a whole.
    """
    is_late, done = _later_than(time.monotonic() + seconds), {each.name: Evaluations() for each in evaluators}
    size = max(at_once, len(archs) // TENTH)
    groups = [range(start, min(start + size, len(archs))) for start in range(0, len(archs), size)]
    rounds = range(max((len(each.seeds) for each in evaluators), default=0))
    for turn, group in product(rounds, groups):
        for each in evaluators:
            # A process does not wait for the last evaluations of a group that others do, but starts the next one.
            wanted = [(number, seed) for number in group for seed in each.seeds[turn : turn + 1]]
            _evaluate(each, archs, wanted, opened, is_late, done[each.name], waits=False)
        left = sum(_seconds_left(each, done[each.name], len(archs)) for each in evaluators)
        progressed(turn * len(archs) + group.stop, left)
    for each in evaluators:
        _evaluate(each, archs, list(product(range(len(archs)), each.seeds)), opened, is_late, done[each.name])
        done[each.name].seconds_before = each.seconds_before()
        done[each.name].sort()
    return done


def _seconds_left(evaluator: CheckedEvaluator, done: Evaluations, networks: int) -> float:
    """Return the estimated seconds that an evaluator still needs."""
    left = evaluator.count(networks) - len(done.seconds) - len(done.reasons)
    return max(0, left) * (done.seconds_each or 0.0)


def _later_than(deadline: float) -> Callable[[], bool]:
    return lambda: time.monotonic() >= deadline


def _evaluate(
    evaluator: CheckedEvaluator,
    archs: Sequence[Architecture],
    wanted: Iterable[tuple[int, int]],
    opened: Opener,
    is_late: Callable[[], bool],
    done: Evaluations,
    *,
    waits: bool = True,
) -> None:
    """Add the evaluations that are wanted, by network and seed, and not there yet."""
    jobs = {
        (number, seed): evaluator.job(number, archs[number], seed)
        for number, seed in wanted
        if evaluator.evaluates(number) and not done.has(number, seed)
    }
    if not jobs:
        return
    try:
        with opened(evaluator) as study:
            results = study.evaluate(jobs.values(), is_late, waits=waits)
    except StudyError as error:
        raise StudyError(f"{evaluator.name}: {error.problem}", error.remedy) from error
    for (number, seed), job in jobs.items():
        if job.key in results:
            done.add(number, seed, results[job.key])
