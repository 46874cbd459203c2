"""Tests of the figure of accuracy against cost."""

import math
from typing import Any

import attrs
import pytest
from hypothesis import assume, given

from nas.errors import StudyError
from nas.report.labels import SIDES, label_box, with_room
from nas.report.pareto import pareto_figure
from nas.report.points import pareto
from nas.studies.records import DeviceMeasurement, Expected, Record, StudyView
from tests.report.studies import record, studies, study


def trace(view: StudyView, name: str) -> Any:
    return next(trace for trace in pareto_figure(view).data if (trace.name or "").startswith(name))


@given(studies())
def test_each_complete_or_pruned_trial_is_a_point(view: StudyView) -> None:
    assume(view.complete)
    info = pareto(view)
    pruned = [r for r in view.records if r.state == "pruned" and r.accuracy is not None and r.costs]
    assert len(info.others) + len(info.front) == len(view.complete)
    assert len(info.pruned) == len(pruned)
    assert len(info.baseline) == (view.baseline is not None)


@given(studies())
def test_the_axes_contain_the_limit_and_all_points_but_low_pruned_ones(view: StudyView) -> None:
    assume(view.complete)
    info = pareto(view)
    (left, right), (bottom, top) = info.x_range, info.y_range
    assert info.limit is not None
    assert left < info.limit < right
    assert all(left < point.x < right for point in (*info.others, *info.front, *info.pruned, *info.baseline))
    assert all(bottom < point.y < top for point in (*info.others, *info.front, *info.baseline))
    assert all(point.y < top for point in info.pruned)


def test_the_units_are_percent_and_millions() -> None:
    figure = pareto_figure(study(record(0, macs=381.5e6, accuracy=0.625)))
    assert (figure.data[0].x, figure.data[0].y) == ((381.5,), (62.5,))
    assert figure.layout.xaxis.title.text == "Multiply-adds per image (millions)"
    assert figure.layout.yaxis.title.text == "Accuracy after 3 epochs (%)"


@pytest.mark.parametrize(
    ("evaluator", "title"),
    [("table", "Accuracy (%)"), ("supernet", "Accuracy (%)"), ("zero-cost", "Zero-cost score (%)")],
)
def test_the_axis_title_states_epochs_for_training_only_and_zero_cost_scores_as_scores(
    evaluator: str, title: str
) -> None:
    figure = pareto_figure(study(record(0), epochs=1, proxy={"evaluator": evaluator}))
    assert figure.layout.yaxis.title.text == title


@pytest.mark.parametrize(
    ("target", "cost", "x", "limit", "unit"),
    [
        ("params=5M", "params", 4.0, 5.0, "Parameters (millions)"),
        ("peak_memory=8MB", "peak_bytes", 6.0, 8.0, "Peak activation memory per image (MB)"),
        ("peak_memory=8MB at int8", "peak_bytes", 6.0, 8.0, "Peak activation memory at int8 per image (MB)"),
        ("size=20MB", "size_bytes", 16.0, 20.0, "Weights (MB)"),
        ("size=20MB at int8", "size_bytes", 16.0, 20.0, "Weights at int8 (MB)"),
    ],
)
def test_the_cost_axis_shows_the_cost_of_the_first_target(
    target: str, cost: str, x: float, limit: float, unit: str
) -> None:
    limits = [{"cost": cost, "low": 0.9e6 * limit, "high": 1e6 * limit}]
    known = attrs.evolve(record(0), costs={**record(0).costs, "size_bytes": 16_000_000})
    info = pareto(study(known, targets=[target, "flops=1G"], limits=limits))
    assert info.front[0].x == pytest.approx(x)
    assert (info.limit, info.axis.title) == (limit, unit)


def test_a_cost_of_the_users_own_has_an_axis_points_and_texts_with_its_unit() -> None:
    limits = [{"cost": "energy", "unit": "<b>", "low": 9.0, "high": 10.0, "basis": {"function": "python:own:energy"}}]
    known = attrs.evolve(record(0), costs={**record(0).costs, "energy": 9.5}, spreads={"energy": 0.1}, score=0.5)
    view = study(known, targets=["energy=10"], limits=limits)
    view = attrs.evolve(view, measurements={0: DeviceMeasurement("energy", 10.0, 9.5, 9.75, 0.05)})
    info = pareto(view)
    assert (info.axis.title, info.limit, info.low) == ("Energy (<b>)", 10.0, 9.0)
    assert [point.x for point in (*info.front, *info.measured)] == [9.5, 9.75]
    assert [point.x_margin for point in (*info.front, *info.measured)] == pytest.approx([0.196, 0.098])
    assert "9.5 &lt;b&gt; ± 0.1 energy, measured 9.75 &lt;b&gt; ± 0.05" in info.front[0].hover
    assert pareto_figure(view).layout.xaxis.title.text == "Energy (&lt;b&gt;)"
    refused = attrs.evolve(view, measurements={0: DeviceMeasurement("energy", 10.0, 9.5, math.inf, math.nan)})
    assert pareto(refused).measured == ()


