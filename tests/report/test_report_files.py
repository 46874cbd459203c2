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
from nas.report.pareto import GREEN, HEIGHT_PX, INK, VERMILION, WIDTH_PX, pareto_figure
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
    """What a page would load, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in LOADING]


def test_page_names_nothing_outside() -> None:
    loads = Loads()
    loads.feed(page(full_study()).decode())
    assert loads.found == []
    assert loads.tags == {"html", "head", "meta", "title", "style", "body", "div", "script"}


def test_page_offers_no_upload() -> None:
    assert '"showSendToCloud": false' in page(full_study()).decode()


def test_page_is_the_same_for_the_same_study() -> None:
    assert page(full_study()) == page(full_study())


def test_page_escapes_its_title() -> None:
    assert b"<title>a &lt;b&gt;</title>" in html_bytes(pareto_figure(full_study()), "a <b>")


@pytest.mark.slow
def test_page_draws_every_point_without_a_network(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_html(file, pareto_figure(full_study()), "demo")
    with listening_proxy() as (proxy, asked):
        drawn = browse(file, f"--proxy-server={proxy}")
    assert asked == []
    # Counted, since a failing `in` would print the whole page.
    seen = (
        'class="point"',
        "Multiply-adds per image",
        ">mobilenetv2 x1.1<",
        'data-title="Zoom in',
        'data-title="Share',
    )
    points = 10 + 1 + 1  # Complete, pruned, baseline.
    counts = [drawn.count(text) for text in seen]
    assert (counts[0], [count > 0 for count in counts[1:]]) == (points, [True, True, True, False])


@pytest.mark.slow
def test_the_proxy_would_have_noticed_and_the_page_forbids_it(tmp_path: Path) -> None:
    picture = b'<img src="http://outside.example/x.png">'
    free, held = tmp_path / "free.html", tmp_path / "held.html"
    free.write_bytes(b"<body>" + picture)
    held.write_bytes(page(full_study()).replace(b"</body>", picture + b"</body>"))
    with listening_proxy() as (proxy, asked):
        browse(held, f"--proxy-server={proxy}")
        assert asked == []
        browse(free, f"--proxy-server={proxy}")
    assert set(asked) == {"outside.example"}


@pytest.mark.slow
def test_png_has_its_size_and_colours(tmp_path: Path) -> None:
    find_browser()
    pytest.importorskip("kaleido", reason="kaleido draws the picture")
    write_png(tmp_path / "x.png", pareto_figure(full_study()))
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (2 * WIDTH_PX, 2 * HEIGHT_PX)
        data = image.convert("RGB").tobytes()
    colours = Counter(zip(data[::3], data[1::3], data[2::3], strict=True))
    assert colours[255, 255, 255] > 0.3 * len(data) / 3
    for wanted in (VERMILION, GREEN, INK):
        red, green, blue = bytes.fromhex(wanted[1:])
        assert colours[red, green, blue] > 300, wanted


def test_png_without_kaleido_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingPackageError, match=r"hwnas\[png\]"):
        png_bytes(pareto_figure(full_study()))


def test_png_without_a_browser_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("kaleido", reason="kaleido looks for the browser")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    with pytest.raises(NasError, match="Chrome or Chromium") as told:
        write_png(tmp_path / "x.png", pareto_figure(full_study()))
    assert "apt install chromium" in told.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_png_with_a_browser_that_does_not_start_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido", reason="kaleido starts the browser")
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    with pytest.raises(NasError, match="did not draw the PNG"):
        png_bytes(pareto_figure(full_study()))


def test_csv_file_is_the_frame(tmp_path: Path) -> None:
    frame = trial_frame(full_study())
    write_csv(tmp_path / "x.csv", frame)
    assert (tmp_path / "x.csv").read_bytes() == csv_bytes(frame)
    assert next(iter(io.StringIO(csv_bytes(frame).decode()))).startswith("trial,state,accuracy,macs")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failing_write_leaves_the_old_file_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "x.csv"
    file.write_text("old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(NasError, match="No space left"):
        write_csv(file, trial_frame(full_study()))
    assert (file.read_text(), [path.name for path in tmp_path.iterdir()]) == ("old", ["x.csv"])
