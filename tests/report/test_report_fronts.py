"""Tests of cost axes, fronts and hypervolumes."""

from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nas.errors import StudyError
from nas.noise import ValidationSplit
from nas.report.fronts import X_COSTS, cost_axis, dominated_share, hypervolume
from nas.report.pareto import pareto_figure
from nas.report.points import pareto
from nas.studies.records import Expected, Record, StudyView
from tests.report.studies import record, studies, study

points = st.lists(st.tuples(st.floats(0, 12), st.floats(0, 1)), max_size=8)


def priced(number: int, accuracy: float, **costs: float) -> Record:
    one = record(number, accuracy=accuracy)
    return attrs.evolve(one, costs={**one.costs, **costs})


@given(points, st.floats(0, 0.5))
def test_the_hypervolume_is_the_share_of_a_fine_grid_that_the_points_dominate(
    found: list[tuple[float, float]], least: float
) -> None:
    steps = 30

    # Cells whose whole area a point dominates give a lower bound, and those of which a part is dominated an upper one.
    def dominated(cost: float, accuracy: float) -> bool:
        return any(x <= cost and y >= accuracy for x, y in found if x < 10)

    def cells(corner: float) -> float:
        count = sum(
            dominated(10 * (i + corner) / steps, least + (1 - least) * (j + 1 - corner) / steps)
            for i in range(steps)
            for j in range(steps)
        )
        return count / steps**2

    share = dominated_share(found, most=10, least=least)
    assert cells(0) - 1e-9 <= share <= cells(1) + 1e-9


@given(points, st.tuples(st.floats(0, 12), st.floats(0, 1)))
def test_a_further_network_never_lowers_the_hypervolume(
    found: list[tuple[float, float]], further: tuple[float, float]
) -> None:
    assert dominated_share([*found, further], 10, 0.1) >= dominated_share(found, 10, 0.1) - 1e-12


def test_the_reference_point_is_the_target_and_the_most_frequent_class() -> None:
    view = study(record(0, 200e6, 0.6))
    axis = cost_axis(view)
    # Half of the cost is below 400 M, and 0.6 of the accuracy: 0.5 * 0.6.
    found = hypervolume(view, axis, view.front)
    assert (found.value, found.low, found.high) == (pytest.approx(0.3), None, None)
    assert (found.cost, found.accuracy) == (400e6, 0.0)
    known = attrs.evolve(view, split=ValidationSplit(100, 0.2, 100.0), expected={0: Expected(0.6, 0.05, 0.6, 0.5, 0.7)})
    found = hypervolume(known, axis, known.front)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.1875, 0.3125))
    assert found.accuracy == 0.2


def test_a_cost_without_a_target_has_its_largest_value_as_reference() -> None:
    view = study(priced(0, 0.6, params=1e6), priced(1, 0.7, params=4e6))
    axis = cost_axis(view, "params")
    assert (axis.limit, axis.low) == (None, None)
    assert hypervolume(view, axis, view.front_by("params")).cost == 4e6
    info = pareto(view, "params")
    assert (info.limit, info.low) == (None, None)
    figure = pareto_figure(view, "params")
    assert not figure.layout.shapes
    assert [point.x for point in info.front] == [1.0, 4.0]


@pytest.mark.parametrize("x", X_COSTS)
def test_every_cost_has_an_axis_and_a_front_of_its_own(x: str) -> None:
    costs = dict.fromkeys(X_COSTS.values(), 5e6)
    cheap = priced(0, 0.5, **{**costs, X_COSTS[x]: 1e6})
    view = study(cheap, priced(1, 0.6, **costs), priced(2, 0.4, **costs))
    info = pareto(view, x)
    assert [point.label for point in info.front] == ["0", "1"]
    assert [point.label for point in info.others] == ["2"]
    assert info.axis.cost == X_COSTS[x]


@given(studies(), st.sampled_from(["macs", "params", "peak_bytes"]))
def test_nothing_beats_a_front_of_any_cost(view: StudyView, cost: str) -> None:
    assume(view.complete)
    front = view.front_by(cost)
    assert front
    for one in front:
        for other in view.complete:
            assert other.accuracy is not None
            assert one.accuracy is not None
            is_better = (other.costs[cost], -other.accuracy) != (one.costs[cost], -one.accuracy)
            assert not (is_better and other.costs[cost] <= one.costs[cost] and other.accuracy >= one.accuracy)


@pytest.mark.parametrize(
    ("x", "words"),
    [("latency", "has the cost latency_ms; its trials have macs, params, memory"), ("<b>", "not a known")],
)
def test_a_cost_that_a_study_lacks_raises_an_error_that_names_those_it_has(x: str, words: str) -> None:
    with pytest.raises(StudyError, match=words) as raised:
        pareto(study(record(0)), x)
    assert "--x" in raised.value.remedy


def split_at(chance: float) -> dict[str, Any]:
    return {"split": ValidationSplit(100, chance, 100.0)}


@pytest.mark.parametrize(("chance", "drawn"), [(0.36, True), (0.05, False)])
def test_the_most_frequent_class_is_a_line_where_it_is_near_and_a_text_where_it_is_not(
    chance: float, drawn: bool
) -> None:
    view = attrs.evolve(study(record(0, accuracy=0.5), record(1, 370e6, accuracy=0.4)), **split_at(chance))
    figure = pareto_figure(view)
    lines = [trace for trace in figure.data if (trace.name or "").startswith("always the most frequent class")]
    assert [set(line.y) for line in lines] == ([{100 * chance}] if drawn else [])
    assert ("always giving the most frequent class: 5.0%" in figure.layout.meta["subtitle"]) != drawn
    low, high = figure.layout.yaxis.range
    assert (low < 100 * chance < high) == drawn
