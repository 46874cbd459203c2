"""The figure of compared networks can be read however few and near to each other the networks are."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.report.comparison import NARROW_PX, WIDE_PX, ComparedPoint, FigureText, comparison_figure
from nas.report.label_places import CHARACTER_PX, LINE_PX

TEXT = FigureText("demo", "", "Latency (ms)", "Top-1")


def point(
    cost: float, accuracy: float, span: tuple[float, float] | None = None, name: str = "net", params: float = 1e6
) -> ComparedPoint:
    return ComparedPoint(1, name, "known", cost, span, accuracy, None, params, (name,))


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
    label = figure.layout.annotations[-1]
    down = label.ay if label.showarrow else -label.yshift
    assert abs(down) >= LINE_PX / 2


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
@pytest.mark.parametrize("at_right", [False, True])
def test_the_bubbles_of_the_scale_are_behind_the_networks_and_in_a_free_corner(width: int, at_right: bool) -> None:
    # The large network is in one of the lower corners, and the small one in the opposite upper one.
    costs = (10.0, 1000.0) if at_right else (1000.0, 10.0)
    figure = comparison_figure([point(costs[1], 0.5, params=1.4e8), point(costs[0], 0.8)], TEXT, width_px=width)
    assert len(figure.layout.shapes) == 3
    for shape in figure.layout.shapes:
        assert shape.layer == "below"
        assert shape.opacity < 1
        assert shape.xanchor == (0 if at_right else 1)
        assert (shape.x0 > 0) == at_right  # inside the plot
        assert shape.y0 > 0
    texts = [note.text for note in figure.layout.annotations]
    assert texts.index("100M") < len(texts) - 2  # so that the name of a network is drawn over it


def test_the_length_of_a_bar_on_a_wide_page_is_kept_free() -> None:
    # On a drawing of 860 pixels the bar ends right of the bubble, and on one of 1,160 pixels 1.4 times as far from it.
    figure = comparison_figure([point(10.0, 0.5, (9.0, 11.1), "squeezenet-1.1"), point(100.0, 0.6)], TEXT)
    label = figure.layout.annotations[[note.text for note in figure.layout.annotations].index("squeezenet-1.1")]
    across, down = (label.ax, label.ay) if label.showarrow else (label.xshift, -label.yshift)
    low, high = figure.layout.xaxis.range
    plot_px = 1160 - figure.layout.margin.l - figure.layout.margin.r
    bar_px = (math.log10(11.1) - 1) / (high - low) * plot_px
    is_free = abs(down) >= LINE_PX / 2 or abs(across) - len("squeezenet-1.1") * CHARACTER_PX / 2 >= bar_px
    assert is_free


def test_control_characters_of_names_are_written_as_escapes() -> None:
    figure = comparison_figure([point(1.0, 0.5, name="<b>\x1b[31m\u202enet")], TEXT)
    assert figure.layout.annotations[-1].text == r"&lt;b&gt;\x1b[31m\u202enet"
    assert figure.data[0].hovertext[0] == r"&lt;b&gt;\x1b[31m\u202enet"


def test_a_long_name_is_shortened_in_its_middle() -> None:
    figure = comparison_figure([point(1.0, 0.5, name="first-" + "a" * 60 + "-last.onnx")], TEXT)
    text = figure.layout.annotations[-1].text
    assert text.startswith("first-")
    assert text.endswith("-last.onnx")
    assert len(text) < 30
