"""Verdicts of several evaluators on the same networks, network by network until all are there or time is up."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import product
from statistics import median

from attrs import define, field, frozen

from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.evaluate.base import Evaluators
from nas.search.scoring import Job, Score, Scoring

# So many networks, or a tenth of all, are judged by all before the next ones are: whenever it ends, what there is can
# be compared.
AT_ONCE, TENTH = 4, 10
MOST = 0.75  # of the networks


def _nothing() -> float:
    return 0.0


@frozen
class Source:
    """Where verdicts come from.

    Attributes:
        name: as the user wrote it.
        evaluators: that give them.
        epochs: of each verdict, at most.
        resolution: of the images it sees; None where it sees none.
        seeds: a verdict for each.
        networks: judges only so many, the first ones; None judges all.
        seconds_before: tells what was done once, before all its verdicts, and can be used again.
        key: names the study of its verdicts; equal for sources whose verdicts are the same.
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

    def asked(self, networks: int) -> int:
        """How many verdicts it is asked for, where there are so many networks."""
        return len(self.seeds) * (networks if self.networks is None else min(networks, self.networks))

    def job(self, number: int, arch: Architecture, seed: int) -> Job:
        """The verdict on a network, which is shown by its number."""
        return Job(arch, self.resolution or arch.resolution, seed, {"network": number})


@define(eq=False)
class Verdicts:
    """What a source has said so far.

    Attributes:
        accuracies: by network's number and seed.
        seconds: of each verdict.
        seconds_before: of what was done once, before all of them.
        reasons: why a network could not be judged.
    """

    accuracies: dict[int, dict[int, float]] = field(factory=dict)
    seconds: list[float] = field(factory=list)
    seconds_before: float = 0.0
    reasons: dict[int, str] = field(factory=dict)

    def add(self, number: int, seed: int, score: Score) -> None:
        """Take a verdict in."""
        if score.accuracy is None:
            self.reasons[number] = score.reason
            return
        self.accuracies.setdefault(number, {})[seed] = score.accuracy
        self.seconds.append(score.seconds)

    @property
    def seconds_each(self) -> float | None:
        """The median; None where there is no verdict."""
        return median(self.seconds) if self.seconds else None

    def complete(self, numbers: Iterable[int]) -> tuple[list[int], list[list[float]]]:
        """Networks that were judged with the same seeds, and a list of verdicts for each of these.

        All seeds where most networks have all of them, else the one that most have.
        """
        rows = {number: self.accuracies[number] for number in numbers if number in self.accuracies}
        seeds = sorted({seed for row in rows.values() for seed in row})
        whole = [number for number, row in rows.items() if len(row) == len(seeds)]
        if len(whole) < MOST * len(rows):
            seeds = [max(seeds, key=lambda seed: sum(seed in row for row in rows.values()))]
            whole = [number for number, row in rows.items() if seeds[0] in row]
        return whole, [[rows[number][seed] for number in whole] for seed in seeds]


Opener = Callable[[Source], AbstractContextManager[Scoring]]


def collect(
    sources: Sequence[Source],
    archs: Sequence[Architecture],
    opened: Opener,
    seconds: float,
    at_once: int = AT_ONCE,
    judged: Callable[[int, float], None] = lambda _networks, _seconds: None,
) -> Mapping[str, Verdicts]:
    """Ask all sources, first of all networks with the first seed, then with the next one.

    Args:
        sources: of verdicts; names are unlike.
        archs: the networks.
        opened: gives the study that keeps a source's verdicts; those that are there are not asked for again.
        seconds: after which nothing new is begun; verdicts that were there before take none.
        at_once: judge at least so many networks by one source before the next one.
        judged: called after each group of networks with how many were judged, once for each seed, and about how many
            seconds are left.

    Raises:
        NasError: a study cannot be used, or the evaluators fail as a whole.
    """
    begun, verdicts = time.monotonic(), {source.name: Verdicts() for source in sources}
    is_late = _later_than(begun + seconds)
    size = max(at_once, len(archs) // TENTH)
    groups = [range(start, min(start + size, len(archs))) for start in range(0, len(archs), size)]
    rounds = range(max((len(source.seeds) for source in sources), default=0))
    for turn, group in product(rounds, groups):
        for source in sources:
            _ask(source, turn, {number: archs[number] for number in group}, opened, is_late, verdicts[source.name])
        judged(turn * len(archs) + group.stop, sum(_left(each, verdicts[each.name], len(archs)) for each in sources))
    for source in sources:
        verdicts[source.name].seconds_before = source.seconds_before()
    return verdicts


def _left(source: Source, said: Verdicts, networks: int) -> float:
    """Seconds that a source will take for what it was not asked yet."""
    waiting = source.asked(networks) - len(said.seconds) - len(said.reasons)
    return max(0, waiting) * (said.seconds_each or 0.0)


def _later_than(deadline: float) -> Callable[[], bool]:
    return lambda: time.monotonic() >= deadline


def _ask(
    source: Source,
    turn: int,
    archs: Mapping[int, Architecture],
    opened: Opener,
    is_late: Callable[[], bool],
    verdicts: Verdicts,
) -> None:
    """A source on a group of networks, with the seed of this turn."""
    asked = {number: arch for number, arch in archs.items() if source.networks is None or number < source.networks}
    if turn >= len(source.seeds) or not asked:
        return
    seed = source.seeds[turn]
    jobs = {number: source.job(number, arch, seed) for number, arch in asked.items()}
    try:
        with opened(source) as scoring:
            scores = scoring.score(jobs.values(), is_late)
    except StudyError as error:
        raise StudyError(f"{source.name}: {error.problem}", error.remedy) from error
    for number, job in jobs.items():
        if job.key in scores:
            verdicts.add(number, seed, scores[job.key])
