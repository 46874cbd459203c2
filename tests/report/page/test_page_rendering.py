"""Tests of the report page as HTML: hostile texts, selection, large studies, and the order of its parts."""

import json
import re
from datetime import datetime

import pytest
from attrs import evolve
from hypothesis import given, settings

from nas.noise import ValidationSplit
from nas.report.page.answers import answers
from nas.report.page.failures import failures_section
from nas.report.page.front import front_section
from nas.report.page.page import Page, page_bytes
from nas.report.page.selection import ANY_TRIAL, columns, networks
from nas.report.pages import plain
from nas.report.pareto import draw
from nas.report.points import pareto
from nas.report.thinning import MOST
from nas.studies.records import Record, StudyView
from tests.report.studies import ARCH, record, studies, study

URL = "sqlite:///nas.db"
HOSTILE = "</script><script>alert(1)</script><!-- \"'&\x1b[31m\u2028"


def rendered(view: StudyView, refresh_s: float | None = None) -> str:
    page = Page(
        study=view.name, subtitle="state", answers=answers(view, URL), front=front_section(view),
        networks=networks(view, URL), columns=columns(view, URL), sections=(failures_section(view),),
        written=datetime(2026, 1, 2, 3, 4, 5), refresh_s=refresh_s,
    )  # fmt: skip
    return page_bytes(page).decode()


def data(page: str, name: str) -> object:
    found = re.search(f'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@given(studies())
@settings(max_examples=40, deadline=None)
def test_any_study_makes_a_page(view: StudyView) -> None:
    page = rendered(view)
    assert page.count("<h1") == 1
    assert page.index("What was asked?") < page.index("How sure is that?") < page.index("Accuracy against cost")


def test_hostile_texts_are_shown_and_not_obeyed() -> None:
    lost = evolve(record(1, accuracy=None, state="failed"), reason=HOSTILE)
    base = Record(-1, "complete", ARCH, {"macs": 390e6}, accuracy=0.5, label=HOSTILE)
    view = study(record(0), lost, baseline=base, name=f"demo {HOSTILE}", space=HOSTILE)
    page = rendered(view)
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\\x1b[31m" in page
    known = data(page, "report-state")
    assert isinstance(known, dict)
    assert known["networks"][-1]["name"] == f"baseline {plain(HOSTILE)}"
    # A shell reads the command as one word with the same name.
    assert known["networks"][0]["commands"][0][1].startswith("nas show $'study:demo ")


def test_the_networks_to_select_are_the_recommended_one_the_front_and_the_baseline() -> None:
    base = Record(-1, "complete", ARCH, {"macs": 390e6}, accuracy=0.5, label="known x1")
    view = study(record(0, 370e6, 0.5), record(1, 395e6, 0.7), record(2, 399e6, 0.6), baseline=base)
    found = networks(view, URL)
    assert [(each.number, each.roles[0]) for each in found] == [
        (1, "recommended"), (0, "front 1 of 2"), (2, "among the best"), (-1, "evaluated in the same way"),
    ]  # fmt: skip
    assert found[0].roles == ("recommended", "front 2 of 2")
    assert found[-1].commands == ()
    assert dict(found[-1].costs)["parameters"] == "unknown"


def test_trials_without_texts_have_columns_and_commands_to_fill_in() -> None:
    view = study(record(0, 370e6, 0.5), record(1, 395e6, None, "failed"), record(2, 399e6, 0.625, "pruned"))
    found = columns(view, URL)
    assert found["numbers"] == [0, 2]
    assert found["states"] == ["complete", "pruned"]
    assert found["accuracies"] == [0.5, 0.625]
    assert found["costs"][0]["values"] == [370_000_000, 399_000_000]
    assert found["commands"][0][1] == f"nas show study:demo:trial={ANY_TRIAL}"


def test_each_point_of_the_figure_has_the_number_of_its_trial() -> None:
    base = Record(-1, "complete", ARCH, {"macs": 390e6}, accuracy=0.5, label="known x1")
    view = study(record(7, 370e6, 0.5), record(8, 395e6, 0.7), record(9, 399e6, 0.6), baseline=base)
    figure = draw(pareto(view))
    found = {
        (x, round(y, 6)): number
        for trace in figure.data
        if trace.customdata is not None
        for x, y, number in zip(trace.x, trace.y, trace.customdata, strict=True)
    }
    assert found == {(370.0, 50.0): 7, (395.0, 70.0): 8, (399.0, 60.0): 9, (390.0, 50.0): -1}


def test_of_many_points_in_one_place_one_is_drawn_and_all_count() -> None:
    many = [record(number, 380e6, 0.5) for number in range(MOST + 100)]
    view = study(record(MOST + 100, 370e6, 0.4), record(MOST + 101, 399e6, 0.9), *many)
    section = front_section(view)
    assert section.figures[0].figure is not None
    (shown,) = [trace for trace in section.figures[0].figure.data if trace.name == "complete"]
    (subtitle,) = [section.figures[0].figure.layout.meta["subtitle"]]
    # Trial 0 is on the front, as the first of its cost and accuracy. The next one is an extreme, and is kept too.
    extreme, of_cell = shown.customdata
    assert 1 == extreme < of_cell < MOST + 100
    assert f"{MOST + 97:,} trials that are close to others are not drawn" in section.text
    assert f"{MOST + 102:,} complete" in subtitle


@pytest.mark.parametrize("refresh_s", [None, 7.0])
def test_a_page_loads_itself_again_only_while_the_search_goes_on(refresh_s: float | None) -> None:
    page = rendered(study(record(0)), refresh_s)
    known = data(page, "report-state")
    assert isinstance(known, dict)
    assert known["refresh_s"] == refresh_s
    assert ('id="refreshing"' in page) == (refresh_s is not None)
    assert 'http-equiv="refresh"' not in page


def test_the_size_of_the_validation_split_is_on_the_page() -> None:
    view = evolve(study(record(0)), split=ValidationSplit(images=1234, effective=1234.0, chance=0.25))
    assert "1,234 images" in rendered(view)


def test_spaces_that_do_not_break_a_line_are_kept_as_they_are() -> None:
    trial = Record(0, "failed", ARCH, {}, reason="3\N{NO-BREAK SPACE}× 32")
    assert "3\N{NO-BREAK SPACE}× 32" in rendered(study(trial))
