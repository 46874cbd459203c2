"""Tests of costs of a user's own: single calls, the guide, repeated calls, and the final candidates."""

import math
from collections.abc import Callable
from random import Random

import attrs
import numpy as np
import pytest

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS, cost
from nas.cost.base import CostModel
from nas.cost.guide import GUIDE_NETWORKS
from nas.cost.guided import GuidedCost
from nas.cost.own import MAX_FAILED, MAX_FIRST_FAILED, PASSES, REPEATED, OwnCost, OwnJudge, fit_own_cost
from nas.errors import CostError, EvaluationError, NasError
from nas.space.files import find_space
from tests.contracts.cost_model import CostModelContract
from tests.cost.small_space import chain_of, drawn, small_space

Call = Callable[[Architecture], float]


def energy(arch: Architecture) -> float:
    """Return a cost that depends on multiply-adds and parameters."""
    counted = cost(arch)
    return 1e-6 * counted.macs + 2e-5 * counted.params


def refuses(_arch: Architecture) -> float:
    raise EvaluationError("it does not fit")


def own(call: Call) -> OwnCost:
    return OwnCost("energy", "mJ", "meter:energy", "returned by meter:energy", call, lambda _sentence: None)


def fitted(call: Call) -> GuidedCost[OwnCost]:
    return fit_own_cost(own(call), networks(64))


def networks(count: int) -> list[Architecture]:
    """Return distinct networks of `nasbench_macro`."""
    return list(dict.fromkeys(map(canonical, drawn(find_space("nasbench_macro"), 2 * count, seed=3))))[:count]


def noisy(spread: float) -> Call:
    random = Random(5)  # noqa: S311 -- a simulated meter
    return lambda arch: energy(arch) * random.gauss(1, spread)


class TestOwnCost(CostModelContract):
    def model(self) -> CostModel:
        return own(lambda arch: MACS.estimate(arch).value)


def test_an_exact_function_has_a_guide_that_is_nearly_exact_and_no_spread() -> None:
    space, calls = find_space("nasbench_macro"), list[Architecture]()

    def counted(arch: Architecture) -> float:
        calls.append(arch)
        return energy(arch)

    model = fitted(counted)
    assert len(calls) == GUIDE_NETWORKS + REPEATED
    indices = space.sample(np.random.default_rng(9), 50)
    many = model.many(chain_of(space), space.forms(indices))
    assert many.tolist() == pytest.approx([energy(space.from_indices(each)) for each in indices], rel=1e-3)
    low, high = model.span(chain_of(space))
    assert low <= many.min() <= many.max() <= high
    assert len(calls) == GUIDE_NETWORKS + REPEATED
    found = model.estimate(calls[0])
    assert (found.value, found.unit, found.spread) == (energy(calls[0]), "mJ", 0.0)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_size_of_the_unit_does_not_matter(unit: float) -> None:
    space = find_space("nasbench_macro")
    model = fitted(lambda arch: unit * energy(arch))
    indices = space.sample(np.random.default_rng(9), 20)
    expected = [unit * energy(space.from_indices(each)) for each in indices]
    assert model.many(chain_of(space), space.forms(indices)).tolist() == pytest.approx(expected, rel=1e-3)


def test_repeated_calls_show_the_noise_of_a_function_in_the_spread_of_all_its_costs() -> None:
    model = fitted(noisy(0.05))
    assert 0.02 < model.single.share < 0.1
    for arch in networks(3):
        estimate = model.estimate(arch)
        assert estimate.spread == pytest.approx(model.single.share * estimate.value)


def test_a_second_call_is_made_for_a_few_networks_only() -> None:
    calls = list[Architecture]()

    def counted(arch: Architecture) -> float:
        calls.append(arch)
        return energy(arch)

    fit_own_cost(own(counted), networks(GUIDE_NETWORKS))
    assert calls[GUIDE_NETWORKS:] == calls[:REPEATED]


def test_wildly_different_numbers_are_an_error_that_shows_them() -> None:
    random = Random(1)  # noqa: S311
    with pytest.raises(CostError, match=r"returned .* and then .* for one network") as caught:
        fitted(lambda _arch: random.choice((1.0, 60.0)))
    assert "median" in caught.value.remedy


