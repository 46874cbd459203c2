"""The comparison of scaling rules: the networks that they make at the same cost, trained with several seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.scaling.grow import Scaled, pixels
from nas.search.job import Job, JobResult
from nas.search.job_study import JobStudy
from nas.workers.base import Key


@frozen
class Compared:
    """A network that a rule made, with the results of its training runs.

    Attributes:
        scaled: The network; it has the name of its budget.
        resolution: Pixels of a side of the images that it is trained on.
        accuracies: Accuracies by seed, without the training runs that failed.
        reason: Why a training run failed; "" where none did.
    """

    scaled: Scaled
    resolution: int
    accuracies: tuple[float, ...]
    reason: str = ""

    @property
    def accuracy(self) -> float | None:
        """Mean of the accuracies; None where every training run failed."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """Standard deviation between seeds; None for fewer than two."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None


def compare(
    members: Sequence[Scaled], proxy_resolution: int, seeds: Sequence[int], study: JobStudy
) -> tuple[Compared, ...]:
    """Train every network with every seed; its own resolution scales that of the images it is trained on.

    Args:
        members: Networks grown from one base.
        proxy_resolution: Pixels of a side at which the base itself is trained.
        seeds: Seeds of the training runs.
        study: Study that keeps them.

    Raises:
        NasError: The evaluators fail as a whole.
    """
    jobs = [[_job(member, proxy_resolution, seed) for seed in seeds] for member in members]
    every = sorted((job for row in jobs for job in row), key=lambda job: (job.resolution, job.seed))
    results = study.evaluate(every)
    return tuple(_compared(member, row, results) for member, row in zip(members, jobs, strict=True))


def _job(member: Scaled, proxy_resolution: int, seed: int) -> Job:
    got = member.realized
    shown = {"depth": got.depth, "width": got.width, "resolution": got.resolution}
    return Job(member.arch, pixels(proxy_resolution, got.resolution), seed, shown)


def _compared(member: Scaled, jobs: Sequence[Job], results: Mapping[Key, JobResult]) -> Compared:
    known = [results[job.key] for job in jobs]
    accuracies = tuple(result.accuracy for result in known if result.accuracy is not None)
    reason = next((result.reason for result in known if result.reason), "")
    return Compared(member, jobs[0].resolution, accuracies, reason)


def comparison_settings(base: Architecture, proxy_resolution: int, keep: Iterable[str]) -> dict[str, Any]:
    """Return what makes training runs comparable, as JSON values; rules, budgets and seeds may be added."""
    return {
        "kind": "compare",
        "base": format_text(canonical(base)),
        "proxy_resolution": proxy_resolution,
        "keep": sorted(keep),
    }
