"""Retired words stay out of the sources: one concept has one name, and it is the field's name."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Words that the project once used, and the field's word that replaced each.
RETIRED = {
    r"wish(es|ed)?|wishers?": "suggestion, suggest, sampler",
    r"heed(s|ed|ing)?": "check for interrupts, use",
    r"scribes?": "recorder",
    r"ledgers?": "history",
    r"handovers?|hand[ _]over": "final selection",
    r"tall(y|ies)": "progress",
    r"graphics[ _-]cards?": "GPU",
    r"proposers?|suggesters?": "sampler",
    r"verdicts?": "measurement, evaluation result",
    r"standings?": "score",
    r"leases?": "reservation, lock",
    r"picks": "choice indices",
}
# Names that are stored in studies and files or printed in JSON, and so cannot change.
STORED = {"nas:verdicts", "verdict", "verdicts"}
PATTERN = re.compile(rf"(?<![A-Za-z])({'|'.join(RETIRED)})(?![A-Za-z])", re.IGNORECASE)


def sources() -> list[Path]:
    """Return the package's modules and all pages."""
    return [*sorted((ROOT / "nas").rglob("*.py")), *sorted((ROOT / "docs").glob("*.md")), *ROOT.glob("*.md")]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line numbers and texts of a file: names, comments and strings of a module, lines of a page."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        is_stored = token.type == tokenize.STRING and _value(token.string) in STORED
        if token.type in (tokenize.NAME, tokenize.COMMENT, tokenize.STRING) and not is_stored:
            yield token.start[0], re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", token.string)


def _value(literal: str) -> object:
    try:
        return ast.literal_eval(literal)
    except ValueError:  # an f-string
        return None


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_used(path: Path) -> None:
    found = [f"line {line}: {match[0]}" for line, text in texts(path) for match in PATTERN.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["class Wisher: ...", "def hand_over(): ...", "# the tally so far", 'say("on a graphics card")', "x = ledger_rows"],
)
def test_a_retired_word_in_made_up_code_is_found(source: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert any(PATTERN.search(text) for _, text in texts(path))


@pytest.mark.parametrize("source", ['key = "verdict"', "standards = 1", "whole = pickle"])
def test_stored_names_and_other_words_are_not_reported(source: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert not any(PATTERN.search(text) for _, text in texts(path))
