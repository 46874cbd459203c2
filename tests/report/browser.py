"""A headless browser, pages that are shown in it, and a proxy that records network requests."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
PATIENCE_SECONDS = 60
# Hosts that the browser itself contacts, whatever page it shows.
OWN_HOSTS = (".google.com", ".googleapis.com", ".gvt1.com")


def find_browser() -> str:
    """Return the path of a browser; skip the test if there is none, or fail in CI."""
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end("neither Chrome nor Chromium is installed")
    return str(found)


def browse(page: Path, *flags: str) -> str:
    """Return the HTML of a page after its scripts have run."""
    command = [find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", *QUIET]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [*command, profile, *flags, "--dump-dom", page.as_uri()], capture_output=True, timeout=120, check=True
    )
    return done.stdout.decode()


@contextmanager
def listening_proxy() -> Iterator[tuple[str, list[str]]]:
    """Run a proxy that answers no request; yield its address and the list of requested hosts."""
    requested: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=_listen, args=(server, requested), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requested
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _listen(server: socket.socket, requested: list[str]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            host = _host(connection.recv(4096).decode(errors="replace"))
        if not host.endswith(OWN_HOSTS):
            requested.append(host)


def _host(request: str) -> str:
    """Return the host of a request such as `GET http://host/path HTTP/1.1` or `CONNECT host:443 HTTP/1.1`."""
    target = request.split()[1]
    return (urlsplit(target).hostname if "//" in target else target.partition(":")[0]) or target


@dataclass
class Visit:
    """A page that is shown in Chromium."""

    page: "Page"
    problems: list[str]
    """Errors and warnings of the console, errors of scripts, and addresses that the page asked for."""

    def draw(self) -> None:
        """Wait until the page has drawn its figures."""
        self.wait("document.documentElement.dataset.figures === 'drawn'")

    def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true; playwright's own way is forbidden by the pages' policy."""
        end = monotonic() + PATIENCE_SECONDS
        while not self._is_true(condition):
            assert monotonic() < end, f"{condition} is not true after {PATIENCE_SECONDS} s; {self.problems}"
            self.page.wait_for_timeout(20)

    def _is_true(self, condition: str) -> bool:
        from playwright.sync_api import Error

        try:
            return bool(self.page.evaluate(condition))
        except Error as error:
            # A page that loads itself again has no scripts for a moment.
            if "Execution context was destroyed" in str(error):
                return False
            raise

    def is_cut_off(self) -> bool:
        """Return whether a part of the page is beyond the right edge of the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    def texts_cut_off(self) -> list[str]:
        """Return the texts of figures that are not inside the drawing of their figure."""
        return [*self.page.evaluate(_TEXTS_CUT_OFF)]

    def texts_colliding(self, selector: str) -> list[tuple[str, str]]:
        """Return the pairs of texts of figures that cover each other, among those that a selector matches."""
        return [(first, second) for first, second in self.page.evaluate(_TEXTS_COLLIDING, selector)]

    def serious_findings(self) -> list[str]:
        """Return the serious and critical findings of axe, as its rules and the elements."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]


_TEXTS_CUT_OFF = """() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
  const outer = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('svg text')].filter((text) => {
    const box = text.getBoundingClientRect();
    const visible = box.width && getComputedStyle(text).visibility === 'visible';
    return visible && (box.left < outer.left - 1 || box.right > outer.right + 1
      || box.top < outer.top - 1 || box.bottom > outer.bottom + 1);
  }).map((text) => text.textContent);
})"""
_TEXTS_COLLIDING = """(selector) => [...document.querySelectorAll('.plot')].flatMap((plot) => {
  const boxes = [...plot.querySelectorAll(selector)]
    .filter((text) => text.textContent && getComputedStyle(text).visibility === 'visible')
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([first, a], i) => boxes.slice(0, i).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
    .map(([second]) => [second, first]));
})"""


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """Yield a browser that the tests of a module share; it is controlled by playwright.

    Playwright keeps an event loop running, so that a module that uses this fixture must not draw pictures.
    """
    found = find_browser()
    library = pytest.importorskip("playwright.sync_api", reason="playwright controls the browser")
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu", *QUIET])
        yield browser
        browser.close()


@contextmanager
def visit(browser: "Browser", file: Path, *, width: int = 1400, dark: bool = False) -> Iterator[Visit]:
    """Show a page and wait until its figures are drawn.

    Args:
        browser: Browser of the fixture `chromium`.
        file: File of the page.
        width: Width of the window, in pixels.
        dark: Whether the reader prefers dark pages.
    """
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    shown = Visit(page, [])
    page.on("console", lambda message: shown.problems.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: shown.problems.append(str(error)))
    page.on("request", lambda request: shown.problems.append(request.url) if request.url != file.as_uri() else None)
    try:
        page.goto(file.as_uri())
        if page.query_selector("[data-figure]"):
            shown.draw()
        yield shown
    finally:
        page.close()
