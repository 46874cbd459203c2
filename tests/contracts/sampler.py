"""Contract tests of samplers, which run for every sampler."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import attrs
import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.arch.canonical import canonical
from nas.arch.spec import Architecture
from nas.objective import Direction
from nas.samplers.base import distributions
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.filtered import FilteredSampler, Proposal
from nas.space.files import find_space
from tests.search.fakes import SMALLEST, all_indices, cost_range_of, level, make_space, sampler_of

TINY = cost_range_of(make_space(), "flops=1.2M", band=0.5)
MACRO = cost_range_of(find_space("nasbench_macro"), "flops=80M")
MNASNET = cost_range_of(find_space("mnasnet"), "flops=300M", "params=5M")
BANDS: Mapping[str, CostRange] = {"tiny": TINY, "nasbench_macro": MACRO, "mnasnet": MNASNET}


def made_up(
    proposal: Proposal, number: int, directions: Sequence[Direction], state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    """Return a trial of a suggestion as a storage returns it, with attributes that were converted to JSON and back."""
    accuracy, single = level(proposal.arch), len(directions) == 1
    values = [accuracy, 1e8 * level(canonical(proposal.arch))][: len(directions)]
    valued = state == TrialState.COMPLETE or (state == TrialState.PRUNED and single)
    trial = create_trial(
        state=state,
        values=values if valued else None,
        params=proposal.params,
        distributions=proposal.distributions,
        system_attrs=json.loads(json.dumps(proposal.system_attrs)),
        intermediate_values={1: accuracy} if single and state != TrialState.RUNNING else {},
    )
    trial.number = number
    return trial


class Drive:
    """Run a sampler on a simulated study, in which some trials fail, some are pruned and most are complete."""

    def __init__(
        self,
        band: CostRange,
        sampler: str,
        directions: Sequence[Direction],
        seed: int = 0,
        pool: ChoiceIndices | None = None,
    ) -> None:
        self.directions = directions
        self.sampler = sampler_of(band, sampler, seed, directions, pool=pool)
        self.trials: list[FrozenTrial] = []
        self.archs: list[Architecture] = []
        self.proposals: list[Proposal] = []

    def go(self, count: int) -> "Drive":
        for _ in range(count):
            proposal = suggest(self.sampler, len(self.trials))
            self.proposals.append(proposal)
            self.take_in([made_up(proposal, len(self.trials), self.directions, self._state())], [proposal.arch])
        return self

    def take_in(self, trials: Sequence[FrozenTrial], archs: Sequence[Architecture]) -> "Drive":
        self.sampler.learn(trials, archs)
        self.trials.extend(trials)
        self.archs.extend(archs)
        return self

    def _state(self) -> TrialState:
        number = len(self.trials)
        if number % 5 == 4 and len(self.directions) == 1:
            return TrialState.PRUNED
        return TrialState.FAIL if number % 7 == 3 else TrialState.COMPLETE


def suggest(sampler: FilteredSampler, number: int) -> Proposal:
    """Return the next suggestion, and require that there is one."""
    proposal = sampler.suggest(number)
    assert proposal is not None
    return proposal


@cache
def driven(name: str, sampler: str, directions: Sequence[Direction], count: int) -> Drive:
    """Return a simulated study that several tests share and that none of them changes."""
    return Drive(BANDS[name], sampler, directions).go(count)


def length(sampler: str, name: str = "tiny") -> int:
    """Return the number of trials after which every sampler has finished its start-up phase.

    TPE starts after 10 complete trials, and the second generation of an evolutionary sampler after 20.
    """
    if name == "mnasnet":
        return 15
    return 20 if "tpe" in sampler.lower() else 46


class SamplerContract:
    """Test samplers. A subclass is parametrized by `sampler`, a name, and by `directions`.

    The directions are those of the accuracy, or of the accuracy and the cost.
    """

    @pytest.fixture(autouse=True)
    def _quiet(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    @pytest.mark.parametrize("name", ["tiny", *(pytest.param(n, marks=pytest.mark.slow) for n in list(BANDS)[1:])])
    def test_every_proposal_is_let_in_and_new(self, sampler: str, directions: Sequence[Direction], name: str) -> None:
        band, drive = BANDS[name], driven(name, sampler, directions, length(sampler, name))
        assert len(set(map(canonical, drive.archs))) == len(drive.archs)
        indices = np.array([band.space.indices(proposal.params) for proposal in drive.proposals])
        assert (band.excess(indices) == 0).all()
        assert all(band.admits(arch) for arch in drive.archs)
        for proposal in drive.proposals:
            assert proposal.arch == canonical(band.space.architecture(proposal.params))
            assert proposal.distributions == distributions(band.space)

    @pytest.mark.parametrize("name", ["tiny", pytest.param("nasbench_macro", marks=pytest.mark.slow)])
    def test_the_same_seed_proposes_the_same_and_another_does_not(
        self, sampler: str, directions: Sequence[Direction], name: str
    ) -> None:
        first = driven(name, sampler, directions, length(sampler, name)).archs[:12]
        again, other = (Drive(BANDS[name], sampler, directions, seed).go(12).archs for seed in (0, 4))
        assert first == again
        assert first != other

    @pytest.mark.parametrize("name", ["tiny", pytest.param("nasbench_macro", marks=pytest.mark.slow)])
    def test_a_history_taken_in_at_once_goes_on_as_if_never_stopped(
        self, sampler: str, directions: Sequence[Direction], name: str
    ) -> None:
        whole = driven(name, sampler, directions, length(sampler, name))
        for stop in (stop for stop in (1, 9, 12, 15, 30, 41) if stop + 5 <= len(whole.trials)):
            resumed = Drive(BANDS[name], sampler, directions).take_in(whole.trials[:stop], whole.archs[:stop])
            assert resumed.go(5).archs[stop:] == whole.archs[stop : stop + 5]

    def test_asking_twice_gives_the_same_twice(self, sampler: str, directions: Sequence[Direction]) -> None:
        whole = driven("tiny", sampler, directions, length(sampler))
        drive = Drive(TINY, sampler, directions).take_in(whole.trials[:16], whole.archs[:16])
        assert drive.sampler.suggest(16) == drive.sampler.suggest(16) == whole.proposals[16]

    def test_a_small_band_is_used_up_and_then_there_is_none(
        self, sampler: str, directions: Sequence[Direction]
    ) -> None:
        band = cost_range_of(make_space(SMALLEST), "flops=10M", objective="pareto")
        drive = Drive(band, sampler, directions).go(3)
        assert len(set(drive.archs)) == 3
        assert drive.sampler.suggest(3) is None

    def test_all_of_a_band_is_found_before_it_ends(self, sampler: str, directions: Sequence[Direction]) -> None:
        band = cost_range_of(make_space(), "flops=1M", band=0.9)
        every = all_indices(band.space)
        inside = {canonical(band.space.from_indices(row)) for row in every[band.excess(every) == 0]}
        assert len(inside) >= 8
        drive = Drive(band, sampler, directions).go(len(inside))
        assert set(drive.archs) == inside
        assert drive.sampler.suggest(len(inside)) is None

    def test_running_trials_are_not_proposed_again(self, sampler: str, directions: Sequence[Direction]) -> None:
        whole = driven("tiny", sampler, directions, length(sampler))
        made = Drive(TINY, sampler, directions).take_in(whole.trials[:12], whole.archs[:12]).sampler
        known = set(whole.archs[:12])
        for number in range(12, 20):
            proposal = suggest(made, number)
            assert proposal.arch not in known
            known.add(proposal.arch)
            running = made_up(proposal, number, directions, TrialState.RUNNING)
            made.learn([running], [proposal.arch])
            assert not made.knows(running)

    @pytest.mark.parametrize("begun", [0, 11])
    def test_two_that_know_of_each_others_running_trials_do_not_propose_alike(
        self, sampler: str, directions: Sequence[Direction], begun: int
    ) -> None:
        """The samplers have the same seed and trial numbers and differ only by the running trials they know."""
        whole = driven("tiny", sampler, directions, length(sampler))
        pair = [Drive(TINY, sampler, directions).take_in(whole.trials[:begun], whole.archs[:begun]) for _ in "ab"]
        seen = list(whole.archs[:begun])
        for number in range(begun, begun + 4):
            for own, drive in enumerate(pair):
                proposal = suggest(drive.sampler, number)
                seen.append(proposal.arch)
                running = made_up(proposal, 2 * number + own, directions, TrialState.RUNNING)
                for each in pair:
                    each.sampler.learn([running], [proposal.arch])
        assert len(set(seen)) == len(seen) == begun + 8

    def test_a_running_trial_that_has_ended_is_learnt_as_if_it_had_never_been_seen_running(
        self, sampler: str, directions: Sequence[Direction]
    ) -> None:
        whole = driven("tiny", sampler, directions, length(sampler))
        count = len(whole.trials) - 2
        seen, unseen = (Drive(TINY, sampler, directions) for _ in "ab")
        running = [made_up(p, i, directions, TrialState.RUNNING) for i, p in enumerate(whole.proposals[:count])]
        seen.sampler.learn(running, whole.archs[:count])
        for each in (seen, unseen):
            each.take_in(whole.trials[:count], whole.archs[:count])
            assert all(map(each.sampler.knows, whole.trials[:count]))
        assert seen.sampler.suggest(count) == unseen.sampler.suggest(count) == whole.proposals[count]

    def test_what_was_learnt_is_passed_over_the_second_time(
        self, sampler: str, directions: Sequence[Direction]
    ) -> None:
        whole = driven("tiny", sampler, directions, length(sampler))
        drive = Drive(TINY, sampler, directions)
        for _ in "ab":
            drive.sampler.learn(whole.trials[:14], whole.archs[:14])
        assert drive.sampler.suggest(14) == whole.proposals[14]

    def test_what_others_have_added_is_learnt(self, sampler: str, directions: Sequence[Direction]) -> None:
        """Trials of other workers, which have no attributes of the sampler, are added between its own trials."""
        others = iter(_by_others(directions))
        drive = Drive(TINY, sampler, directions)
        for _ in range(12):
            drive.take_in(*next(others)).go(1)
        added = [arch for arch in drive.archs if arch not in {proposal.arch for proposal in drive.proposals}]
        assert all(map(drive.sampler.knows, drive.trials))
        first_of_others = {canonical(arch) for arch in added}
        for number, proposal in enumerate(drive.proposals):
            assert proposal.arch not in drive.archs[: 2 * number + 1]
        assert len(first_of_others) >= 6
        assert suggest(drive.sampler, 24).arch not in drive.archs

    def test_what_others_have_read_decides_what_it_proposes(
        self, sampler: str, directions: Sequence[Direction]
    ) -> None:
        """The random sampler and NSGA-II and III are exceptions, because they use no trials or only their own."""
        trials, archs = zip(*((t, a) for (t,), (a,) in _by_others(directions)), strict=True)
        upside_down = [_turned(trial) for trial in trials]
        first, other = (Drive(TINY, sampler, directions).take_in(each, archs) for each in (trials, upside_down))
        after = [[suggest(each.sampler, number).arch for number in range(24, 34)] for each in (first, other)]
        assert (after[0] == after[1]) == (sampler in ("random", "nsga2", "nsga3"))

    @pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING])
    def test_it_goes_on_after_trials_of_which_none_is_complete(
        self, sampler: str, directions: Sequence[Direction], state: TrialState
    ) -> None:
        drive = Drive(TINY, sampler, directions)
        for number in range(25):
            proposal = suggest(drive.sampler, number)
            drive.take_in([made_up(proposal, number, directions, state)], [proposal.arch])
        assert len(set(drive.archs)) == 25
        assert all(map(TINY.admits, drive.archs))

    def test_a_limited_pool_is_used_up_and_then_there_is_none(
        self, sampler: str, directions: Sequence[Direction]
    ) -> None:
        pool = all_indices(MACRO.space)[np.random.default_rng(0).permutation(6561)[:150]]
        named = [canonical(MACRO.space.from_indices(row)) for row in pool]
        inside = {arch for arch in named if MACRO.admits(arch)}
        assert 10 <= len(inside) < 40
        drive = Drive(MACRO, sampler, directions, pool=pool).go(len(inside))
        assert set(drive.archs) == inside
        assert drive.sampler.suggest(len(inside)) is None

    def test_the_networks_to_start_from_come_first_and_only_once(
        self, sampler: str, directions: Sequence[Direction]
    ) -> None:
        every = all_indices(TINY.space)
        wanted = every[TINY.excess(every) == 0][[3, 3, 9]]
        made = sampler_of(TINY, sampler, 0, directions, list(wanted))
        archs = [canonical(TINY.space.from_indices(row)) for row in wanted[[0, 2]]]
        for number in range(12):
            proposal = suggest(made, number)
            assert (proposal.arch == archs[number]) if number < 2 else (proposal.arch not in archs)
            made.learn([made_up(proposal, number, directions)], [proposal.arch])


def _by_others(directions: Sequence[Direction]) -> Iterator[tuple[list[FrozenTrial], list[Architecture]]]:
    """Yield 24 complete trials of another sampler, with even numbers."""
    other = sampler_of(TINY, "random", 77, directions)
    for number in range(24):
        proposal = attrs.evolve(suggest(other, number), system_attrs={})
        trial = made_up(proposal, 2 * number, directions)
        other.learn([trial], [proposal.arch])
        yield [trial], [proposal.arch]


def _turned(trial: FrozenTrial) -> FrozenTrial:
    """Return the same trial with one minus its accuracy."""
    values = [1 - trial.values[0], *trial.values[1:]]
    turned = create_trial(values=values, params=trial.params, distributions=trial.distributions)
    turned.number = trial.number
    return turned
