"""The diagram of a network: nothing overlaps, every text has room, and the costs are those of the cost model."""

from itertools import combinations, pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.arch.layers import walk
from nas.arch.presets import preset, preset_names
from nas.arch.spec import Architecture, ConvHead, ConvStem, MlpHead, Stage
from nas.cost.analytic import cost
from nas.cost.layers import fragment_layers
from nas.cost.table import LatencyTable, Origin
from nas.device.machine import Machine
from nas.device.spec import Device
from nas.graph.fragment import whole
from nas.report.diagram import WIDTH, Box, Plan, plan
from nas.report.diagram_svg import diagram_svg
from nas.report.network import network_section
from nas.report.network_layers import layer_groups
from tests.report.browser import chromium  # noqa: F401 - a fixture
from tests.strategies import architectures

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SVG = "{http://www.w3.org/2000/svg}"
BIG = 2**31 - 1
# Every number is as long as it can be.
LONGEST = Architecture(
    ConvStem(BIG, 99, 4, "hard_swish"),
    (
        Stage("dsconv", BIG, layers=999, kernel=99, stride=4),
        Stage("fused", BIG, kernel=99, stride=4, expansion=12.3456),
    ),
    MlpHead(BIG, BIG, activation="hard_swish"),
    resolution=100_000,
    in_channels=BIG,
    classes=BIG,
)


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.bottom and b.y < a.bottom


def check(planned: Plan) -> None:
    solid = [*planned.boxes, *(bar for bar in planned.bars if bar.width)]
    for box in (*solid, *planned.panels):
        assert box.x >= 0
        assert box.x + box.width <= WIDTH
        assert box.y >= 0
        assert box.bottom <= planned.height
    assert not [pair for pair in combinations(solid, 2) if overlap(*pair)]
    assert not [pair for pair in combinations(planned.panels, 2) if overlap(*pair)]
    # The area of a text from its base line to the height of its capitals.
    texts = [Box(t.x, t.y - 0.75 * t.px, min(t.width, t.room), 0.75 * t.px) for t in planned.texts]
    assert not [pair for pair in combinations(texts, 2) if overlap(*pair)]
    for text, area in zip(planned.texts, texts, strict=True):
        assert area.x + area.width <= WIDTH
        assert area.bottom <= planned.height
        for box in planned.boxes:
            if overlap(box, area):
                assert box.x < area.x
                assert area.x + area.width <= box.x + box.width
                assert box.y < area.y
                assert area.bottom < box.bottom
        assert not [bar for bar in planned.bars if bar.width and overlap(bar, area)], text


@given(architectures(), st.booleans())
def test_nothing_overlaps_in_the_diagram_of_any_network(arch: Architecture, has_latencies: bool) -> None:
    check(plan(arch, (lambda _part, shape: shape.elements / 1e4) if has_latencies else None))


@pytest.mark.parametrize("name", preset_names())
def test_nothing_overlaps_in_the_diagram_of_any_preset(name: str) -> None:
    check(plan(preset(name)))


def test_nothing_overlaps_where_every_number_is_long() -> None:
    check(plan(LONGEST, lambda _part, _shape: 123456.789))


@given(architectures())
def test_the_costs_of_the_layers_are_those_of_the_network(arch: Architecture) -> None:
    groups, counted = layer_groups(arch), cost(arch)
    assert sum(group.macs for group in groups) == counted.macs
    assert sum(group.params for group in groups) == counted.params
    assert sum(group.count for group in groups) == len(list(walk(arch)))
    for before, after in pairwise(groups):
        assert before.output == after.input


@given(architectures(), st.text(max_size=30))
def test_any_name_gives_well_formed_svg_whose_texts_are_escaped(arch: Architecture, name: str) -> None:
    root = ET.fromstring(diagram_svg(arch, name + "<script>alert(1)</script>&\"'\0"))  # noqa: S314
    assert root.tag == f"{SVG}svg"
    assert not list(root.iter(f"{SVG}script"))
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert "<script>alert(1)</script>&" in (title.text or "")
    assert description is not None
    assert f"to {arch.classes} classes" in (description.text or "")


def test_a_skip_is_named_only_where_it_is_added() -> None:
    arch = Architecture(
        ConvStem(8),
        (Stage("mbconv", 8, layers=2), Stage("mbconv", 16, stride=2), Stage("basic", 16, skip="projection"),
         Stage("basic", 32, stride=2, skip="projection"), Stage("conv", 32, skip="pool")),
        ConvHead(64),
    )  # fmt: skip
    skips = [(group.place, group.count, group.skip) for group in layer_groups(arch) if isinstance(group.part, Stage)]
    assert skips == [
        ("stage1", 2, "identity"),
        ("stage2", 1, ""),
        ("stage3", 1, "identity"),
        ("stage4", 1, "projection"),
        ("stage5", 1, "pool"),
    ]
    assert len(plan(arch).skips) == 4


def table_of(arch: Architecture, ms: float = 0.1, classes: int | None = None) -> LatencyTable:
    machine = Machine("any", "avx2", 4, "", "Linux x86_64", "1.20.0")
    origin = Origin(
        machine, Device(), "any", 2.6, "any", classes or arch.classes, arch.padding, "0.1.0", "2026-01-01 00:00", 2
    )
    layers = tuple(fragment_layers(whole(arch)))
    return LatencyTable("made <up>", origin, dict.fromkeys(layers, ms), dict.fromkeys(layers, 0.0))


def test_predicted_latencies_of_the_layers_add_up_to_that_of_the_network() -> None:
    arch = preset("efficientnet-b0")
    table = table_of(arch)
    section = network_section(arch, "b0", table)
    headers, rows = section.tables[0].headers, section.tables[0].rows
    column = headers.index("Predicted latency (ms)")
    assert sum(float(row[column]) for row in rows) == pytest.approx(table.estimate(arch).value)
    assert "latency" in section.figures[0].svg


def test_a_table_of_another_task_is_not_used_and_the_reason_is_said() -> None:
    arch = preset("mnasnet-small")
    section = network_section(arch, "net", table_of(arch, classes=10))
    assert "Latencies by layer are not shown" in section.text
    assert "Predicted latency (ms)" not in section.tables[0].headers


def test_a_small_share_is_not_shown_as_zero() -> None:
    arch = Architecture(
        ConvStem(1, kernel=1, stride=4), (Stage("conv", 512, kernel=9), Stage("conv", 512)), ConvHead(9)
    )
    rows = [group.macs / cost(arch).macs for group in layer_groups(arch)]
    assert 0 < rows[0] < 0.0005
    assert ">&lt; 0.1%<" in diagram_svg(arch)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenetv3-large", "resnet-50", "fbnet-c", "longest"])
def test_texts_have_room_in_a_browser(chromium: "Browser", name: str) -> None:  # noqa: F811
    arch = LONGEST if name == "longest" else preset(name)
    planned = plan(arch, lambda _part, shape: shape.elements / 1e4)
    page = chromium.new_page(viewport={"width": 400, "height": 800})
    page.set_content(diagram_svg(arch, name, lambda _part, shape: shape.elements / 1e4))
    widths = page.evaluate("() => [...document.querySelectorAll('text')].map((text) => text.getBBox().width)")
    assert len(widths) == len(planned.texts)
    for text, width in zip(planned.texts, widths, strict=True):
        # The ends of the letters of a squeezed text may stand out by a part of a unit.
        assert width <= (text.room + 1 if text.is_squeezed else text.width), text
    box = page.evaluate("() => document.querySelector('svg').getBoundingClientRect().width")
    assert box <= 400
    page.close()
