"""The figure of compared networks can be read however few and near to each other the networks are."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.report.comparison import NARROW_PX, WIDE_PX, ComparedPoint, FigureText, comparison_figure
from nas.report.label_places import LINE_PX

TEXT = FigureText("demo", "", "Latency (ms)", "Top-1")


def point(cost: float, accuracy: float, span: tuple[float, float] | None = None, name: str = "net") -> ComparedPoint:
    return ComparedPoint(1, name, "known", cost, span, accuracy, None, 1e6, (name,))


@given(st.floats(0.01, 1e12), st.floats(1.0, 1000.0), st.sampled_from([WIDE_PX, NARROW_PX]))
@settings(max_examples=40, deadline=None)
def test_the_axis_of_costs_has_a_tick(cost: float, factor: float, width: int) -> None:
    axis = comparison_figure([point(cost, 0.5), point(cost * factor, 0.6)], TEXT, width_px=width).layout.xaxis
    low, high = axis.range
    digits = {"D1": range(1, 10), "D2": (1, 2, 5), 1: (1,)}[axis.dtick]
    ticks = [math.log10(digit) + power for power in range(-4, 17) for digit in digits]
    assert any(low <= tick <= high for tick in ticks)
    assert axis.tickformat  # otherwise plotly writes 2 for 200,000,000


@pytest.mark.parametrize(("accuracies", "ticks"), [((0.58,), ".1%"), ((0.70, 0.72), ".1%"), ((0.2, 0.8), ".0%")])
def test_accuracies_near_to_each_other_have_different_tick_labels(accuracies: tuple[float, ...], ticks: str) -> None:
    points = [point(1.0, accuracy) for accuracy in accuracies]
    axis = comparison_figure(points, TEXT).layout.yaxis
    assert axis.tickformat == ticks
    assert axis.range[1] - axis.range[0] >= 0.02  # plotly draws at most about ten ticks


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_a_long_interval_does_not_go_through_the_name(width: int) -> None:
    figure = comparison_figure([point(10.0, 0.5, (7.0, 14.0), "squeezenet-1.1")], TEXT, width_px=width)
    label = figure.layout.annotations[0]
    down = label.ay if label.showarrow else -label.yshift
    assert abs(down) >= LINE_PX / 2
