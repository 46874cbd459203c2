"""The browser that the tests of pages share."""

from tests.report.browser import chromium

__all__ = ["chromium"]
