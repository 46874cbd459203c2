"""Rules side by side: what each makes of a network at the same cost, trained with several seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.scaling.grow import Scaled, pixels
from nas.search.scoring import Job, Score, Scoring
from nas.workers.base import Key


@frozen
class Compared:
    """A network of a rule with what its trainings gave.

    Attributes:
        scaled: the network; its name is the budget's.
        resolution: of the images it is trained on.
        accuracies: by seed, those that failed left out.
        reason: why one failed.
    """

    scaled: Scaled
    resolution: int
    accuracies: tuple[float, ...]
    reason: str = ""

    @property
    def accuracy(self) -> float | None:
        """The mean; None where no training ended."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """Standard deviation between seeds; None for fewer than two."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None


def compare(
    members: Sequence[Scaled], proxy_resolution: int, seeds: Sequence[int], scoring: Scoring
) -> tuple[Compared, ...]:
    """Train every network with every seed, each at the resolution that its own gives the proxy's images.

    Args:
        members: networks grown from one base.
        proxy_resolution: pixels of a side at which the base itself is trained.
        seeds: of the trainings.
        scoring: where they are kept.

    Raises:
        NasError: the trainings fail as a whole.
    """
    jobs = [[_job(member, proxy_resolution, seed) for seed in seeds] for member in members]
    every = sorted((job for row in jobs for job in row), key=lambda job: (job.resolution, job.seed))
    scores = scoring.score(every)
    return tuple(_compared(member, row, scores) for member, row in zip(members, jobs, strict=True))


def _job(member: Scaled, proxy_resolution: int, seed: int) -> Job:
    got = member.realised
    shown = {"depth": got.depth, "width": got.width, "resolution": got.resolution}
    return Job(member.arch, pixels(proxy_resolution, got.resolution), seed, shown)


def _compared(member: Scaled, jobs: Sequence[Job], scores: Mapping[Key, Score]) -> Compared:
    known = [scores[job.key] for job in jobs]
    accuracies = tuple(score.accuracy for score in known if score.accuracy is not None)
    return Compared(member, jobs[0].resolution, accuracies, next((score.reason for score in known if score.reason), ""))


def comparison_settings(base: Architecture, proxy_resolution: int, keep: Iterable[str]) -> dict[str, Any]:
    """What makes trainings of a comparison comparable, as JSON values; rules, budgets and seeds may be added."""
    return {
        "kind": "compare",
        "base": format_text(canonical(base)),
        "proxy_resolution": proxy_resolution,
        "keep": sorted(keep),
    }
