"""`nas studies`: what has been searched."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.options import json_option, storage_option
from nas.cli.shared.verbs import Verbs
from nas.studies.defaults import DEFAULT_STORAGE

if TYPE_CHECKING:
    from nas.studies.records import StudyView


@click.group(cls=Verbs, verbs={"restore": "nas.cli.studies.restore"}, invoke_without_command=True)
@json_option
@storage_option
@click.pass_context
def command(context: click.Context, as_json: bool, storage: str) -> None:
    """List the studies of a database with their trials and best results.

    \b
    Example:
      nas studies --storage sqlite:///nas.db
      nas studies restore --into nas-restored.db
    """
    if context.invoked_subcommand is None:
        _list(as_json, storage)
    elif as_json or storage != DEFAULT_STORAGE:
        raise click.UsageError(f"give options behind the word {context.invoked_subcommand}")


def _list(as_json: bool, storage: str) -> None:
    from nas.cli.shared.printing import number, percent, print_json, print_table
    from nas.search.job_study import job_study_names
    from nas.studies.opening import open_storage
    from nas.studies.study import read_study, study_names

    opened = open_storage(storage, create=False)
    rows = [_row(read_study(opened, name)) for name in study_names(opened)]
    if as_json:
        print_json(rows)
        return
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
    if jobs := job_study_names(opened):
        click.echo(f"trainings of nas scale and nas check: {', '.join(jobs)}; the command that made one shows it again")


def _row(view: "StudyView") -> dict[str, Any]:
    best = view.best
    return {
        "study": view.name,
        "begun": view.created,
        "space": view.settings["space"],
        "targets": view.settings["targets"],
        "objective": view.settings["objective"],
        "data": _data(view.settings["proxy"]),
        "trials": view.counted,
        "killed": sum(record.state == "killed" for record in view.records),
        "best_accuracy": None if best is None else best.accuracy,
        "best_score": None if best is None else best.score,
    }


def _data(proxy: Mapping[str, Any]) -> str:
    """The images, or what the accuracies come from without any."""
    return str(next((proxy[name] for name in ("data", "table", "function") if name in proxy), "-"))
