"""Figures of assessments: their content, and their drawing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nas.data.corruptions.kinds import KINDS
from nas.report.assessment import MOST_CELLS, confusion_figure, corruption_figure, reliability_figure
from nas.report.files import html_bytes, write_png
from nas.report.theme import HEIGHT_PX, WIDTH_PX
from nas.train.assessment.assessment import assess_logits
from tests.report.browser import find_browser

HALF = {"value": 0.5, "low": 0.4, "high": 0.6}


def assessed(classes: tuple[str, ...] = ("<ant>", "bee", "cat")) -> dict[str, Any]:
    logits = torch.randn(60, len(classes), generator=torch.Generator().manual_seed(0))
    return assess_logits(logits, torch.arange(60) % 2, classes).as_json()


def robustness(baseline: bool) -> dict[str, Any]:
    cells = [{"kind": kind, "severity": severity, "accuracy": HALF} for kind in KINDS for severity in range(1, 6)]
    network = {"name": "<mine>", "clean": HALF, "mean_corruption_error": HALF, "corruptions": cells}
    return {"images": 80, "network": network, "baseline": {**network, "name": "base"} if baseline else None}


def test_the_confusion_matrix_has_counts_and_no_share_of_an_absent_class() -> None:
    values = assessed()
    cells, numbers = confusion_figure("demo", values).data
    counts = {
        (true, predicted): count for true, row in enumerate(values["confusion"]) for predicted, count in enumerate(row)
    }
    places = [(round(base + 0.5), predicted) for base, predicted in zip(cells.base, cells.x, strict=True)]
    assert dict(zip(places, map(int, numbers.text), strict=True)) == {place: n for place, n in counts.items() if n}
    assert list(zip(numbers.y, numbers.x, strict=True)) == places
    # The first two classes have 30 images each, and the third has none.
    assert cells.marker.color == pytest.approx([counts[place] / 30 for place in places])
    assert {true for true, _ in places} == {0, 1}


def test_of_very_many_cells_the_smallest_shares_are_left_out_and_counted() -> None:
    classes = 150
    values = {
        "classes": [{"name": f"class {n}"} for n in range(classes)],
        "confusion": [[1 + (true == predicted) for predicted in range(classes)] for true in range(classes)],
        "images": classes * (classes + 1),
        "accuracy": HALF,
    }
    figure = confusion_figure("demo", values)
    assert len(figure.data[0].x) == MOST_CELLS
    assert f"the {classes**2 - MOST_CELLS:,} smallest shares are not drawn" in figure.layout.meta["subtitle"]
    assert max(figure.data[0].marker.color) == 2 / (classes + 1)


def test_names_of_classes_are_text_and_not_html() -> None:
    assert "&lt;ant&gt;" in confusion_figure("demo", assessed()).layout.xaxis.ticktext
    assert b"<ant>" not in html_bytes(confusion_figure("demo", assessed()), "demo")


def test_many_classes_have_no_numbers_in_their_cells() -> None:
    figure = confusion_figure("demo", assessed(tuple(f"class {n}" for n in range(30))))
    assert [trace.type for trace in figure.data] == ["bar"]


def test_the_reliability_diagram_has_a_point_with_its_interval_for_each_bin_with_images() -> None:
    values = assessed()
    used = [each for each in values["bins"] if each["images"]]
    bars, _, points = reliability_figure("demo", values).data
    assert list(points.y) == [each["accuracy"]["value"] for each in used]
    assert points.y[0] + points.error_y.array[0] == pytest.approx(used[0]["accuracy"]["high"])
    assert sum(bars.y) == pytest.approx(1)


@pytest.mark.parametrize("baseline", [False, True])
def test_each_corruption_has_a_curve_for_each_network_that_begins_with_the_clean_images(baseline: bool) -> None:
    figure = corruption_figure("demo", robustness(baseline))
    assert len(figure.data) == 15 * (1 + baseline)
    assert list(figure.data[0].x) == [0, 1, 2, 3, 4, 5]
    assert {trace.name for trace in figure.data} == ({"&lt;mine&gt;", "base"} if baseline else {"&lt;mine&gt;"})


@pytest.mark.slow
def test_the_figures_are_drawn(tmp_path: Path) -> None:
    find_browser()
    for draw, values in ((confusion_figure, assessed()), (corruption_figure, robustness(True))):
        write_png(tmp_path / "figure.png", draw("demo", values))
        with Image.open(tmp_path / "figure.png") as image:
            assert image.size == (2 * WIDTH_PX, 2 * HEIGHT_PX)
