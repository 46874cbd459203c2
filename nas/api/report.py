"""The report page of a study, and its repeated writing while a search goes on."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.quiet import quiet_optuna
from nas.errors import NasError, StudyError
from nas.output_kinds import PAGE, check_output, write_output
from nas.studies.defaults import DEFAULT_STORAGE

if TYPE_CHECKING:
    from nas.report.section import Section
    from nas.studies.opening import Storage
    from nas.studies.records import StudyView

FEWEST_SECONDS = 5.0  # between two loads of an open page, so that it can be read
ORDER = ("history", "choices", "importance", "network", "family", "device", "proxy")


@check_arguments
def report(study: str, *, out: str | Path = "report.html", storage: str = DEFAULT_STORAGE) -> Path:
    """Write the report page of a study: which network to use and why, how sure that is, and what it costs.

    The page is one file that needs no network. It also shows the Pareto front, the history, what the best networks have
    in common, the recommended network as a diagram, failures, and the commands that made the study.

    Args:
        study: Name of the study.
        out: File of the page, which ends in .html or .htm. An existing page is replaced.
        storage: Optuna URL of the database.

    Returns:
        The path of the page.

    Raises:
        StudyError: There is no such study or database, or it is damaged.
        NasError: The file cannot be written, or holds something else than a page.

    >>> import nas
    >>> made = nas.search("mnasnet", target="flops=100M", trials=6, evaluator="zero-cost:depth", study="demo")
    >>> nas.report("demo", out="demo.html").name
    'demo.html'
    """
    from nas.studies.opening import open_storage

    path = Path(out)
    check_output(path, PAGE)
    with quiet_optuna():
        write_output(path, render_report(open_storage(storage, create=False), study, storage), PAGE)
    return path


@frozen
class Written:
    """Represent one writing of the page of a study that is watched.

    Attributes:
        trials: Number of trials that count.
        is_last: Whether the search has ended.
        problem: Why the page could not be written again; "" if it was written.
    """

    trials: int
    is_last: bool
    problem: str = ""


def watch_report(
    study: str, out: Path, storage: str, seconds: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[Written]:
    """Write the report page of a study now and whenever the study has changed, until no process searches any more.

    A database that is locked or away is tried again. The last page does not load itself again. Yield each writing of
    the page, and each failure to read the study.

    Args:
        study: Name of the study.
        out: File of the page.
        storage: Optuna URL of the database.
        seconds: Seconds between two looks at the study.
        pause: Function that waits for a number of seconds.

    Raises:
        StudyError: There is no such study at the start, or it was deleted.
        NasError: The file cannot be written.
    """
    from nas.studies.opening import open_storage
    from nas.studies.study import read_study

    check_output(out, PAGE)
    opened, shown = open_storage(storage, create=False), None
    read_study(opened, study)  # Its error is final: the study does not exist.
    goes_on = True
    while goes_on:
        found = _look(opened, study, out)
        if isinstance(found, str):
            yield Written(0, is_last=False, problem=found)
        else:
            view, goes_on = found
            if view != shown or not goes_on:
                refresh = max(seconds, FEWEST_SECONDS) if goes_on else None
                write_output(out, render_report(opened, study, storage, view=view, refresh_s=refresh), PAGE)
                shown = view
                yield Written(view.counted, is_last=not goes_on)
        if goes_on:
            pause(seconds)


def _look(opened: "Storage", study: str, out: Path) -> "tuple[StudyView, bool] | str":
    """Return a study and whether any process is at work; the problem if it cannot be read now.

    Raises:
        StudyError: The study was deleted.
    """
    from nas.studies.activity import is_active
    from nas.studies.study import read_study, study_names

    try:
        # Whether a process is at work is read first: one that ends meanwhile has written everything before.
        goes_on = is_active(opened)
        return read_study(opened, study), goes_on
    except StudyError as error:
        if not _is_deleted(lambda: study_names(opened), study):
            return error.problem
    raise StudyError(f"study {study} was deleted while it was watched", f"the last page is still in {out}")


def _is_deleted(names: Callable[[], tuple[str, ...]], study: str) -> bool:
    try:
        return study not in names()
    except NasError:  # the database cannot be read now
        return False


def render_report(
    opened: "Storage",
    study: str,
    storage: str,
    *,
    view: "StudyView | None" = None,
    refresh_s: float | None = None,
) -> bytes:
    """Return the report page of a study as HTML.

    Args:
        opened: Storage of the study.
        study: Name of the study.
        storage: Optuna URL of the storage.
        view: The study as it was read; None reads it.
        refresh_s: Seconds after which an open page loads itself again; None for a page that is not written again.

    Raises:
        StudyError: There is no such study, or it is damaged.
    """
    from nas.report.page.answers import answers
    from nas.report.page.asked import asked
    from nas.report.page.front import front_section
    from nas.report.page.page import Page, page_bytes
    from nas.report.page.selection import columns, networks
    from nas.studies.activity import is_active
    from nas.studies.study import read_study

    view = read_study(opened, study) if view is None else view
    now = datetime.now()
    goes_on = refresh_s is not None or is_active(opened)
    page = Page(
        study=view.name,
        subtitle=asked(view).sentences[2],
        answers=answers(view, storage, is_active=goes_on),
        front=front_section(view),
        networks=networks(view, storage),
        columns=columns(view, storage),
        sections=tuple(_sections(opened, view, storage, now)),
        written=now,
        refresh_s=refresh_s,
    )
    return page_bytes(page)


def _sections(opened: "Storage", view: "StudyView", storage: str, now: datetime) -> "Iterator[Section]":
    """Yield the sections below the front, in the order of the page."""
    from nas.api.report_sections import report_sections
    from nas.report.commands import command_line
    from nas.report.page.failures import failures_section
    from nas.report.page.provenance import provenance_section
    from nas.report.page.trainings import trainings_section
    from nas.report.page.words import commands_of, data_of
    from nas.studies.activity import read_provenance
    from nas.studies.job_runs import stored_runs
    from nas.studies.trainings import read_trainings

    found = report_sections(view, storage, stored_runs(opened))
    yield from (found[name] for name in ORDER if name in found)
    yield failures_section(view)
    best = view.best
    commands = () if best is None else tuple(commands_of(view, best.number, data_of(view), storage))
    train = next((command for what, command in commands if what.startswith("train")), "")
    yield trainings_section(view, read_trainings(opened, view.name), train)
    made = _search_command(view, storage)
    again = command_line("report", view.name, storage=storage)
    yield provenance_section(view, storage, read_provenance(opened, view.name), (made[0], again), made[1], now)


def _search_command(view: "StudyView", storage: str) -> tuple[str, tuple[str, ...]]:
    """Return the command that made a study, and what it may lack."""
    from nas.api.search_command import search_command

    try:
        made = search_command(view, storage)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        # Another version, or another program, has written settings of another form.
        return "nas search --help", ("The settings have a form from which the command cannot be reconstructed.",)
    return str(made), made.notes
