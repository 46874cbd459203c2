"""A section of a report page: what an analysis found, as text, figures and tables, or why it cannot be shown."""

import shlex
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
from attrs import field, frozen


def _figures(figures: "Iterable[Figure]") -> "tuple[Figure, ...]":
    return tuple(figures)


def _tables(tables: "Iterable[Table]") -> "tuple[Table, ...]":
    return tuple(tables)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def _commands(commands: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter(None, commands))


def _numbers(numbers: Iterable[int]) -> frozenset[int]:
    return frozenset(numbers)


def _rows(rows: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row) for row in rows)


@frozen
class Figure:
    """Hold one figure of a section: either a plotly figure or a complete SVG element.

    Attributes:
        id: Name of the figure, which is unique on the page: small letters, digits and hyphens.
        alt_text: What the figure shows, in a sentence, for readers who do not see it. It is not escaped.
        figure: The plotly figure; None if `svg` holds the figure. It has traces of the types scatter, bar and pie only.
        svg: The text of an `<svg>` element, in which all names are escaped; "" if `figure` holds the figure.
        height_px: Height of the plotly figure in pixels; an SVG element has its own.
    """

    id: str
    alt_text: str
    figure: go.Figure | None = field(default=None, eq=False, repr=False)
    svg: str = field(default="", repr=False)
    height_px: int = 420

    def __attrs_post_init__(self) -> None:
        if (self.figure is None) == (not self.svg):
            raise ValueError(f"figure {self.id} needs either a plotly figure or an SVG element")


@frozen
class Table:
    """Hold one table of a section, as plain text that the page escapes.

    Attributes:
        caption: What the table shows.
        headers: Titles of the columns, with their units.
        rows: Texts of the cells, row by row.
        numeric: Columns that hold numbers, counted from 0; the page aligns them to the right.
    """

    caption: str
    headers: tuple[str, ...] = field(converter=_texts)
    rows: tuple[tuple[str, ...], ...] = field(converter=_rows)
    numeric: frozenset[int] = field(default=frozenset(), converter=_numbers)


@frozen
class Section:
    """Hold a section of a report page.

    All texts are plain: the page escapes them.

    Attributes:
        title: Title of the section.
        text: How to read what is shown, in one or a few sentences; "" if there is nothing to show.
        figures: Figures of the section.
        tables: Tables of the section.
        missing: Why the section has nothing to show, and the command that provides it; "" if it has.
        commands: Commands that add to the section, or that make what it computes; see `command`.
    """

    title: str
    text: str = ""
    figures: tuple[Figure, ...] = field(default=(), converter=_figures)
    tables: tuple[Table, ...] = field(default=(), converter=_tables)
    missing: str = ""
    commands: tuple[str, ...] = field(default=(), converter=_commands)


def command(*words: str) -> str:
    """Return a command of a shell from words that are not yet quoted; "" if it could not be pasted into a shell.

    Example:
        >>> command("nas", "show", "study:a b:best")
        "nas show 'study:a b:best'"
    """
    return " ".join(map(shlex.quote, words)) if all(map(str.isprintable, words)) else ""


def missing(title: str, reason: str, commands: Sequence[str] = ()) -> Section:
    """Return a section that says why it has nothing to show.

    Example:
        >>> missing("Latency table", "The study has no latency target.").missing
        'The study has no latency target.'
    """
    return Section(title, missing=reason, commands=tuple(commands))