def test_a_cost_that_is_not_known_has_no_figure() -> None:
    limits = [{"cost": "energy", "unit": "mJ", "low": 9.0, "high": 10.0}]
    known = attrs.evolve(record(0), costs={**record(0).costs, "energy": 9.5})
    with pytest.raises(StudyError, match="not a known cost"):
        pareto(study(known, targets=["energy=10mJ"], limits=limits))


def timed(number: int, latency_ms: float, accuracy: float) -> Record:
    one = record(number, accuracy=accuracy)
    return attrs.evolve(one, costs={**one.costs, "latency_ms": latency_ms})


LATENCY: dict[str, Any] = {
    "targets": ["latency=8ms on cpu:threads=2", "flops=1G"],
    "limits": [{"cost": "latency_ms", "unit": "ms", "low": 7.2, "high": 8.0}],
}


def test_latency_is_drawn_in_milliseconds() -> None:
    view = study(timed(0, 7.9, 0.6), timed(1, 7.4, 0.4), timed(2, 7.6, 0.5), timed(3, 7.7, 0.3), **LATENCY)
    info, figure = pareto(view), pareto_figure(view)
    assert (info.axis.title, info.limit) == ("Latency (ms)", 8.0)
    assert figure.layout.annotations[0].text == "target 8 ms"
    assert info.low == pytest.approx(7.2)
    assert [(point.x, point.label) for point in info.front] == [(7.4, "1"), (7.6, "2"), (7.9, "0")]
    assert [point.x for point in info.others] == [7.7]
    assert figure.layout.xaxis.title.text == "Latency (ms)"
    assert "latency=8ms on cpu:threads=2 and flops=1G" in figure.layout.title.subtitle.text


def checked_study() -> StudyView:
    """Return a study of three trials, two of them measured and re-trained; the first one misses the target."""
    trials = [timed(0, 7.9, 0.6), timed(1, 7.4, 0.5), timed(2, 7.2, 0.45)]
    view = study(
        *(attrs.evolve(trial, score=trial.accuracy, spreads={"latency_ms": 0.3}) for trial in trials), **LATENCY
    )
    return attrs.evolve(
        view,
        measurements={i: DeviceMeasurement("latency_ms", 8.0, 7.5, ms, 0.05) for i, ms in ((0, 8.4), (1, 7.5))},
        confirmed={0: (0.58, 0.56), 1: (0.52, 0.54)},
        expected={0: Expected(0.58, 0.01, 0.58), 1: Expected(0.52, 0.01, 0.52)},
    )


def test_the_figure_has_means_measured_costs_and_the_recommended_trial() -> None:
    info = pareto(checked_study())
    assert [point.label for point in info.front] == ["2", "1", "0"]
    assert [point.y for point in info.front] == pytest.approx([45, 52, 58])
    assert [point.x for point in info.measured] == [8.4, 7.5]
    assert [point.y for point in info.measured] == pytest.approx([58, 52])
    assert [point.x for point in info.predicted] == [7.9, 7.4]
    (best,) = info.recommended
    assert best.x == 7.4
    assert best.x_margin == pytest.approx(1.96 * 0.3)
    assert best.y_span == pytest.approx((50.04, 53.96))
    assert info.x_range[0] < 7.4 - best.x_margin
    assert "<b>trial 1: 52.00%, recommended</b><br>mean of 3 seeds, 95% interval 50.04 to 53.96%" in best.hover
    assert "7.4 ms ± 0.3 latency, measured 7.5 ms ± 0.05" in best.hover
    figure = pareto_figure(checked_study())
    assert trace(checked_study(), "recommended: trial 1").marker.symbol == "star"
    bars = [each for each in figure.data if each.error_x.array is not None or each.error_y.array is not None]
    assert [(each.error_x.array, each.error_y.array) for each in bars] == [
        (None, pytest.approx((1.96, 1.96))),
        (pytest.approx((0.588,)), None),
        (pytest.approx((0.098, 0.098)), None),
    ]


def test_a_study_that_recommends_nothing_has_no_star() -> None:
    view = checked_study()
    missed = {i: attrs.evolve(one, measured=9.0) for i, one in view.measurements.items()}
    figure = pareto_figure(attrs.evolve(view, measurements=missed))
    assert not [each for each in figure.data if (each.name or "").startswith("recommended")]
    assert "no network is recommended" in figure.layout.title.subtitle.text.replace("<br>", " ")


