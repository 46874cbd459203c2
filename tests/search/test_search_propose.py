"""What every sampler's proposals hold to, whichever it is."""

import json
from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.errors import StudyError
from nas.search.band import Band
from nas.search.defaults import PRUNER_NAMES, SAMPLER_NAMES, SURROGATE
from nas.search.propose import Proposal
from nas.search.samplers import PRUNERS, SAMPLERS, find_sampler, make_pruner
from nas.search.settings import Direction
from nas.search.wishes import distributions
from nas.space.files import find_space
from tests.search.fakes import ONE, SMALLEST, TWO, band_of, level, make_space, proposer_of

TINY = band_of(make_space(), "flops=1.2M", band=0.5)
MACRO = band_of(find_space("nasbench_macro"), "flops=80M")
MNASNET = band_of(find_space("mnasnet"), "flops=300M", "params=5M")
BANDS = {"tiny": TINY, "nasbench_macro": MACRO, "mnasnet": MNASNET}
# TPE for two objectives takes 10 ms for a wish and up to 50 wishes for a proposal.
every_sampler = pytest.mark.parametrize(
    ("sampler", "directions"),
    [
        pytest.param(name, to, id=f"{name}-{len(to)}", marks=[pytest.mark.slow] if (name, to) == ("tpe", TWO) else [])
        for name in SAMPLER_NAMES
        for to in (ONE, TWO)
    ],
)


