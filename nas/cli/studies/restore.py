"""`nas studies restore`: studies from their journals."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.shared.options import json_option, storage_option
from nas.errors import StudyError

if TYPE_CHECKING:
    from nas.studies.restore import Contents

SHOWN = 5


@click.command()
@click.argument("files", nargs=-1, metavar="[JOURNAL]...", type=click.Path(path_type=Path))
@click.option("--into", required=True, metavar="NEW.db|URL", help="A database that does not hold these studies yet.")
@json_option
@storage_option
def command(files: tuple[Path, ...], into: str, as_json: bool, storage: str) -> None:
    """Take studies from their journals into a new database.

    \b
    Example:
      nas studies restore --into nas-restored.db
      nas studies restore nas-trials/demo.jsonl --into nas-restored.db

    Without a JOURNAL, all those beside the database of --storage are taken. A restored study goes on by the command
    that made it, with --storage of the new database.
    """
    from nas.cli.shared.printing import print_json
    from nas.studies.restore import restore
    from nas.studies.urls import mask

    url = into if "://" in into else f"sqlite:///{into}"
    restored = restore(files or _beside(storage), url)
    if as_json:
        print_json({"storage": mask(url), "studies": [_row(contents) for contents in restored]})
    else:
        _print(restored, url)


def _beside(storage: str) -> tuple[Path, ...]:
    from nas.studies.journal_files import journal_folder, journals
    from nas.studies.urls import mask

    found = journals(storage)
    if not found:
        place = journal_folder(storage)
        where = f"in {place}" if place else f"beside {mask(storage)}, which is no SQLite file"
        raise StudyError(f"there are no journals {where}", "name them, or their database by --storage")
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
    """A line for each study, lines that were passed over, and what to type next."""
    from nas.cli.shared.printing import next_command, plain
    from nas.studies.urls import mask

    for contents in restored:
        passed, name = contents.skipped_lines, plain(contents.head.name)
        lost = f", {contents.gaps} that were under way or lost come again" if contents.gaps else ""
        click.echo(f"{name}: {len(contents.trials)} trials taken, {len(passed)} lines passed over{lost}")
        for line in passed[:SHOWN]:
            click.echo(f"  {contents.path} {plain(line)}")
        if len(passed) > SHOWN:
            click.echo(f"  and {len(passed) - SHOWN} more; --json has them all")
    click.echo(f"next: {next_command('studies', storage=url)}")
    click.echo(f"      the command that made a study goes on with it, given --storage {mask(url)}")
