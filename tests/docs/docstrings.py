"""Docstrings in Google's style, read into their parts."""

import re
from collections.abc import Mapping

from attrs import frozen

_ROWS, _TEXTS = ("Args", "Attributes", "Raises"), ("Returns", "Yields")
_SECTION = re.compile(rf"({'|'.join((*_ROWS, *_TEXTS))}):\n")


@frozen
class Docstring:
    """Hold the parts of a docstring.

    Attributes:
        paragraphs: The summary and the paragraphs after it.
        rows: Names and texts of each section that describes names, in their order.
        texts: Texts of the other sections.
        example: The lines of the examples; "" without one.
    """

    paragraphs: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[str, str], ...]]
    texts: Mapping[str, str]
    example: str


def parse(text: str) -> Docstring:
    """Return the parts of a docstring."""
    paragraphs: list[str] = []
    rows: dict[str, tuple[tuple[str, str], ...]] = {}
    texts: dict[str, str] = {}
    examples: list[str] = []
    for block in re.split(r"\n{2,}", text.strip()):
        section = _SECTION.match(block)
        if block.startswith(">>>"):
            examples.append(block)
        elif section is None:
            paragraphs.append(block)
        elif section[1] in _ROWS:
            rows[section[1]] = _entries(block[section.end() :])
        else:
            texts[section[1]] = " ".join(block[section.end() :].split())
    return Docstring(tuple(paragraphs), rows, texts, "\n\n".join(examples))


def _entries(text: str) -> tuple[tuple[str, str], ...]:
    entries = re.split(r"^    (?=\S)", text, flags=re.MULTILINE)
    return tuple((name, " ".join(rest.split())) for name, _, rest in (one.partition(": ") for one in entries if one))
