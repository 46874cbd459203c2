"""Small spaces, an evaluator that makes its accuracies up, a made-up latency: a search without torch and images."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from attrs import frozen
from numpy.typing import NDArray

from nas.arch.canonical import canonical
from nas.arch.code import format_text
from nas.arch.spec import Architecture
from nas.cost.analytic import COUNTED, MACS
from nas.cost.base import Chain, Cost
from nas.cost.target import parse_target
from nas.errors import EvaluationError
from nas.objective import Direction, limits
from nas.samplers.cost_range import ChoiceIndices, CostRange, make_cost_range
from nas.samplers.filtered import FilteredSampler
from nas.search.sampler_factory import make_sampler
from nas.search.settings import Settings
from nas.space.decode import SearchSpace
from nas.space.schema import read_space
from nas.studies.records import StudyView

ONE: Sequence[Direction] = ("maximize",)
TWO: Sequence[Direction] = ("maximize", "minimize")

# 128 combinations, every one another network, from 0.29 to 2.44 million multiply-adds.
TINY = """
name: tiny
net: channels=3 resolution=32 classes=10 padding=symmetric bn=0.01/0.001 drop_path=0 act=relu
stem: conv k3 s2 c8
head: conv c16 dropout=0
defaults: {operator: [conv, mbconv e3], kernel: [3, 5]}
stages:
  - {stride: 1, channels: [8, 16]}
  - {stride: 2, channels: [16, 24], layers: [1, 2]}
"""

# Four combinations, three networks: 8 x 0.75 and 8 x 1 are both 8 channels.
SMALLEST = """
name: smallest
net: channels=3 resolution=32 classes=10 padding=symmetric bn=0.01/0.001 drop_path=0 act=relu
stem: conv k3 s2 c8
head: conv c16 dropout=0
stages:
  - {operator: conv, stride: 1, kernel: 3, channels: {of: 8, times: [0.75, 1, 2, 3]}}
"""


def make_space(text: str = TINY) -> SearchSpace:
    return read_space(yaml.safe_load(text), "space.yaml", "space")


def cost_range_of(space: SearchSpace, *targets: str, band: float = 0.9, objective: str = "soft") -> CostRange:
    read = [parse_target(text) for text in targets]
    return make_cost_range(space, read, limits(read, band=band, objective=objective))


def all_indices(space: SearchSpace) -> ChoiceIndices:
    """Option numbers of every combination."""
    return np.array(list(space.enumerate()), dtype=np.intp)


def sampler_of(
    band: CostRange,
    sampler: str,
    seed: int = 0,
    directions: Sequence[Direction] = ONE,
    wanted: Sequence[ChoiceIndices] = (),
    pool: ChoiceIndices | None = None,
) -> FilteredSampler:
    """A proposer by the name of its sampler; two directions are those of accuracy and cost."""
    objective = "soft" if len(directions) == 1 else "pareto"
    settings = Settings(band.targets, sampler=sampler, seed=seed, objective=objective)
    return make_sampler(band, settings, COUNTED, wanted, pool)


def level(arch: Architecture) -> float:
    """A figure in 0…1 that only the architecture decides."""
    return int(hashlib.sha256(format_text(arch).encode()).hexdigest()[:8], 16) / 2**32


def nobody(_arch: Architecture) -> bool:
    return False


@frozen
class FakeEvaluator:
    """Accuracies that rise towards `level`; architectures that `fails` picks cannot be scored."""

    fails: Callable[[Architecture], bool] = nobody
    version: str = "1"

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:
        if self.fails(arch):
            raise EvaluationError("made to fail", "nothing to mend")
        for epoch in range(1, budget + 1):
            yield level(arch) * (1 - 0.5**epoch)

    def describe(self) -> Mapping[str, Any]:
        return {"evaluator": "fake", "data": "none", "environment": {"version": self.version}}


@frozen
class LimitedEvaluator(FakeEvaluator):
    """Scores some architectures and no others."""

    known: tuple[Architecture, ...] = ()

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- the protocol's names
        if canonical(arch) not in self.known:
            raise EvaluationError("not one of the known", "add it")
        yield level(arch)

    def architectures(self) -> Sequence[Architecture]:
        return self.known


@frozen
class MadeUpLatency:
    """A `ChainCostModel`: a millisecond a million multiply-adds; of many at once it may be wrong by up to `rough`."""

    rough: float = 0.0

    def estimate(self, arch: Architecture) -> Cost:
        value = MACS.estimate(arch).value / 1e6
        return Cost(value, "ms", "made up", 0.02 * value)

    def many(self, chain: Chain, index: NDArray[np.intp]) -> NDArray[np.float64]:
        wrong = np.sin(index @ np.arange(1, index.shape[1] + 1) ** 2)
        return np.asarray(MACS.many(chain, index) / 1e6 * (1 + self.rough * wrong))

    def span(self, chain: Chain) -> tuple[float, float]:
        low, high = MACS.span(chain)
        return low / 1e6 * (1 - self.rough), high / 1e6 * (1 + self.rough)


def outcome(view: StudyView) -> list[tuple[str, str, float | None, tuple[float, ...]]]:
    """What must be the same however often a search was cut short: state, architecture, score, accuracies."""
    lasting = [record for record in view.records if record.state != "killed"]
    return [(record.state, record.arch, record.score, record.accuracies) for record in lasting]
