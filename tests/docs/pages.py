"""The generated pages of the documentation; run as a module it writes them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.cli.conftest import ROOT
from tests.docs.api_page import api_page
from tests.docs.cli_page import cli_page
from tests.docs.errors_page import errors_page

PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {"cli.md": cli_page, "api.md": api_page, "errors.md": errors_page}
)
DOCS = ROOT / "docs"

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
