"""`nas studies delete`: remove a study from its database."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option, studies_option
from nas.cli.shared.verbs import Verb
from nas.errors import StudyError

if TYPE_CHECKING:
    from nas.studies.deletion import Deletable


@frozen
class DeleteOptions:
    """Hold the parsed options of `nas studies delete`."""

    name: str
    storage: str
    yes: bool
    journal: bool
    as_json: bool


@click.command(cls=Verb)
@click.argument("name")
@studies_option
@option(Group.STUDY, "--journal", is_flag=True, help="Delete the journal too, so that the study cannot be restored.")
@option(Group.STUDY, "--yes", is_flag=True, help="Delete without asking for confirmation.")
@json_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Delete a study and its trials from their database.

    \b
    Example:
      nas studies delete demo
      nas studies delete demo --yes --journal --storage sqlite:///nas.db

    Beside a SQLite database, the journal of the study is kept: `nas studies restore` brings the study back from it. A
    study that a process is using is not deleted, nor is one that another tool made.
    """
    from nas.studies.deletion import find_deletable

    given = DeleteOptions(**options)
    found = find_deletable(given.storage, given.name)
    if not given.yes and not _is_confirmed(found, given):
        click.echo("Nothing was deleted.", err=True)
        context.exit(1)
    found.delete(with_journal=given.journal)
    _print(found, given)


def _is_confirmed(found: "Deletable", given: DeleteOptions) -> bool:
    """Ask on the terminal whether to delete.

    Raises:
        StudyError: There is no terminal to ask on.
    """
    from nas.studies.urls import mask

    what = f"study {found.name} with {found.trials} trials from {mask(given.storage)}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise StudyError(
            f"to delete {what} needs a confirmation, and there is no terminal to ask on",
            "repeat the command with --yes to delete it without being asked",
        )
    journal = " and its journal" if given.journal and found.journal else ""
    return click.confirm(f"Delete {what}{journal}?", err=True)


def _print(found: "Deletable", given: DeleteOptions) -> None:
    """Print what was deleted, and how a study whose journal is kept comes back."""
    from nas.cli.shared.printing import next_command, print_json
    from nas.studies.urls import mask

    kept = None if given.journal else found.journal
    if given.as_json:
        print_json(
            {
                "study": found.name,
                "storage": mask(given.storage),
                "trials": found.trials,
                "journal_kept": None if kept is None else str(kept),
            }
        )
        return
    click.echo(f"Study {found.name} with {found.trials} trials was deleted from {mask(given.storage)}.")
    if kept is not None:
        restore = next_command("studies", "restore", str(kept), "--into", _new_database(kept))
        click.echo(f"Its journal {kept} is kept. This command brings the study back:\n  {restore}")


def _new_database(journal: Path) -> str:
    """Return a name of a database for a restored study that no file has yet."""
    names = (f"nas-restored{number}.db" for number in ("", *range(2, 1000)))
    return str(next(path for path in map(journal.parent.with_name, names) if not path.exists()))
