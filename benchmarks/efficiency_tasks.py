"""Tasks for comparing samplers: the interface, and NAS-Bench-Macro with recorded accuracies."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.cost.target import parse_target
from nas.evaluate.base import Evaluator, HasMetadata
from nas.evaluate.table.evaluator import TableEvaluator, read_table
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.files import find_space

Floats = NDArray[np.float64]


class Task(Protocol):
    """A search problem whose true accuracies are known."""

    @property
    def name(self) -> str:
        """Return the name in reports."""
        ...

    @property
    def space(self) -> SearchSpace:
        """Return the search space."""
        ...

    @property
    def target(self) -> str:
        """Return the target as it is written on the command line."""
        ...

    @property
    def band(self) -> float:
        """Return the lower bound of the cost range, as a share of the target."""
        ...

    @property
    def best(self) -> float:
        """Return the best true accuracy of a network that meets the target, in percent."""
        ...

    @property
    def ranks(self) -> Floats:
        """Return the true accuracies of networks that meet the target, the best first; empty if too many."""
        ...

    def evaluator(self, run: int) -> Evaluator:
        """Return the evaluator that a search uses."""
        ...

    def truth(self, arch: Architecture) -> float:
        """Return the accuracy without noise, in percent."""
        ...


def settings(task: Task, **given: Any) -> Settings:
    """Return the settings of a search; below the target only accuracy counts, as in published comparisons."""
    usual: dict[str, Any] = {"epochs": 1, "pruner": "none", "band": task.band, "objective": "hard"}
    return Settings([parse_target(task.target)], **(usual | given))


def feasible(task: Task, arch: Architecture) -> bool:
    """Return whether an architecture meets the target."""
    return MACS.estimate(arch).value <= parse_target(task.target).limit


@frozen(eq=False)
class Macro:
    """NAS-Bench-Macro under a limit of FLOPs: a search uses seed 0, and the truth is the mean of all seeds."""

    limit: str
    table: TableEvaluator = field(repr=False)
    space: SearchSpace = field(factory=lambda: find_space("nasbench_macro"), repr=False)

    @property
    def name(self) -> str:
        """See `Task`."""
        return f"NAS-Bench-Macro, {self.limit or 'no limit'}"

    @property
    def target(self) -> str:
        """See `Task`."""
        return f"flops={self.limit or '1G'}"

    @property
    def band(self) -> float:
        """See `Task`; 0 if there is no limit."""
        return 0.9 if self.limit else 0.0

    @cached_property
    def ranks(self) -> Floats:
        """See `Task`."""
        inside = [self.truth(arch) for arch in self.table.architectures() if feasible(self, arch)]
        return np.sort(np.array(inside))[::-1]

    @property
    def best(self) -> float:
        """See `Task`."""
        return float(self.ranks[0])

    def evaluator(self, run: int) -> Evaluator:  # noqa: ARG002 -- the same for all runs
        """See `Task`."""
        return UnrestrictedTable(self.table)

    def truth(self, arch: Architecture) -> float:
        """See `Task`."""
        return 100 * float(self.table.metadata(arch)["accuracy_mean"])


@frozen(eq=False)
class UnrestrictedTable:
    """Evaluate with a table of the whole space, without the interface that restricts samplers to its networks."""

    table: TableEvaluator

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        """See `Evaluator`."""
        return self.table.evaluate(arch, budget)

    def describe(self) -> Mapping[str, Any]:
        """See `Evaluator`."""
        return self.table.describe()


def macro_tasks(names: Sequence[str]) -> list[Macro]:
    """Return a task for each limit of FLOPs; "" is no limit."""
    path = Path(os.environ["NAS_TEST_DATA"]) / "nasbench_macro.parquet"
    table = read_table(path, find_space("nasbench_macro"), "acc_seed0", ("op*",))
    assert isinstance(table, HasMetadata)
    return [Macro(limit, table) for limit in names]
