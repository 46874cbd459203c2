"""The section of where a report comes from: database, versions, machine, precision, seeds and dates."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from nas.report.page.words import plural
from nas.report.section import Section, Table
from nas.studies.records import StudyView
from nas.studies.urls import mask
from nas.version import __version__

if TYPE_CHECKING:
    from nas.studies.activity import Provenance

TITLE = "Where this comes from"


def provenance_section(
    view: StudyView, storage: str, found: "Provenance", commands: Sequence[str], notes: Iterable[str], written: datetime
) -> Section:
    """Return the section of the provenance of a report.

    Args:
        view: The study.
        storage: URL of its database; its passwords are left out.
        found: What its trials hold of their origin.
        commands: Commands that made the study and this page.
        notes: What the commands may lack.
        written: Time at which the page is written.
    """
    text = "The commands below continue the study and write such a page. " + " ".join(notes)
    table = Table("Origin of the study and of this page", ("What", "Value"), _facts(view, storage, found, written))
    return Section(TITLE, text, (), (table,), commands=tuple(commands))


def _facts(view: StudyView, storage: str, found: "Provenance", written: datetime) -> Iterator[tuple[str, str]]:
    proxy = view.settings["proxy"]
    yield "study", view.name
    yield "database", mask(storage)
    yield "first trial began", _time(found.begun)
    yield "last trial ended", _time(found.ended)
    yield "page written", f"{_time(written)}, by nas {__version__}"
    for label, values in (("software", found.versions), ("environment", found.environments)):
        yield label, "; ".join(f"{text} ({plural(count, 'trial')})" for text, count in values) or "unknown"
    if found.threads:
        yield "threads of a training run", "; ".join(f"{count} on {machine}" for machine, count in found.threads)
    yield (
        "seeds",
        ", ".join(sorted({str(record.seed) for record in view.records if record.seed is not None})) or "unknown",
    )
    if "precision" in proxy:
        yield "precision of the evaluation", str(proxy["precision"])
    for limit in view.settings["limits"]:
        for name, value in limit.get("basis", {}).items():
            yield f"{limit['cost']}, {name}", str(value)
    for name in ("fingerprint", "sha256"):
        if name in proxy:
            yield f"{name} of the data", str(proxy[name])
    yield "digest of the search space", str(view.settings.get("space_sha256", "unknown"))


def _time(when: datetime | None) -> str:
    return "unknown" if when is None else when.strftime("%Y-%m-%d %H:%M:%S")
