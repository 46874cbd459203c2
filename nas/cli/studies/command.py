"""`nas studies`: the studies of a database."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.options import json_option, studies_option
from nas.cli.shared.verbs import Verbs
from nas.errors import StudyError
from nas.studies.defaults import DEFAULT_STORAGE

if TYPE_CHECKING:
    from nas.studies.records import Record, StudyView


@frozen
class StudiesOptions:
    """Hold the parsed options of `nas studies`."""

    storage: str
    as_json: bool


@click.group(
    cls=Verbs,
    verbs={"delete": "nas.cli.studies.delete", "restore": "nas.cli.studies.restore"},
    invoke_without_command=True,
)
@studies_option
@json_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """List the studies of a database with their trials and best results.

    \b
    Example:
      nas studies --storage sqlite:///nas.db
      nas studies delete demo
      nas studies restore --into nas-restored.db
    """
    given = StudiesOptions(**options)
    if context.invoked_subcommand is None:
        _list(given)
    elif given.as_json or given.storage != DEFAULT_STORAGE:
        raise click.UsageError(f"options of {context.invoked_subcommand} stand behind the word")


def _list(given: StudiesOptions) -> None:
    """Print the studies that can be read; then report those that cannot."""
    from nas.cli.shared.printing import print_json, say
    from nas.search.job_study import job_study_names
    from nas.studies.opening import open_storage
    from nas.studies.own_study import describe_foreign
    from nas.studies.study import read_study, study_names

    opened = open_storage(given.storage, create=False)
    views, unreadable = _read(study_names(opened), partial(read_study, opened))
    rows = [_row(view) for view in views]
    if rows or not unreadable:
        (print_json if given.as_json else _print)(rows)
    for view in views:
        if view.foreign:
            say(f"study {view.name}: {describe_foreign(view.foreign)}")
    if not given.as_json and (jobs := job_study_names(opened)):
        click.echo(
            f"studies of nas scale and nas check: {', '.join(jobs)}; the command that made a study shows its results"
        )
    for error in unreadable[:-1]:
        say(f"{error.problem}\n  {error.remedy}")
    if unreadable:
        raise unreadable[-1]


def _read(names: Iterable[str], read: "Callable[[str], StudyView]") -> "tuple[list[StudyView], list[StudyError]]":
    """Return the studies that can be read, and an error for each of the others."""
    views, unreadable = [], []
    for name in names:
        try:
            views.append(read(name))
        except StudyError as error:
            unreadable.append(error)
    return views, unreadable


def _print(rows: Iterable[Mapping[str, Any]]) -> None:
    from nas.cli.shared.printing import number, percent, print_table

    headers = ("study", "begun", "targets", "data", "trials", "killed", "best accuracy", "best score")
    print_table(
        headers,
        [
            (
                row["study"],
                row["begun"] or "-",
                " ".join(row["targets"]),
                row["data"],
                str(row["trials"]),
                str(row["killed"]),
                percent(row["best_accuracy"]),
                number(row["best_score"]),
            )
            for row in rows
        ],
        left=4,
    )


def _row(view: "StudyView") -> dict[str, Any]:
    best = view.best
    interval = None if best is None else view.interval(best)
    return {
        "study": view.name,
        "begun": view.created,
        "space": view.settings["space"],
        "targets": view.settings["targets"],
        "objective": view.settings["objective"],
        "data": _data(view.settings["proxy"]),
        "trials": view.counted,
        "killed": sum(record.state == "killed" for record in view.records),
        "foreign": len(view.foreign),
        "best_accuracy": None if interval is None else interval.value,
        "best_score": None if best is None else _score(view, best),
    }


def _data(proxy: Mapping[str, Any]) -> str:
    """Return the images of the proxy task, or the other source of accuracies."""
    return str(next((proxy[name] for name in ("data", "table", "function") if name in proxy), "-"))


def _score(view: "StudyView", best: "Record") -> float | None:
    """Return the score that the recommended trial is expected to have, or without a model that of its own accuracy."""
    expected = view.expected.get(best.number)
    return best.score if expected is None else expected.score
