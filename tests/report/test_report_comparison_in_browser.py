"""Tests of the page of a comparison in Chromium: widths, light, dark, print, the console, and accessibility."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nas.api.comparison_files import page
from nas.api.comparison_records import (
    ComparedNetwork,
    DeviceComparison,
    DeviceLatency,
    MeasuredAccuracy,
    PublishedAccuracy,
    Refusal,
)
from nas.api.comparison_results import Comparison
from tests.report.browser import visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e.onnx"
LONG = "a-network-whose-name-is-longer-than-a-telephone-is-wide-" * 3
NAMES = ("lenet-5", "mobilenetv2", "resnet-50", "vgg-16", HOSTILE, LONG)


def network(at: int, name: str, has_accuracy: bool) -> ComparedNetwork:
    """A network with published accuracy, but the first one, and with measured accuracies where they are asked for."""
    accuracies = tuple(
        MeasuredAccuracy(precision, 0.6 + at / 50, 0.55 + at / 50, 0.65 + at / 50, 1000)
        for precision in ("fp32", "int8")
    )
    return ComparedNetwork(
        name, name, "zoo" if at % 2 else "ONNX file", (224, 224), 3, 1000, 10**at * 400_000, 4**at * 100_000,
        "architecture", size_bytes={"fp32": 4**at * 400_000, "int8": 4**at * 100_000},
        published=PublishedAccuracy(0.7 + at / 40, "paper") if at else None,
        accuracies=accuracies if has_accuracy and at else (), notes=("a note",),
    )  # fmt: skip


def latency(name: str, precision: str, latency_ms: float) -> DeviceLatency:
    return DeviceLatency(
        latency_ms, 0.1, latency_ms, latency_ms, 1.2 * latency_ms, 20, name, precision, 0.9 * latency_ms,
        1.1 * latency_ms, 5_000_000, "measured",
    )  # fmt: skip


def comparison(has_accuracy: bool) -> Comparison:
    """A comparison of six networks on two devices, one of which refuses one file."""
    files = [(0.2 * 4**at, name, precision) for at, name in enumerate(NAMES) for precision in ("fp32", "int8")]
    latencies = tuple(latency(name, precision, latency_ms) for latency_ms, name, precision in files)
    refusals = (Refusal(HOSTILE, "int8", "it has an odd operator"),)
    devices = tuple(
        DeviceComparison(
            f"cpu:threads={threads}", "", "CPUExecutionProvider", threads, 1, "AMD EPYC", "", "Linux", "1.32.0", 0.01,
            False, (20,), 1, latencies, (), refusals,
        )
        for threads in (1, 2)
    )  # fmt: skip
    networks = tuple(network(at, name, has_accuracy) for at, name in enumerate(NAMES))
    return Comparison(networks, devices, notes=("A note.",), data="digits", split="test", accuracy_device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page")
    (made / "published.html").write_bytes(page(comparison(has_accuracy=False)))
    (made / "measured.html").write_bytes(page(comparison(has_accuracy=True)))
    return made


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["published.html", "measured.html"])
def test_a_comparison_is_whole_quiet_and_accessible(
    chromium: "Browser", folder: Path, name: str, width: int, dark: bool
) -> None:
    """Nothing is loaded from anywhere: a request is one of the problems."""
    with visit(chromium, folder / name, width=width, dark=dark) as shown:
        assert not shown.is_cut_off()
        assert shown.texts_cut_off() == []
        assert shown.texts_colliding(".annotation-text") == []
        assert shown.serious_findings() == []
        assert shown.problems == []
        assert shown.page.evaluate(_CUT_TABLES) == 0
        visible = shown.page.locator(".wide-figure" if width == 400 else ".narrow-figure").first
        assert visible.evaluate("each => getComputedStyle(each).visibility") == "hidden"
        text = shown.page.inner_text("main")
        assert "\\x1b[31m\\u202e.onnx" in text
        assert "\x1b" not in text
        assert shown.page.locator("img").count() == 0


_CUT_TABLES = """[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"""


def test_every_value_of_a_narrow_table_has_its_title(chromium: "Browser", folder: Path) -> None:
    with visit(chromium, folder / "measured.html", width=400) as shown:
        row = shown.page.locator(".comparison-table tbody tr").nth(2)
        titles = row.locator("td:visible").evaluate_all("all => all.map((each) => each.dataset.title)")
        assert titles[:3] == ["precision", "pixels", "MACs (M)"]
        assert {"latency (ms)", "95% interval", "p95", "accuracy (%)", "published top-1 (%)"} < set(titles)
        assert row.locator("th").evaluate("each => getComputedStyle(each, '::before').content").startswith('"2')


def test_a_comparison_is_light_and_whole_in_print(chromium: "Browser", folder: Path) -> None:
    with visit(chromium, folder / "measured.html", dark=True) as shown:
        shown.page.emulate_media(media="print", color_scheme="dark")
        shown.page.set_viewport_size({"width": 1009, "height": 680})  # pixels of A4 in landscape, between its margins
        shown.wait("getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
        assert shown.page.evaluate(_CUT_TABLES) == 0
        assert (
            shown.page.locator(".wide-figure").first.evaluate("each => getComputedStyle(each).visibility") == "visible"
        )
        assert len(shown.page.pdf(prefer_css_page_size=True)) > 10_000
