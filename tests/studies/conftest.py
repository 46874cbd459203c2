"""What several tests of studies need."""

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(name="in_time_zone", params=["America/New_York", "Asia/Kolkata"])
def _in_time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a test where the local time is not UTC."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()