def test_the_hover_text_has_latency_and_size_if_they_are_known() -> None:
    sized = attrs.evolve(record(0), costs={**record(0).costs, "size_bytes": 16_000_000})
    assert "6.00 MB memory, 16.00 MB weights" in trace(study(sized), "Pareto front").hovertext[0]
    assert "<br>7.9 ms latency<br>" in trace(study(timed(0, 7.9, 0.6), **LATENCY), "Pareto front").hovertext[0]
    assert "unknown" not in trace(study(record(0)), "Pareto front").hovertext[0]


@given(studies())
def test_a_hover_text_has_at_most_four_lines_and_no_architecture(view: StudyView) -> None:
    assume(view.complete)
    info = pareto(view)
    for point in (*info.others, *info.front, *info.pruned, *info.baseline):
        assert point.hover.count("<br>") <= 3
        assert "stem" not in point.hover


def test_the_limit_is_a_dashed_line_at_which_the_cost_range_ends() -> None:
    area, line = pareto_figure(study(record(0))).layout.shapes
    assert (area.x0, area.x1) == (360, 400)
    assert (line.x0, line.x1, line.line.dash) == (400, 400, "dash")


@pytest.mark.parametrize("baseline_ms", [7.8, 20.0])
def test_the_label_of_the_limit_extends_into_the_wider_half(baseline_ms: float) -> None:
    """A pretrained source costs far more than the target, whose line is then at the left edge."""
    view = study(timed(0, 7.9, 0.6), timed(1, 7.4, 0.4), baseline=timed(-1, baseline_ms, 0.7), **LATENCY)
    layout = pareto_figure(view).layout
    (label,) = [each for each in layout.annotations if each.text.startswith("target ")]
    left, right = layout.xaxis.range
    room = {"right": label.x - left, "left": right - label.x}
    assert room[label.xanchor] == max(room.values())


def test_the_pareto_objective_has_no_cost_range() -> None:
    (line,) = pareto_figure(study(record(0), objective="pareto")).layout.shapes
    assert line.x0 == 400


def test_the_front_is_a_step_line_by_rising_cost() -> None:
    view = study(record(0, 390e6, 0.6), record(1, 365e6, 0.4), record(2, 380e6, 0.5), record(3, 395e6, 0.3))
    front = trace(view, "Pareto front")
    assert (front.x, front.text, front.line.shape) == ((365, 380, 390), ("1", "2", "0"), "hv")


def test_the_hover_text_has_trial_accuracy_and_costs() -> None:
    hover = trace(study(record(7, 381e6, 0.625)), "Pareto front").hovertext[0]
    assert hover == "<b>trial 7: 62.50%, recommended</b><br>381M MACs<br>4M params, 6.00 MB memory"


def test_texts_of_users_are_escaped() -> None:
    odd = Record(0, "complete", "net", {"macs": 380_000_000}, accuracy=0.5)
    base = Record(-1, "complete", "net", {"macs": 370_000_000}, accuracy=0.5, label="<known>")
    figure = pareto_figure(study(odd, baseline=base, name='<a href="x">'))
    assert figure.data[1].name == "baseline &lt;known&gt; (same evaluation)"
    assert "baseline &lt;known&gt;: 50.00%" in figure.data[1].hovertext[0]
    assert "<a" not in figure.layout.title.text


def test_pruned_trials_far_below_the_others_are_outside_the_axis() -> None:
    near, far = record(2, accuracy=0.50, state="pruned"), record(3, accuracy=0.01, state="pruned")
    view = study(record(0, 370e6, 0.6), record(1, 380e6, 0.7), near, far)
    assert pareto(view).y_range[0] == pytest.approx(48.4)
    assert trace(view, "pruned").name == "pruned (1 below the axis)"


def test_a_study_without_a_complete_trial_raises_an_error_with_a_remedy() -> None:
    with pytest.raises(StudyError, match="no complete trial") as raised:
        pareto_figure(study(record(0, state="pruned")))
    assert "nas search" in raised.value.remedy


@given(studies())
def test_labels_of_the_front_do_not_overlap(view: StudyView) -> None:
    assume(view.complete)
    info = pareto(view)
    (left, right), (bottom, top) = info.x_range, info.y_range
    boxes = [
        label_box(p.label, ((p.x - left) / (right - left), (p.y - bottom) / (top - bottom)), "top left")
        for p in info.front
        if p.label
    ]
    assert boxes
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_of_two_overlapping_labels_the_last_is_kept() -> None:
    assert with_room(["1", "2"], [(0.5, 0.5), (0.5, 0.51)], "top left") == ("", "2")
    assert set(SIDES) >= {"top left"}
