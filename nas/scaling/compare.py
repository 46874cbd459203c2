"""The comparison of scaling rules: the networks that they make at the same cost, trained with several seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from attrs import frozen

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.noise import ValidationSplit
from nas.scaling.budget import Growth
from nas.scaling.evidence import Evidence, Runs
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
        correct: Which validation images each of these runs classified correctly, as `nas.noise.pack` writes it; ""
            where that is not known.
    """

    scaled: Scaled
    resolution: int
    accuracies: tuple[float, ...]
    reason: str = ""
    correct: tuple[str, ...] = ()

    @property
    def network(self) -> Architecture:
        """The network as it is trained: equal for rules that round to the same."""
        return canonical(self.scaled.arch.adapted(resolution=self.resolution, classes=self.scaled.arch.classes))

    @property
    def runs(self) -> Runs:
        """Training runs, as they are compared with those of other networks."""
        return Runs(self.accuracies, self.correct)

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
    correct = tuple(result.correct for result in known if result.accuracy is not None)
    reason = next((result.reason for result in known if result.reason), "")
    return Compared(member, jobs[0].resolution, accuracies, reason, correct)


def alike(compared: Iterable[Compared]) -> list[list[int]]:
    """Return the positions of networks in groups: those that are the same network at the same budget."""
    groups: dict[tuple[str, Architecture], list[int]] = {}
    for i, one in enumerate(compared):
        groups.setdefault((one.scaled.name, one.network), []).append(i)
    return list(groups.values())


@frozen
class Conclusion:
    """Hold what can be concluded about the networks of one budget.

    Attributes:
        budget: Name of the budget.
        ranked: Different networks with an accuracy, by falling accuracy.
        tied: Networks that cannot be told apart from the first one; None where nothing can be concluded, because there
            are fewer than two networks, no network has two seeds, or nothing has been learned.
    """

    budget: str
    ranked: tuple[Compared, ...]
    tied: tuple[Compared, ...] | None


def gather(compared: Iterable[Compared], split: ValidationSplit | None) -> Evidence:
    """Return the training runs of all different networks.

    Args:
        compared: The networks.
        split: Validation split; None where it is not known.
    """
    different = {one.network: one.runs for one in compared if one.accuracies}
    return Evidence(list(different.values()), split)


def acts(growth: Growth, scaled: Scaled) -> bool:
    """Return whether the rule itself changes the base: what is moved off the rule to use up a budget does not count."""
    return canonical(growth.at(scaled.phi).arch) != canonical(growth.base)


def conclude(budgets: Sequence[str], rivals: Sequence[Compared], evidence: Evidence) -> tuple[Conclusion, ...]:
    """Return for each budget which networks may be the best.

    Args:
        budgets: Names of the budgets.
        rivals: What the rules make of the base, each network once for each budget, without those that a rule does not
            change.
        evidence: Training runs of all networks.
    """
    concludes = evidence.is_complete and evidence.learned is not False
    found = []
    for budget in budgets:
        known = (one for one in rivals if one.scaled.name == budget and one.accuracies)
        ranked = sorted(known, key=lambda one: -one.runs.accuracy)
        tied = None
        if concludes and len(ranked) > 1:
            marks = evidence.tied(ranked[0].runs, [one.runs for one in ranked[1:]], claims=len(budgets))
            tied = tuple(one for one, is_tied in zip(ranked[1:], marks, strict=True) if is_tied)
        found.append(Conclusion(budget, tuple(ranked), tied))
    return tuple(found)


def comparison_settings(base: Architecture, proxy_resolution: int, keep: Iterable[str]) -> dict[str, Any]:
    """Return what makes training runs comparable, as JSON values; rules, budgets and seeds may be added."""
    return {
        "kind": "compare",
        "base": format_text(canonical(base)),
        "proxy_resolution": proxy_resolution,
        "keep": sorted(keep),
    }
