"""Fixtures for all tests of devices."""

from tests.device.fakes import fakes_fixture

__all__ = ["fakes_fixture"]
