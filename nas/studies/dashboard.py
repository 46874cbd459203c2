"""Notes and a figure in a study, as optuna-dashboard stores them; it can show them although it has no code of nas.

Its functions `save_note` and `save_plotly_graph_object` are documented, and write system attributes of the study: a
version and the parts of a text of at most 2,045 characters each. The same attributes are written here, in one
transaction, instead of through that package, which would have to be installed where a search runs and which writes each
part in a transaction of its own. Trials that have ended take no more attributes, so notes on trials are attributes of
the study too. Journals do not keep system attributes: the next end of a search writes them again.

A note that a user has written or changed is never replaced. The attribute `OWN` holds a digest of each note that nas
wrote, by which a changed note is recognized.
"""

import hashlib
import html
import logging
import re
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import optuna
import sqlalchemy
from attrs import frozen

from nas.cost.base import format_amount
from nas.optuna_private.identity import storage_of, study_id
from nas.optuna_private.identity import trial_id as id_of
from nas.optuna_private.tables import STUDY_SYSTEM_ATTRIBUTES, attribute_rows
from nas.studies.own_study import OwnStudy
from nas.studies.records import Record, StudyView
from nas.studies.tables import backend, in_transaction

OWN = "nas:dashboard"
FIGURE = "dashboard:plot_data:nas-pareto-front:"
PART = 2045  # characters of a part of a text
MOST_CHARACTERS = 4000  # of a text from the database in a note
STUDY_NOTE = ""
_LOG = logging.getLogger(__name__)
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~-])")


@frozen
class Contents:
    """Hold what a dashboard shows of a study.

    Attributes:
        notes: Notes in Markdown, by the database's number of the trial; `STUDY_NOTE` is the study's own.
        figure: A figure of plotly as JSON; "" for none.
    """

    notes: Mapping[str, str]
    figure: str = ""


def store_dashboard(study: OwnStudy, view: StudyView, draw: Callable[[StudyView], str]) -> None:
    """Store which trial is recommended, and the front as a figure. A failure is logged and not raised.

    Args:
        study: The study.
        view: The same study as it was read.
        draw: Function that returns a figure of plotly as JSON, "" for none.
    """
    try:
        _store(study, contents_of(study, view, draw(view)))
    except Exception as error:  # the trials are stored; a search must not fail because of a figure of them
        _LOG.debug("Nothing is stored for optuna-dashboard: %s: %s.", type(error).__name__, error)


def contents_of(study: OwnStudy, view: StudyView, figure: str) -> Contents:
    """Return what a dashboard has to show of a study."""
    best = view.best
    notes = {STUDY_NOTE: study_note(view)}
    if best is not None:
        trial = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == best.number)
        notes[str(id_of(trial))] = f"**Recommended by `nas search`:** {_described(view, best)}"
    return Contents(notes, figure)


def study_note(view: StudyView) -> str:
    """Return the note on a study, in Markdown: what is recommended, and why."""
    best, targets = view.best, " and ".join(map(str, view.settings["targets"]))
    lines = [f"## {_text(targets)}", ""]
    if best is None:
        lines += [f"**No network is recommended:** {_text(view.recommendation.reason)}."]
    else:
        lines += [f"**Recommended: trial {best.number}**, {_described(view, best)}", "", *_code(best.arch)]
    count = f"{view.counted:,} trial{'' if view.counted == 1 else 's'}"
    return "\n".join([*lines, "", f"Written by `nas search` after {count}."])


def _described(view: StudyView, record: Record) -> str:
    """Return the accuracy of a trial with its interval, its costs, and the reason for the choice."""
    interval = view.interval(record)
    accuracy = "unknown" if interval is None else f"{100 * interval.value:.2f}%"
    within = "interval unknown"
    if interval is not None and interval.low is not None and interval.high is not None:
        within = f"95% interval {100 * interval.low:.1f}% to {100 * interval.high:.1f}%"
    costs = [
        f"{format_amount(record.costs[limit['cost']], limit['unit'])} of {format_amount(limit['high'], limit['unit'])}"
        for limit in view.settings["limits"]
        if limit["cost"] in record.costs
    ]
    measurement = view.measurements.get(record.number)
    if measurement is not None:
        unit = next((limit["unit"] for limit in view.settings["limits"] if limit["cost"] == measurement.cost), "")
        costs.append(f"measured {format_amount(measurement.measured, unit)}")
    figures = ", ".join([f"{view.accuracy_label} {accuracy} ({within})", *costs])
    return f"{_text(figures)}. The reason: {_text(view.recommendation.reason)}."


def _text(text: str) -> str:
    """Return a text in one line that Markdown and HTML show as it is."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:MOST_CHARACTERS])
    return _MARKUP.sub(r"\\\1", html.escape(shown, quote=False))


def _code(text: str) -> list[str]:
    """Return the lines of a block of code; being indented, no text can end it."""
    lines = text[:MOST_CHARACTERS].splitlines()
    return [f"    {''.join(letter if letter.isprintable() else ' ' for letter in line)}" for line in lines]


def _store(study: optuna.Study, contents: Contents) -> None:
    storage, number = storage_of(study), study_id(study)
    new = changes(storage.get_study_system_attrs(number), contents)
    if not new:
        return
    table = STUDY_SYSTEM_ATTRIBUTES

    def write(session: Any) -> None:
        session.execute(sqlalchemy.delete(table).where(table.c.study_id == number, table.c.key.in_(sorted(new))))
        session.execute(sqlalchemy.insert(table), [{"study_id": number, **row} for row in attribute_rows(new)])

    in_transaction(backend(storage), write)


def changes(known: Mapping[str, Any], contents: Contents) -> dict[str, Any]:
    """Return the system attributes that have to be written so that a dashboard shows these contents.

    Args:
        known: System attributes of the study.
        contents: What has to be shown.
    """
    digests = dict(known.get(OWN) or {})
    # A trial that is no longer recommended loses its note.
    notes = {**dict.fromkeys(digests, ""), **contents.notes}
    new: dict[str, Any] = {}
    for key, note in notes.items():
        version, prefix = (
            (f"dashboard:{key}:note_ver", f"dashboard:{key}:note_str:")
            if key
            else (
                "dashboard:note_ver",
                "dashboard:note_str:",
            )
        )
        present = _whole(known, prefix)
        if present and _digest(present) != digests.get(key):
            digests.pop(key, None)  # somebody has written it
            continue
        if present != note:
            new |= {version: int(known.get(version) or 0) + 1, **_parts(known, prefix, note)}
        digests |= {key: _digest(note)}
        if not note:
            del digests[key]
    if contents.figure and _whole(known, FIGURE) != contents.figure:
        new |= _parts(known, FIGURE, contents.figure)
    if digests != (known.get(OWN) or {}):
        new[OWN] = digests
    return new


def _whole(known: Mapping[str, Any], prefix: str) -> str:
    """Return a text whose parts are attributes, as a dashboard puts it together."""
    count = sum(key.startswith(prefix) for key in known)
    return "".join(str(known.get(f"{prefix}{index}", "")) for index in range(count))


def _parts(known: Mapping[str, Any], prefix: str, text: str) -> dict[str, str]:
    """Return the attributes of a text; parts of a longer one that was there before become empty."""
    count = max(ceil(len(text) / PART), sum(key.startswith(prefix) for key in known))
    return {f"{prefix}{index}": text[index * PART : (index + 1) * PART] for index in range(count)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
