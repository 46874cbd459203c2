"""Tests of the figure of several studies."""

import attrs
import pytest

from nas.errors import StudyError
from nas.noise import ValidationSplit
from nas.report.overlay import difference, overlay
from nas.report.overlay_figure import overlay_figure
from nas.studies.records import DeviceMeasurement, StudyView
from tests.report.studies import record, study

LIMIT = {"cost": "latency_ms", "unit": "ms", "low": 7.2, "high": 8.0}


def timed(name: str, device: str, *latencies: float) -> StudyView:
    trials = [
        attrs.evolve(one, costs={**one.costs, "latency_ms": latency}, spreads={"latency_ms": 0.1})
        for number, latency in enumerate(latencies)
        for one in [record(number, accuracy=0.4 + latency / 100)]
    ]
    limits = [{**LIMIT, "basis": {"device": device}}]
    return study(*trials, name=name, targets=[f"latency=8ms on {device}"], limits=limits)


FIRST = study(record(0, 380e6, 0.5), record(1, 390e6, 0.6), record(2, 399e6, 0.1), name="first")
SECOND = study(record(0, 370e6, 0.4), record(7, 385e6, 0.55), record(8, 395e6, 0.58), name="<second>", space="other")


def test_comparable_studies_have_a_front_of_all() -> None:
    info = overlay([FIRST, SECOND])
    assert info.differences == ()
    # By rising cost: 370 M 40%, 380 M 50%, 385 M 55%, 390 M 60%; 395 M 58% is beaten.
    assert info.merged == (("<second>", 0), ("first", 0), ("<second>", 7), ("first", 1))
    assert info.volume is not None
    assert info.volume >= max(each.volume.value for each in info.series)
    figure = overlay_figure(info)
    assert "front of all studies" in [trace.name for trace in figure.data]


def test_each_study_has_a_color_a_symbol_and_a_dash_and_its_name_is_escaped() -> None:
    figure = overlay_figure(overlay([FIRST, SECOND]))
    fronts = [trace for trace in figure.data if (trace.name or "").endswith(": front")]
    assert [trace.name for trace in fronts] == ["first: front", "&lt;second&gt;: front"]
    for part in ("line.color", "line.dash", "marker.symbol"):
        assert len({trace[part] for trace in fronts}) == 2
    assert all(text.startswith("&lt;second&gt;<br>") for text in fronts[1].hovertext)
    assert "<second>" not in figure.layout.title.text


def test_studies_of_other_devices_are_drawn_and_said_to_be_different() -> None:
    views = [timed("phone", "pi", 7.5, 7.9), timed("laptop", "cpu", 7.4, 7.8)]
    info = overlay(views)
    assert (info.merged, info.volume) == ((), None)
    (sentence,) = info.differences
    assert "phone and laptop are not comparable" in sentence
    assert "cost.device is pi and cpu" in sentence
    figure = overlay_figure(info)
    assert "front of all studies" not in [trace.name for trace in figure.data]
    assert sentence in figure.layout.meta["subtitle"]
    # The same networks have the same multiply-adds on both.
    assert difference(views[0], views[1], "macs") == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"proxy": {"evaluator": "train", "data": "photos"}}, "proxy.data is unknown and photos"),
        ({"epochs": 9}, "epochs is 3 and 9"),
    ],
)
def test_studies_of_other_images_or_training_are_not_comparable(changed: dict[str, object], words: str) -> None:
    other = attrs.evolve(SECOND, settings={**SECOND.settings, **changed})
    assert words in difference(FIRST, other, "macs")


def test_how_a_search_chose_its_trials_makes_no_difference() -> None:
    settings = {**FIRST.settings, "sampler": "random", "seed": 7, "band": 0.5, "targets": ["flops=500M"]}
    assert difference(FIRST, attrs.evolve(FIRST, name="again", settings=settings), "macs") == ""


def test_measured_costs_are_beside_the_predicted_ones() -> None:
    view = timed("phone", "pi", 7.5, 7.9)
    measured = attrs.evolve(view, measurements={1: DeviceMeasurement("latency_ms", 8.0, 7.9, 8.3, 0.05)})
    info = overlay([measured, timed("pad", "pi", 7.4)])
    assert [[point.x for point in each.measured] for each in info.series] == [[8.3], []]
    assert info.differences == ()
    (dotted, *_) = [trace for trace in overlay_figure(info).data if trace.line.dash == "dot"]
    assert dotted.x[:2] == (7.9, 8.3)


def test_different_targets_are_lines_of_their_own() -> None:
    settings = {**SECOND.settings, "targets": ["flops=500M"]}
    settings["limits"] = [{"cost": "macs", "low": 450e6, "high": 500e6}]
    figure = overlay_figure(overlay([FIRST, attrs.evolve(SECOND, settings=settings)]))
    lines = {trace.name: set(trace.x) for trace in figure.data if "target" in (trace.name or "")}
    assert lines == {"first: target 400M MACs": {400}, "&lt;second&gt;: target 500M MACs": {500}}
    assert not figure.layout.shapes


def test_hypervolumes_with_different_reference_points_are_not_shown_as_if_they_had_one() -> None:
    limits = [{"cost": "macs", "low": 450e6, "high": 500e6}]
    other = attrs.evolve(SECOND, settings={**SECOND.settings, "limits": limits})
    said = overlay_figure(overlay([FIRST, other])).layout.meta["subtitle"]
    assert "each to a reference point of its own" in said
    assert "to the reference point 400M MACs and 0.0%" in said
    assert "reference point" not in overlay_figure(overlay([FIRST, SECOND])).layout.meta["subtitle"]


def test_a_most_frequent_class_that_all_studies_share_is_a_line() -> None:
    split = ValidationSplit(100, 0.35, 100.0)
    shared = [attrs.evolve(view, split=split) for view in (FIRST, SECOND)]
    assert overlay(shared).chance == 35
    assert overlay([shared[0], SECOND]).chance is None
    assert any("most frequent class" in (trace.name or "") for trace in overlay_figure(overlay(shared)).data)


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ([FIRST, FIRST], "first is named more than once"),
        ([FIRST, study(name="empty")], "study empty has no complete trial"),
        ([timed("phone", "pi", 7.5), SECOND], "<second> has the cost latency_ms"),
    ],
)
def test_studies_that_cannot_be_drawn_together_raise_an_error(views: list[StudyView], words: str) -> None:
    with pytest.raises(StudyError, match=words) as raised:
        overlay(views)
    assert raised.value.remedy
