"""Proposals: the contract over every sampler, and what the proposer does beside it."""

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.samplers.base import distributions
from nas.samplers.defaults import PRUNER_NAMES, SAMPLER_NAMES, SURROGATE
from nas.samplers.optuna_catalog import PRUNERS, SAMPLERS, find_sampler, make_pruner
from nas.space.files import find_space
from tests.contracts.sampler import TINY, SamplerContract
from tests.search.fakes import ONE, TWO, cost_range_of, sampler_of

# Each one in its usual place; the others take as long again, TPE for two objectives 10 ms for a wish.
QUICK = [(SURROGATE, ONE), (SURROGATE, TWO), ("tpe", ONE), ("nsga2", TWO)]


@pytest.mark.parametrize(
    ("sampler", "directions"),
    [
        pytest.param(name, to, id=f"{name}-{len(to)}", marks=[] if (name, to) in QUICK else [pytest.mark.slow])
        for name in (*SAMPLER_NAMES, "optuna:TPESampler")
        for to in (ONE, TWO)
    ],
)
class TestEverySampler(SamplerContract):
    pass


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize(
    "sampler", [SURROGATE, *(pytest.param(name, marks=pytest.mark.slow) for name in SAMPLER_NAMES[1:])]
)
@pytest.mark.parametrize("name", ["mnasnet", "nasbench_macro", "efficientnet"])
def test_both_ends_of_a_spaces_range_are_reached(sampler: str, name: str) -> None:
    space = find_space(name)
    wide = cost_range_of(space, "flops=1T", objective="pareto")
    least, most = wide.targets[0].cost.span(wide.chain)
    for limit in (least * 1.02, most / 0.95):
        band = cost_range_of(space, f"flops={limit / 1e6:.6f}M")
        proposal = sampler_of(band, sampler, 0, ONE).suggest(0)
        assert proposal is not None
        assert band.excess(np.array([space.indices(proposal.params)]))[0] == 0


@pytest.mark.parametrize("sampler", ["tpe", "evolution", "surrogate"])
def test_it_learns_from_its_history(sampler: str) -> None:
    """On a figure that its options decide, it visits better ones than chance does."""
    band = cost_range_of(find_space("nasbench_macro"), "flops=1G", objective="pareto")

    def worth(arch: Architecture) -> float:
        return sum(stage.kernel == 5 for stage in arch.stages) / 8 + sum(s.layers for s in arch.stages) / 100

    def mean_of_last(sampler: str) -> float:
        made, worths = sampler_of(band, sampler, 0, ONE), []
        for number in range(60):
            proposal = made.suggest(number)
            assert proposal is not None
            worths.append(worth(proposal.arch))
            trial = create_trial(value=worths[-1], params=proposal.params, distributions=proposal.distributions)
            trial.number = number
            made.learn([trial], [proposal.arch])
        return float(np.mean(worths[-20:]))

    assert mean_of_last(sampler) > mean_of_last("random") + 0.1


def test_parameters_are_named_by_stage_and_categorical() -> None:
    named = distributions(find_space("mnasnet"))
    assert "stage3.kernel" in named
    assert all(isinstance(kind, optuna.distributions.CategoricalDistribution) for kind in named.values())


def test_names_are_those_that_the_command_line_offers() -> None:
    assert set(SAMPLER_NAMES) == {SURROGATE, *SAMPLERS}
    assert set(PRUNER_NAMES) == set(PRUNERS)
    for name in SAMPLERS:
        assert isinstance(find_sampler(name)(1), optuna.samplers.BaseSampler)
    for name in PRUNER_NAMES:
        assert isinstance(make_pruner(name, 3), optuna.pruners.BasePruner)


@pytest.mark.parametrize("name", ["TPESampler", "QMCSampler", "BruteForceSampler"])
def test_any_sampler_of_optuna_can_be_named_by_its_class(name: str) -> None:
    assert type(find_sampler(f"optuna:{name}")(1)).__name__ == name
    assert sampler_of(TINY, f"optuna:{name}").suggest(0) is not None


def test_a_class_that_optuna_does_not_have_or_that_needs_more_than_a_seed_is_refused() -> None:
    with pytest.raises(StudyError, match=r"no sampler 'Magic'\n  it has .*TPESampler"):
        find_sampler("optuna:Magic")
    with pytest.raises(StudyError, match="GridSampler cannot be built from a seed alone"):
        find_sampler("optuna:GridSampler")


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(StudyError, match=r"surrogate, tpe, nsga2, .* or optuna:CLASS"):
        find_sampler("gp")
    with pytest.raises(StudyError, match="median, halving, hyperband, none"):
        make_pruner("asha", 3)