class Drive:
    """A proposer with a made-up study: some trials fail, some are pruned, most are complete."""

    def __init__(self, band: Band, sampler: str, directions: Sequence[Direction], seed: int = 0) -> None:
        self.directions = directions
        self.proposer = proposer_of(band, sampler, seed, directions)
        self.trials: list[FrozenTrial] = []
        self.archs: list[Architecture] = []
        self.proposals: list[Proposal] = []

    def go(self, count: int) -> "Drive":
        for _ in range(count):
            proposal = self.proposer.propose(len(self.trials))
            assert proposal is not None
            self.proposals.append(proposal)
            self.take_in([self._trial(proposal)], [proposal.arch])
        return self

    def take_in(self, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> "Drive":
        self.proposer.learn(trials, archs)
        self.trials.extend(trials)
        self.archs.extend(archs)
        return self

    def _trial(self, proposal: Proposal) -> FrozenTrial:
        """As it comes back from a storage, whose attributes are JSON."""
        number, accuracy = len(self.trials), level(proposal.arch)
        state = TrialState.FAIL if number % 7 == 3 else TrialState.COMPLETE
        if number % 5 == 4 and len(self.directions) == 1:
            state = TrialState.PRUNED
        values = None if state == TrialState.FAIL else [accuracy, 1e8 * level(canonical(proposal.arch))]
        trial = create_trial(
            state=state,
            values=values and values[: len(self.directions)],
            params=proposal.params,
            distributions=proposal.distributions,
            system_attrs=json.loads(json.dumps(proposal.system_attrs)),
            intermediate_values={1: accuracy} if len(self.directions) == 1 else {},
        )
        trial.number = number
        return trial


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("name", ["tiny", "nasbench_macro", pytest.param("mnasnet", marks=pytest.mark.slow)])
@every_sampler
def test_every_proposal_is_let_in_and_new(sampler: str, directions: Sequence[Direction], name: str) -> None:
    band = BANDS[name]
    drive = Drive(band, sampler, directions).go(15 if name == "mnasnet" or sampler == "tpe" else 40)
    assert len(set(map(canonical, drive.archs))) == len(drive.archs)
    picks = np.array([band.space.picks(proposal.params) for proposal in drive.proposals])
    assert (band.excess(picks) == 0).all()
    for proposal in drive.proposals:
        assert proposal.arch == canonical(band.space.architecture(proposal.params))
        assert proposal.distributions == distributions(band.space)


@every_sampler
def test_the_same_seed_proposes_the_same_and_another_does_not(sampler: str, directions: Sequence[Direction]) -> None:
    first, again, other = (Drive(MACRO, sampler, directions, seed).go(12).archs for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", ["tiny", pytest.param("nasbench_macro", marks=pytest.mark.slow)])
@every_sampler
def test_a_history_taken_in_at_once_goes_on_as_if_never_stopped(
    sampler: str, directions: Sequence[Direction], name: str
) -> None:
    # TPE begins after 10 trials, a second generation after 20 complete ones.
    stops = (1, 9, 15) if sampler == "tpe" else (1, 12, 30, 41)
    whole = Drive(BANDS[name], sampler, directions).go(stops[-1] + 5)
    for stop in stops:
        resumed = Drive(BANDS[name], sampler, directions).take_in(whole.trials[:stop], whole.archs[:stop])
        assert resumed.go(5).archs[stop:] == whole.archs[stop : stop + 5]


@every_sampler
def test_a_small_band_is_used_up_and_then_there_is_none(sampler: str, directions: Sequence[Direction]) -> None:
    band = band_of(make_space(SMALLEST), "flops=10M", objective="pareto")
    drive = Drive(band, sampler, directions).go(3)
    assert len(set(drive.archs)) == 3
    assert drive.proposer.propose(3) is None


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_all_of_a_band_is_found_before_it_ends(sampler: str) -> None:
    band = band_of(make_space(), "flops=1M", band=0.8)
    every = np.array(list(band.space.enumerate()))
    inside = {canonical(band.space.from_picks(row)) for row in every[band.excess(every) == 0]}
    drive = Drive(band, sampler, ONE).go(len(inside))
    assert set(drive.archs) == inside
    assert drive.proposer.propose(len(inside)) is None


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
@pytest.mark.parametrize("name", ["mnasnet", "nasbench_macro", "efficientnet"])
def test_both_ends_of_a_spaces_range_are_reached(sampler: str, name: str) -> None:
    space = find_space(name)
    wide = band_of(space, "flops=1T", objective="pareto")
    least, most = wide.targets[0].cost.span(wide.chain)
    for limit in (least * 1.02, most / 0.95):
        band = band_of(space, f"flops={limit / 1e6:.6f}M")
        proposal = proposer_of(band, sampler, 0, ONE).propose(0)
        assert proposal is not None
        assert band.excess(np.array([space.picks(proposal.params)]))[0] == 0


def test_networks_to_start_from_come_first_and_only_once() -> None:
    picks = [np.array(TINY.space.sample(np.random.default_rng(i), 1)[0]) for i in range(40)]
    inside = [row for row in picks if TINY.excess(row[None])[0] == 0][:2]
    proposer = proposer_of(TINY, "tpe", 0, ONE, [inside[0], inside[0], inside[1]])
    wanted = [canonical(TINY.space.from_picks(row.tolist())) for row in inside]
    for number, arch in enumerate(wanted):
        proposal = proposer.propose(number)
        assert proposal is not None
        assert proposal.arch == arch
        failed = create_trial(state=TrialState.FAIL, params=proposal.params, distributions=proposal.distributions)
        proposer.learn([failed], [arch])
    later = proposer.propose(2)
    assert later is not None
    assert later.arch not in wanted


def test_a_running_trials_architecture_is_not_proposed_again() -> None:
    first = proposer_of(TINY, "tpe", 0, ONE).propose(0)
    assert first is not None
    proposer = proposer_of(TINY, "tpe", 0, ONE)
    running = create_trial(state=TrialState.RUNNING, params=first.params, distributions=first.distributions)
    proposer.learn([running], [first.arch])
    assert not proposer.knows(running)
    other = proposer.propose(0)
    assert other is not None
    assert other.arch != first.arch


def test_what_was_learnt_is_passed_over_the_second_time() -> None:
    drive = Drive(TINY, "tpe", ONE).go(3)
    assert all(drive.proposer.knows(trial) for trial in drive.trials)
    twice = Drive(TINY, "tpe", ONE).take_in(drive.trials, drive.archs).take_in(drive.trials, drive.archs)
    assert twice.proposer.propose(3) == drive.proposer.propose(3)


@pytest.mark.parametrize("sampler", ["tpe", "evolution", "surrogate"])
def test_it_learns_from_its_history(sampler: str) -> None:
    """On a figure that its options decide, it visits better ones than chance does."""
    band = band_of(find_space("nasbench_macro"), "flops=1G", objective="pareto")

    def worth(arch: Architecture) -> float:
        return sum(stage.kernel == 5 for stage in arch.stages) / 8 + sum(s.layers for s in arch.stages) / 100

    def mean_of_last(sampler: str) -> float:
        proposer, worths = proposer_of(band, sampler, 0, ONE), []
        for number in range(60):
            proposal = proposer.propose(number)
            assert proposal is not None
            worths.append(worth(proposal.arch))
            trial = create_trial(value=worths[-1], params=proposal.params, distributions=proposal.distributions)
            trial.number = number
            proposer.learn([trial], [proposal.arch])
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
    assert proposer_of(TINY, f"optuna:{name}").propose(0) is not None


def test_a_class_that_optuna_does_not_have_or_that_needs_more_than_a_seed_is_refused() -> None:
    with pytest.raises(StudyError, match=r"no sampler 'Magic'.*TPESampler"):
        find_sampler("optuna:Magic")
    with pytest.raises(StudyError, match="GridSampler cannot be made of a seed alone"):
        find_sampler("optuna:GridSampler")


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(StudyError, match=r"surrogate, tpe, nsga2, .* or optuna:CLASS"):
        find_sampler("gp")
    with pytest.raises(StudyError, match="median, none"):
        make_pruner("asha", 3)
