"""The generated pages are what the code says, and say what is asked of them."""

import inspect
import re

import pytest

import nas
from nas.cli.shared import exits
from nas.errors import EvaluationLostError
from tests.cli.conftest import ROOT
from tests.cli.help_pages import contexts
from tests.docs.cli_page import STATUSES
from tests.docs.docstrings import parse
from tests.docs.errors_page import AREAS, collected, names, names_shown
from tests.docs.markdown import escape
from tests.docs.pages import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_the_one_in_the_repository(name: str) -> None:
    is_same = PAGES[name]() == (DOCS / name).read_text(encoding="utf-8")
    assert is_same, "write it anew with `python -m tests.docs.pages` and look at the difference"


def test_all_commands_and_options_are_on_their_page() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for words, context in contexts().items():
        section = text.partition(f"\n## {words}\n")[2].partition("\n## ")[0]
        shared = {"--quiet", "-q", "--verbose", "-v", "--help", "-h"} if context.parent else set()
        options = {name for option in context.command.params for name in option.opts if name.startswith("-")} - shared
        assert {name for name in options if name not in section} == set()


def test_all_statuses_have_a_meaning() -> None:
    assert set(STATUSES) == {0, *(value for value in vars(exits).values() if isinstance(value, int))}


def test_all_public_names_are_on_their_page() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert [name for name in nas.__all__ if f"nas.{name}" not in text] == []


def test_all_classes_of_errors_are_on_their_page() -> None:
    headings = re.findall("^## (.*)$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == names()
    assert EvaluationLostError.__name__ in headings


def test_all_classes_of_errors_in_the_code_have_a_kind() -> None:
    known = names_shown()
    for path in (ROOT / "nas").rglob("*.py"):
        for name, base in re.findall(r"^class (\w+)\((\w+)\):", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name in known or base not in known, f"{path}: state the kind of {name} in `names_shown`"


def test_messages_are_collected_from_the_code() -> None:
    found = collected()
    assert {one.package for one in found} <= set(AREAS)
    texts = {(one.kind, one.problem) for one in found}
    assert ("ArchitectureError", "the architecture has no stage") in texts
    assert ("NasError", "the split is ‹split›; it must be test, val or train") in texts


def test_a_docstring_is_read_into_its_parts() -> None:
    text = """Do a thing.

    More of it.

    Args:
        first: Its text, which
            goes on.
        second: Another one: with a colon.

    Returns:
        A number.

    >>> 1
    1
    """
    found = parse(inspect.cleandoc(text))
    assert found.paragraphs == ("Do a thing.", "More of it.")
    assert found.rows["Args"] == (("first", "Its text, which goes on."), ("second", "Another one: with a colon."))
    assert (found.texts["Returns"], found.example) == ("A number.", ">>> 1\n1")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("a_b *c* `d|e` f|g", r"a_b \*c\* `d|e` f\|g"), ("1<=x [y]", r"1\<=x \[y\]"), ("_private", r"\_private")],
)
def test_characters_of_markdown_mean_themselves(text: str, escaped: str) -> None:
    assert escape(text) == escaped
