"""The report page of a study, rendered from its answers, networks and sections."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import field, frozen
from markupsafe import Markup

from nas.report.page.answer import Answer
from nas.report.page.selection import Network
from nas.report.pages import asset, figure_block, plain, render, script_json
from nas.report.section import Figure, Section


@frozen
class Page:
    """Hold everything that a report page shows. All texts are plain; rendering escapes them.

    Attributes:
        study: Name of the study.
        subtitle: State of the study in one line.
        answers: Questions and answers at the top.
        front: Section of accuracy against cost.
        networks: Networks that can be selected, the first one selected at the start.
        columns: All trials as columns; see `nas.report.page.selection.columns`.
        sections: Sections below the front.
        written: Time at which the page is written.
        refresh_s: Seconds after which an open page loads itself again; None for a page that is not written again.
    """

    study: str
    subtitle: str
    answers: tuple[Answer, ...]
    front: Section
    networks: tuple[Network, ...]
    columns: Mapping[str, Any] = field(repr=False)
    sections: tuple[Section, ...] = field(repr=False)
    written: datetime = field(eq=False)
    refresh_s: float | None = None


def page_bytes(page: Page) -> bytes:
    """Return a report page as HTML."""
    everything = (page.front, *page.sections)
    return render(
        "report.html.jinja",
        title=f"Report of study {plain(page.study)}",
        scripts=(asset("report.js"),),
        styles=(asset("report.css"),),
        has_figures=any(figure.figure is not None for section in everything for figure in section.figures),
        page=page,
        plain=plain,
        anchor=anchor,
        block=_block,
        capital=capital,
        ids=_identifiers(everything),
        written=page.written.strftime("%Y-%m-%d %H:%M:%S"),
        state=script_json({"study": page.study, "refresh_s": page.refresh_s, "networks": _texts(page.networks)}),
        columns=script_json(page.columns),
    )


def capital(text: str) -> str:
    """Return a text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def anchor(title: str) -> str:
    """Return the identifier of the part of a page that has a title.

    >>> anchor("How sure is that?")
    'how-sure-is-that'
    """
    return "-".join("".join(one if one.isalnum() else " " for one in title.lower()).split())


def _block(figure: Figure) -> Markup:
    if figure.figure is not None:
        meta = figure.figure.layout.meta or {}
        figure.figure.update_layout(meta={k: plain(v) if isinstance(v, str) else v for k, v in meta.items()})
        return figure_block(figure.figure, figure.id, plain(figure.alt_text), height_px=figure.height_px)
    return Markup(figure.svg)  # noqa: S704 -- names in it are escaped where it is drawn


def _identifiers(sections: Sequence[Section]) -> Mapping[str, str]:
    return {section.title: anchor(section.title) for section in sections}


def _texts(networks: Sequence[Network]) -> list[dict[str, Any]]:
    return [
        {
            "number": each.number,
            "name": plain(each.name),
            "roles": [plain(role) for role in each.roles],
            "accuracy": plain(each.accuracy),
            "costs": [[plain(name), plain(amount)] for name, amount in each.costs],
            "text": plain(each.text),
            "commands": [[what, command] for what, command in each.commands],
        }
        for each in networks
    ]
