"""Tests of CSV, HTML and PNG files."""

import io
import os
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from nas.errors import MissingPackageError, NasError
from nas.report.files import csv_bytes, html_bytes, png_bytes, write_csv, write_html, write_png
from nas.report.frame import trial_frame
from nas.report.pareto import pareto_figure
from nas.report.theme import GREEN, HEIGHT_PX, INK, VERMILION, WIDTH_PX
from nas.studies.records import Record, StudyView
from tests.report.browser import browse, find_browser, listening_proxy
from tests.report.studies import ARCH, record, study

LOADING = {"src", "href", "srcset", "data", "action", "poster"}


def full_study() -> StudyView:
    base = Record(-1, "complete", ARCH, {"macs": 350_000_000}, accuracy=0.45, label="mobilenetv2 x1.1")
    some = [record(i, (360 + 4 * i) * 1e6, 0.5 + 0.01 * (i * 7 % 10)) for i in range(10)]
    return study(*some, record(10, 381e6, 0.48, "pruned"), record(11, 390e6, None, "failed"), baseline=base)


def page(view: StudyView) -> bytes:
    return html_bytes(pareto_figure(view), view.name)


class Loads(HTMLParser):
    """Collect the tags of a page, and the addresses that it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in LOADING]


def test_a_page_loads_nothing_from_another_place() -> None:
    loads = Loads()
    loads.feed(page(full_study()).decode())
    assert loads.found == []
    assert loads.tags == {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "div", "script"),
        *("figure", "figcaption", "span", "p", "noscript"),
    }


def test_a_page_has_no_button_for_an_upload() -> None:
    assert "showSendToCloud: false" in page(full_study()).decode()


def test_pages_of_the_same_study_are_equal() -> None:
    assert page(full_study()) == page(full_study())


def test_the_title_of_a_page_is_escaped() -> None:
    assert b"<title>a &lt;b&gt;</title>" in html_bytes(pareto_figure(full_study()), "a <b>")


@pytest.mark.slow
def test_a_page_draws_every_point_without_a_network(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_html(file, pareto_figure(full_study()), "demo")
    with listening_proxy() as (proxy, requested):
        drawn = browse(file, f"--proxy-server={proxy}")
    assert requested == []
    # Occurrences are counted, because a failing `in` would print the whole page.
    texts = (
        '<path class="point',
        "Multiply-adds per image",
        ">baseline mobilenetv2 x1.1 (same evaluation)<",
        'data-title="Zoom in',
        'data-title="Share',
    )
    points = 10 + 1 + 1 + 1  # Complete, pruned, baseline, and the star of the recommended network.
    counts = [drawn.count(text) for text in texts]
    assert (counts[0], [count > 0 for count in counts[1:]]) == (points, [True, True, True, False])


@pytest.mark.slow
def test_the_content_policy_blocks_a_request_that_the_proxy_would_record(tmp_path: Path) -> None:
    image = b'<img src="http://outside.example/x.png">'
    unprotected, protected = tmp_path / "unprotected.html", tmp_path / "protected.html"
    unprotected.write_bytes(b"<body>" + image)
    protected.write_bytes(page(full_study()).replace(b"</body>", image + b"</body>"))
    with listening_proxy() as (proxy, requested):
        browse(protected, f"--proxy-server={proxy}")
        assert requested == []
        browse(unprotected, f"--proxy-server={proxy}")
    assert set(requested) == {"outside.example"}


@pytest.mark.slow
def test_a_png_image_has_the_right_size_and_colors(tmp_path: Path) -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the image")
    write_png(tmp_path / "x.png", pareto_figure(full_study()))
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (2 * WIDTH_PX, 2 * HEIGHT_PX)
        data = image.convert("RGB").tobytes()
    colors = Counter(zip(data[::3], data[1::3], data[2::3], strict=True))
    assert colors[255, 255, 255] > 0.3 * len(data) / 3
    for expected in (VERMILION, GREEN, INK):
        red, green, blue = bytes.fromhex(expected[1:])
        assert colors[red, green, blue] > 300, expected


def test_a_missing_kaleido_raises_an_error_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingPackageError, match=r"hwnas\[png\]"):
        png_bytes(pareto_figure(full_study()))


def test_a_missing_browser_raises_an_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("kaleido", reason="kaleido looks for the browser")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    with pytest.raises(NasError, match="Chrome or Chromium") as raised:
        write_png(tmp_path / "x.png", pareto_figure(full_study()))
    assert "apt install chromium" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_browser_that_does_not_start_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido", reason="kaleido starts the browser")
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    with pytest.raises(NasError, match="did not draw a PNG image"):
        png_bytes(pareto_figure(full_study()))


def test_a_csv_file_has_the_rows_of_the_data_frame(tmp_path: Path) -> None:
    frame = trial_frame(full_study())
    write_csv(tmp_path / "x.csv", frame)
    assert (tmp_path / "x.csv").read_bytes() == csv_bytes(frame)
    assert next(iter(io.StringIO(csv_bytes(frame).decode()))).startswith("trial,state,accuracy,macs")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "x.csv"
    file.write_text("trial,state,old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(NasError, match="No space left"):
        write_csv(file, trial_frame(full_study()))
    assert (file.read_text(), [path.name for path in tmp_path.iterdir()]) == ("trial,state,old", ["x.csv"])
