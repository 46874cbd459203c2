"""`nas studies restore`: studies from their journals into a new database."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import json_option, storage_option_of
from nas.cli.shared.verbs import Verb
from nas.errors import StudyError

if TYPE_CHECKING:
    from nas.studies.restore import Contents

SHOWN = 5  # skipped lines of a journal


@frozen
class RestoreOptions:
    """Hold the parsed options of `nas studies restore`."""

    files: tuple[Path, ...]
    into: str
    storage: str
    as_json: bool

    @property
    def url(self) -> str:
        """Return the storage URL of the new database, which may be given as a file."""
        return self.into if "://" in self.into else f"sqlite:///{self.into}"


@click.command(cls=Verb)
@click.argument("files", nargs=-1, metavar="[JOURNAL]...", type=click.Path(path_type=Path))
@option(
    Group.STUDY,
    "--into",
    required=True,
    metavar="NEW.db|URL",
    help="Database to restore into, which must not contain these studies yet.",
)
@storage_option_of(Group.STUDY, "Database whose journals are read if no JOURNAL is named")
@json_option
def command(**options: Any) -> None:
    """Restore studies from their journals into a new database.

    \b
    Example:
      nas studies restore --into nas-restored.db
      nas studies restore nas-trials/demo.jsonl --into nas-restored.db

    Without a JOURNAL, all journals beside the database of --storage are restored. The command that made a study
    continues it, if it is given the new database as --storage.
    """
    from nas.cli.shared.printing import print_json
    from nas.studies.restore import restore
    from nas.studies.urls import mask

    given = RestoreOptions(**options)
    restored = restore(given.files or _journals_beside(given.storage), given.url)
    if given.as_json:
        print_json({"storage": mask(given.url), "studies": [_row(contents) for contents in restored]})
    else:
        _print(restored, given.url)


def _journals_beside(storage: str) -> tuple[Path, ...]:
    """Return the journals beside a database.

    Raises:
        StudyError: There are none.
    """
    from nas.studies.journal_files import journal_folder, journals
    from nas.studies.urls import mask

    found = journals(storage)
    if not found:
        place = journal_folder(storage)
        where = f"in {place}" if place else f"beside {mask(storage)}; only SQLite files have journals"
        raise StudyError(f"there are no journals {where}", "name the journals, or their database with --storage")
    return found


def _row(contents: "Contents") -> dict[str, object]:
    return {
        "study": contents.head.name,
        "journal": str(contents.path),
        "trials": len(contents.trials),
        "lost": contents.gaps,
        "passed_over": list(contents.skipped_lines),
    }


def _print(restored: "tuple[Contents, ...]", url: str) -> None:
    """Print a line for each study, the lines that were skipped, and commands to continue with."""
    from nas.cli.shared.printing import next_command, plain
    from nas.studies.urls import mask

    for contents in restored:
        skipped, name = contents.skipped_lines, plain(contents.head.name)
        lost = f", {contents.gaps} unfinished or lost trials are evaluated again" if contents.gaps else ""
        click.echo(f"{name}: {len(contents.trials)} trials restored, {len(skipped)} lines skipped{lost}")
        for line in skipped[:SHOWN]:
            click.echo(f"  {contents.path} {plain(line)}")
        if len(skipped) > SHOWN:
            click.echo(f"  and {len(skipped) - SHOWN} more; --json lists all")
    click.echo(f"next: {next_command('studies', storage=url)}")
    click.echo(f"      the command that made a study continues it with --storage {mask(url)}")
