"""Tests of the guide, the rough table that selects networks to measure."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nas.arch.presets import preset
from nas.cost.guide import GUIDE_NETWORKS, Guide, fit_guide, general_terms, latency_terms
from nas.cost.layers import distinct_layers
from nas.cost.measured import measured_latency
from nas.cost.table_plan import sample_networks
from nas.graph.fragment import Fragment, whole
from nas.space.decode import SearchSpace
from nas.space.files import find_space
from tests.cost.fake_meter import FakeMeter
from tests.cost.small_space import chain_of, drawn, small_space

SPACES = (small_space(), find_space("nasbench_macro"), find_space("mnasnet"))


def guide_on(meter: FakeMeter, space: SearchSpace) -> Guide:
    return measured_latency(chain_of(space), "symmetric", meter).guide


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_the_guide_ranks_unseen_networks_nearly_correctly(space: SearchSpace) -> None:
    meter = FakeMeter(noise=0.02, drift=1e-3, factors={"gated": 1.3, "depthwise": 1.2})
    guide = guide_on(meter, space)
    archs = drawn(space, 100, seed=9)
    hidden = [meter.hidden_ms(whole(arch)) for arch in archs]
    assert spearmanr([guide.predict(arch) for arch in archs], hidden).statistic > 0.9
    assert len(meter.measured) == GUIDE_NETWORKS


def by_formula(network: Fragment, macs_ms: float, moved_ms: float, layer_ms: float) -> float:
    """Return the time of a network on a device that follows the formula of the guide exactly."""
    total = 0.0
    for placed in network.walk():
        macs = sum(node.weights * node.shape.height * node.shape.width for node in placed.nodes)
        moved = placed.shape.elements + sum(node.shape.elements for node in placed.nodes)
        total += macs * macs_ms + moved * moved_ms + layer_ms
    return total


@pytest.mark.parametrize("rates", [(5e-8, 2e-7, 0.01), (5e-8, 0.0, 0.0), (0.0, 2e-7, 0.0), (0.0, 0.0, 0.01)])
def test_a_device_that_follows_the_formula_is_predicted_exactly(rates: tuple[float, float, float]) -> None:
    space = find_space("nasbench_macro")
    networks = sample_networks(chain_of(space), "symmetric", GUIDE_NETWORKS, 0)
    times = np.array([by_formula(network, *rates) for network in networks])
    guide = fit_guide(latency_terms, networks, times)
    for arch in drawn(space, 30, seed=9):
        assert guide.predict(arch) == pytest.approx(by_formula(whole(arch), *rates), rel=1e-4)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_a_cost_in_any_unit_is_predicted_for_networks_of_other_spaces_too(unit: float) -> None:
    space = find_space("nasbench_macro")
    networks = sample_networks(chain_of(space), "symmetric", GUIDE_NETWORKS, 0)
    guide = fit_guide(general_terms, networks, np.array([unit * cost(network) for network in networks]))
    other = preset("mobilenetv2").adapted(resolution=32, classes=10)
    for arch in (*drawn(space, 10, seed=9), other):
        assert guide.predict(arch) == pytest.approx(unit * cost(whole(arch)), rel=1e-4)


def cost(network: Fragment) -> float:
    """Return a cost that grows with multiply-adds and parameters, like the energy of arithmetic and of weights."""
    nodes = [node for placed in network.walk() for node in placed.nodes]
    macs = sum(node.weights * node.shape.height * node.shape.width for node in nodes)
    params = sum(node.weights + (1 + node.norm) * node.shape.channels for node in nodes if node.weights)
    return 1e-6 * macs + 2e-5 * params


def test_every_layer_of_a_space_has_a_cost_that_is_not_negative() -> None:
    guide = guide_on(FakeMeter(noise=0.1), small_space())
    layers = distinct_layers(chain_of(small_space()))
    assert all(np.dot(latency_terms(layer, 10), guide.rates) >= 0 for layer in layers)
