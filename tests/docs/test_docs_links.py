"""All links of all pages lead somewhere; whether an address of the internet answers is not asked."""

from pathlib import Path

import pytest

from tests.cli.conftest import ROOT
from tests.docs.links import Link, anchors, links, pages, problem


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    found = [(f"line {link.line}", link.target, problem(link)) for link in links(page)]
    assert [one for one in found if one[2]] == []


def test_anchors_are_those_of_code_hosts(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The `nas` page: 2 parts\n\n## A_b, c-d\n\n## Same\n\n## Same\n\n```sh\n# no heading\n```\n")
    assert anchors(page) == {"the-nas-page-2-parts", "a_b-c-d", "same", "same-1"}


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("training.md#images", ""),
        ("#exit-status", ""),
        ("../experiments/export/README.md", ""),
        ("https://optuna.org", ""),
        ("training.md#picture", "training.md has no heading picture"),
        ("nowhere.md", "there is no such file"),
        ("../../nowhere.md", "there is no such file"),
        ("../experiments", "the site cannot show a folder"),
        ("http://optuna.org", "it is no address that begins with https://"),
    ],
)
def test_wrong_links_are_found(target: str, wrong: str) -> None:
    assert problem(Link(ROOT / "docs" / "cli.md", 1, target)) == wrong