def test_a_function_that_never_works_ends_the_search_with_its_reason() -> None:
    calls, said = list[Architecture](), list[str]()

    def failing(arch: Architecture) -> float:
        calls.append(arch)
        return refuses(arch)

    single = attrs.evolve(own(failing), say=said.append)
    with pytest.raises(CostError, match=f"meter:energy failed for {MAX_FIRST_FAILED} networks in a row.*does not fit"):
        fit_own_cost(single, networks(64))
    assert len(calls) == len(said) == MAX_FIRST_FAILED
    assert said[1] == "a network has no energy and is not evaluated (2 so far): it does not fit"


def test_networks_that_are_too_large_for_a_device_are_left_out_of_the_guide_and_of_every_range() -> None:
    space = find_space("nasbench_macro")
    some = networks(200)
    most = float(np.median([energy(arch) for arch in some]))

    def small_only(arch: Architecture) -> float:
        return energy(arch) if energy(arch) <= most else refuses(arch)

    model = fit_own_cost(own(small_only), some)
    assert model.guide.correction.networks == GUIDE_NETWORKS
    large = max(drawn(space, 50, seed=4), key=energy)
    found = model.estimate(large)
    assert found.value == math.inf
    assert found.source == "refused by meter:energy: it does not fit"
    assert model.predict_roughly(large) == pytest.approx(energy(large), rel=0.05)


def test_a_function_that_stops_working_ends_the_search_after_more_networks() -> None:
    works = True

    def sometimes(arch: Architecture) -> float:
        return energy(arch) if works else refuses(arch)

    model, (*some, last) = fitted(sometimes), drawn(find_space("mnasnet"), MAX_FAILED, seed=2)
    works = False
    assert [model.estimate(arch).value for arch in some] == [math.inf] * (MAX_FAILED - 1)
    with pytest.raises(CostError, match=f"failed for {MAX_FAILED} networks in a row"):
        model.estimate(last)


def test_an_error_that_is_not_about_one_network_ends_the_search() -> None:
    def gone(_arch: Architecture) -> float:
        raise NasError("module meter cannot be imported", "look for it")

    with pytest.raises(NasError, match="cannot be imported"):
        own(gone).estimate(networks(1)[0])


def test_a_space_whose_networks_all_fail_has_no_guide() -> None:
    with pytest.raises(CostError, match="failed for all networks"):
        fit_own_cost(own(refuses), networks(3))


def test_a_space_of_a_single_network_has_a_guide() -> None:
    (arch,) = networks(1)
    assert fit_own_cost(own(energy), [arch]).predict_roughly(arch) == pytest.approx(energy(arch), rel=0.1)


def test_final_candidates_are_measured_in_several_passes_with_the_error_of_their_mean() -> None:
    calls, meter = list[Architecture](), noisy(0.03)

    def counted(arch: Architecture) -> float:
        calls.append(arch)
        return meter(arch)

    archs = networks(30)
    costs = OwnJudge(own(counted)).together(archs)
    assert calls == archs * PASSES
    errors = [cost.value / energy(arch) - 1 for cost, arch in zip(costs, archs, strict=True)]
    shares = [cost.spread / cost.value for cost in costs]
    assert shares == pytest.approx([0.03 / math.sqrt(PASSES)] * len(archs), rel=0.35)
    assert np.std(errors) == pytest.approx(0.03 / math.sqrt(PASSES), rel=0.5)


def test_a_final_candidate_without_a_cost_misses_every_target() -> None:
    first, second = networks(2)
    judge = OwnJudge(own(lambda arch: energy(arch) if arch == first else refuses(arch)))
    known, unknown = judge.together([first, second])
    assert known.value == pytest.approx(energy(first))
    assert known.spread == 0.0
    assert unknown.value == math.inf
    assert judge.together([]) == []


def test_small_spaces_are_enough() -> None:
    space = small_space()
    model = fit_own_cost(own(energy), map(canonical, drawn(space, 64, seed=1)))
    indices = space.sample(np.random.default_rng(9), 30)
    expected = [energy(space.from_indices(each)) for each in indices]
    assert model.many(chain_of(space), space.forms(indices)).tolist() == pytest.approx(expected, rel=0.05)
