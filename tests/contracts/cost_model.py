"""Contract tests of cost models, which run for every cost model."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.arch.layers import Shape
from nas.arch.presets import preset
from nas.arch.spec import Architecture, Part, Stage
from nas.cost.base import Chain, ChainCostModel, CostModel
from tests.strategies import architectures, heads, stages, stems

# The tests of a contract run in several classes on purpose; Hypothesis would report this as a mistake.
CONTRACT = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.differing_executors])
PLACES = st.lists(st.lists(stages(), min_size=1, max_size=3, unique=True), min_size=1, max_size=3)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Draw a chain with a few options for each part; every stage except the first may be left out."""
    first, *others = draw(PLACES)
    options: list[tuple[Part | None, ...]] = [
        tuple(draw(st.lists(stems(), min_size=1, max_size=2, unique=True))),
        tuple(first),
        *((None, *place) if draw(st.booleans()) else tuple(place) for place in others),
        tuple(draw(st.lists(heads(), min_size=1, max_size=2, unique=True))),
    ]
    sides = draw(st.integers(1, 40))
    return Chain(Shape(draw(st.integers(1, 4)), sides, sides), draw(st.integers(1, 12)), tuple(options))


def members(chain: Chain) -> list[tuple[tuple[int, ...], Architecture]]:
    """Return every index of a small chain with its architecture."""
    indexes = product(*(range(len(options)) for options in chain.options))
    return [(index, member(chain, index)) for index in indexes]


def member(chain: Chain, index: tuple[int, ...]) -> Architecture:
    """Return the architecture that has option `index[i]` for each part `i` of the chain."""
    stem, *middle, head = (options[i] for options, i in zip(chain.options, index, strict=True))
    return Architecture(
        stem=stem,  # type: ignore[arg-type]
        stages=tuple(stage for stage in middle if isinstance(stage, Stage)),
        head=head,  # type: ignore[arg-type]
        resolution=chain.shape.height,
        in_channels=chain.shape.channels,
        classes=chain.classes,
    )


class CostModelContract:
    """Test a cost model. A subclass defines `model`, and `tolerance` if costs are measured instead of computed.

    Attributes:
        tolerance: Allowed relative difference between two measurements.
    """

    tolerance = 0.0

    def model(self) -> CostModel:
        raise NotImplementedError

    @given(arch=architectures())
    @CONTRACT
    def test_a_cost_is_positive_and_says_where_it_comes_from(self, arch: Architecture) -> None:
        cost = self.model().estimate(arch)
        assert np.isfinite(cost.value)
        assert cost.value > 0
        assert cost.spread >= 0
        assert cost.unit
        assert cost.source

    @given(arch=architectures())
    @CONTRACT
    def test_equal_networks_cost_the_same_however_often_they_are_asked(self, arch: Architecture) -> None:
        model = self.model()
        again = model.estimate(arch)
        for same in (arch, attrs.evolve(arch), canonical(arch)):
            cost = model.estimate(same)
            assert cost.value == pytest.approx(again.value, rel=self.tolerance, abs=0)
            assert (cost.unit, cost.source) == (again.unit, again.source)

    def test_threads_get_what_one_thread_gets(self) -> None:
        model = self.model()
        archs = [preset(name).adapted(resolution=r, classes=10) for name in ("mnasnet-a1",) for r in range(32, 64, 4)]
        alone = [model.estimate(arch).value for arch in archs]
        with ThreadPoolExecutor(4) as pool:
            together = [cost.value for cost in pool.map(model.estimate, archs * 4)]
        assert together == pytest.approx(alone * 4, rel=self.tolerance, abs=0)


class ChainCostModelContract(CostModelContract):
    """Test a cost model whose costs are sums over the parts of a network."""

    def model(self) -> ChainCostModel:
        raise NotImplementedError

    @given(chain=chains())
    @CONTRACT
    def test_many_at_once_cost_what_each_costs_alone(self, chain: Chain) -> None:
        model = self.model()
        indexes, archs = zip(*members(chain), strict=True)
        many = model.many(chain, np.array(indexes, dtype=np.intp))
        assert many.shape == (len(archs),)
        assert many.tolist() == pytest.approx([model.estimate(arch).value for arch in archs], rel=self.tolerance)

    @given(chain=chains(), data=st.data())
    @CONTRACT
    def test_many_know_nothing_of_each_other(self, chain: Chain, data: st.DataObject) -> None:
        model = self.model()
        indexes = [index for index, _ in members(chain)]
        rows = data.draw(st.lists(st.sampled_from(indexes), min_size=1, max_size=6))
        together = model.many(chain, np.array(rows, dtype=np.intp))
        alone = [float(model.many(chain, np.array([row], dtype=np.intp))[0]) for row in rows]
        assert together.tolist() == pytest.approx(alone, rel=self.tolerance)

    @given(chain=chains())
    @CONTRACT
    def test_none_at_all_cost_nothing(self, chain: Chain) -> None:
        assert self.model().many(chain, np.zeros((0, len(chain.options)), dtype=np.intp)).shape == (0,)

    @given(chain=chains())
    @CONTRACT
    def test_the_span_is_the_smallest_and_the_largest_of_all(self, chain: Chain) -> None:
        model = self.model()
        costs = [model.estimate(arch).value for _, arch in members(chain)]
        assert model.span(chain) == pytest.approx((min(costs), max(costs)), rel=self.tolerance)
