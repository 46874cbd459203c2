"""`nas report`: one page that says which network of a study to use, why, how sure that is, and what it costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.garbage import without_collection
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import file_option, json_option, studies_option
from nas.cli.shared.parameter_types import NumberRange
from nas.cli.shared.verbs import Verb
from nas.output_kinds import PAGE

if TYPE_CHECKING:
    from nas.api.report import Written

DEFAULT = Path("report.html")
SECONDS = 5.0


@frozen
class ReportOptions:
    """Hold the parsed options of `nas report`."""

    study: str
    storage: str
    out: Path | None
    watch: float | None
    as_json: bool

    @property
    def path(self) -> Path:
        """Return the file of the page."""
        return self.out or DEFAULT


@click.command(cls=Verb)
@click.argument("study")
@studies_option
@file_option("out", "Page to write; an existing page is replaced.", PAGE, str(DEFAULT))
@option(
    Group.OUTPUT,
    "--watch",
    type=NumberRange(1, 3600),
    is_flag=False,
    flag_value=SECONDS,
    default=None,
    metavar="[SECONDS]",
    show_default=f"write once; {SECONDS:g} without a number",
    help="Write the page again whenever the study has changed, looked at every SECONDS, until the search ends. An open "
    "page loads itself again and keeps its place and its selection.",
)
@json_option
def command(**options: Any) -> None:
    """Write a page that says which network of a study to use, why, how sure that is, and what it costs.

    \b
    Example:
      nas report demo
      nas report demo --out demo.html
      nas report demo --watch

    The page is one file that needs no network and no server. It answers what was asked, which network to use and why,
    how sure that is, and what it costs on the device. Below that are the Pareto front, whose networks can be selected
    to see the commands that show, train and export them, the history, what the best networks have in common, the
    network as a diagram, the scaled family, latencies, failures, full training runs, and the commands that made it.
    """
    from nas.api.report import report, watch_report
    from nas.cli.shared.printing import print_json

    given = ReportOptions(**options)
    if given.watch is None:
        with without_collection():
            report(given.study, out=given.path, storage=given.storage)
        if given.as_json:
            print_json({"study": given.study, "page": str(given.path)})
        else:
            click.echo(f"wrote {given.path}")
        return
    for written in watch_report(given.study, given.path, given.storage, given.watch):
        _say(written, given)


def _say(written: "Written", given: ReportOptions) -> None:
    from nas.cli.shared.printing import print_json, say

    if written.problem:
        say(f"the study could not be read, and is tried again: {written.problem}")
    elif given.as_json:
        if written.is_last:
            print_json({"study": given.study, "page": str(given.path), "trials": written.trials})
    else:
        end = "; no process is searching, so that this is the last page" if written.is_last else ""
        click.echo(f"wrote {given.path} after {written.trials} trials{end}")
