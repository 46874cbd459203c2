"""Whatever a history holds, new networks inside the range are ranked."""

import numpy as np
import pytest
from attrs import field, frozen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nas.arch.canonical import canonical
from nas.cost.analytic import COUNTED
from nas.samplers.cost_range import ChoiceIndices, CostRange
from nas.samplers.filtered import list_inside
from nas.samplers.ranking import CandidateRanker
from nas.samplers.trial_arrays import FIRST, History
from nas.search.sampler_factory import make_ranker
from nas.search.screening import Screened
from nas.search.settings import Settings
from nas.space.files import find_space
from tests.search.fakes import cost_range_of, make_space

TINY = cost_range_of(make_space(), "flops=1.2M", band=0.5)
MACRO = cost_range_of(find_space("nasbench_macro"), "flops=80M")
NAN = float("nan")
POINTS = st.sampled_from([NAN, 0.0, 1e-9, 0.1, 0.5, 0.501, 0.999, 1.0])


@frozen
class Case:
    """A history of a range: numbers of networks, which may repeat, accuracies, failures, errors; and scores."""

    band: CostRange
    networks: list[int]
    accuracies: list[float]
    failed: list[bool]
    noise: list[float] = field(factory=list)
    scores: list[float] = field(factory=list)

    @property
    def pool(self) -> ChoiceIndices:
        listing = list_inside(self.band)
        assert listing is not None
        return np.asarray(listing[np.random.default_rng(0).permutation(len(listing))[:40]])

    @property
    def history(self) -> History:
        accuracies = np.array(self.accuracies, dtype=float)
        failed = np.array(self.failed, dtype=bool) & np.isnan(accuracies)
        return History(self.pool[self.networks], accuracies, failed, noise=np.array(self.noise, dtype=float))

    def ranker(self, objective: str) -> CandidateRanker:
        screened = None
        if self.scores:
            screened = Screened(self.pool[: len(self.scores)], np.array(self.scores, dtype=float))
        # Without the listing, as in a large space.
        return make_ranker(self.band, Settings(self.band.targets, objective=objective), COUNTED, None, screened)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(0, 16))
    band = draw(st.sampled_from([TINY, MACRO]))

    def several(each: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(each, min_size=count, max_size=count))

    return Case(
        band,
        several(st.integers(0, 39)),  # type: ignore[arg-type] # of the strategy's kind
        several(POINTS),  # type: ignore[arg-type]
        several(st.booleans()),  # type: ignore[arg-type]
        several(st.sampled_from([0.0, 1e-6, 0.25])) if draw(st.booleans()) else [],  # type: ignore[arg-type]
        draw(st.lists(st.sampled_from([-1e9, 0.0, 0.5, 1e300]), min_size=5, max_size=9, unique=False).map(varied)),
    )


def varied(scores: list[float]) -> list[float]:
    """Screening passes on scores only where they are not all equal."""
    return scores if len(set(scores)) > 1 else []


def same(count: int, accuracy: float, **given: list[float]) -> Case:
    return Case(TINY, list(range(count)), [accuracy] * count, [accuracy != accuracy] * count, **given)


@given(case=cases(), objective=st.sampled_from(["hard", "soft", "pareto"]))
@example(case=same(0, NAN), objective="soft")
@example(case=same(2, 0.5), objective="soft")
@example(case=same(12, NAN), objective="soft")
@example(case=same(12, 0.5), objective="soft")
@example(case=same(12, 0.0), objective="hard")
@example(case=same(12, 1.0), objective="pareto")
@example(case=same(12, 1.0, noise=[0.25] * 12, scores=[0.0, 1.0, 2.0, 3.0, 4.0]), objective="hard")
@example(case=Case(TINY, list(range(12)), [0.5] + [NAN] * 11, [True] * 12), objective="soft")
@example(case=Case(MACRO, [3] * 12, [0.1 * i for i in range(10)] + [NAN] * 2, [True] * 12), objective="soft")
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_new_networks_are_ranked_whatever_is_known(case: Case, objective: str) -> None:
    ranker, history = case.ranker(objective), case.history
    found = ranker.rank(history, np.random.default_rng(1))
    assert len(found)
    assert (case.band.excess(found) == 0).all()
    known, new = (networks(case.band, indices) for indices in (history.indices, found))
    assert len(set(new)) == len(new)
    assert not set(new) & set(known)
    if history.measured.sum() >= FIRST:
        for values in (*ranker.expect(history, history.level_noise)[1:], *ranker.weights(history)):
            assert np.isfinite(values).all()


def networks(band: CostRange, indices: ChoiceIndices) -> list[object]:
    return [canonical(band.space.from_indices(row.tolist())) for row in indices]


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_equal_accuracies_promise_no_network_more_than_the_others(accuracy: float) -> None:
    case = same(12, accuracy)
    levels = case.ranker("hard").expect(case.history)[1]
    assert np.ptp(levels) < 1e-6


def test_many_failures_are_all_known() -> None:
    listing = list_inside(MACRO)
    assert listing is not None
    history = History(listing[:300], np.full(300, NAN), np.ones(300, dtype=bool))
    ranker = make_ranker(MACRO, Settings(MACRO.targets), COUNTED, listing)
    found = ranker.rank(history, np.random.default_rng(0))
    assert len(found) > 5
    assert not set(networks(MACRO, found)) & set(networks(MACRO, listing[:300]))
