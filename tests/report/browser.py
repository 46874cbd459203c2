"""A headless browser, and a proxy that records network requests."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
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
