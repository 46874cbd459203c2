"""`nas pareto`: the Pareto front of a study as a table, a page, a picture or rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from nas.cli.shared.options import PNG_HELP, file_option, json_option, studies_option
from nas.cli.shared.verbs import Verb

if TYPE_CHECKING:
    from nas.studies.records import Record, StudyView

USUAL = {"macs": "MACs", "params": "params", "peak_bytes": "peak memory"}


@frozen
class Files:
    """Hold the files to write."""

    html: Path | None
    png: Path | None
    csv: Path | None

    @property
    def written(self) -> list[Path]:
        """Return the files in the order of the command's report."""
        return [path for path in (self.html, self.png, self.csv) if path is not None]


@frozen
class ParetoOptions:
    """Hold the parsed options of `nas pareto`."""

    study: str
    storage: str
    html: Path | None
    png: Path | None
    csv: Path | None
    as_json: bool

    def files(self) -> Files:
        """Return the files that were asked for; a page of the figure if nothing at all was."""
        asked = Files(self.html, self.png, self.csv)
        if asked.written or self.as_json:
            return asked
        # A name of a study may be anything, a path included.
        name = re.sub(r"[^\w.=+-]+", "-", self.study).lstrip(".-") or "study"
        return Files(Path(f"{name}-pareto.html"), None, None)


@click.command(cls=Verb)
@click.argument("study")
@studies_option
@file_option("html", "Write the figure as a page that works offline.", "STUDY-pareto.html")
@file_option("png", PNG_HELP)
@file_option("csv", "Write a table with one row for each trial.")
@json_option
def command(**options: Any) -> None:
    """Show the Pareto front of a study: the trials that no other trial beats in both accuracy and cost.

    \b
    Example:
      nas pareto demo
      nas pareto demo --png demo.png --csv demo.csv

    Without --html, --png and --csv, the figure is written to STUDY-pareto.html in the working directory. With --json
    and none of them, no file is written.
    """
    from nas.cli.shared.printing import say
    from nas.studies.opening import open_storage
    from nas.studies.own_study import describe_foreign
    from nas.studies.study import read_study

    given = ParetoOptions(**options)
    view = read_study(open_storage(given.storage, create=False), given.study)
    if view.foreign:
        say(describe_foreign(view.foreign))
    files = given.files()
    _write(view, files)
    if given.as_json:
        _print_json(view)
    else:
        _print(view, files.written, given.storage)


def _write(view: "StudyView", files: Files) -> None:
    """Write all files; the picture comes first, because a browser that draws it can fail."""
    from nas.report.files import write_csv, write_html, write_png
    from nas.report.frame import trial_frame
    from nas.report.pareto import pareto_figure

    figure = pareto_figure(view) if files.html or files.png else None
    if files.png:
        write_png(files.png, figure)
    if files.html:
        write_html(files.html, figure, f"{view.name}: accuracy against cost")
    if files.csv:
        write_csv(files.csv, trial_frame(view))


def _print_json(view: "StudyView") -> None:
    from nas.cli.shared.printing import print_json
    from nas.report.frame import front_rows, rows, trial_frame

    frame = trial_frame(view)
    front = [row["trial"] for row in rows(front_rows(frame))]
    print_json({"study": view.name, "cost": view.cost_name, "rows": rows(frame), "front": front})


def _print(view: "StudyView", written: list[Path], storage: str) -> None:
    """Print the front and the baseline, the files that were written, and a command to continue with."""
    from nas.cli.shared.printing import next_command, print_table

    own = tuple(limit for limit in view.settings["limits"] if limit["cost"] not in USUAL)
    costs = tuple(limit["cost"].rpartition("_")[0] for limit in own)
    headers = (
        "architecture",
        view.accuracy_label,
        *USUAL.values(),
        *costs,
        *(("meets it",) if view.measurements else ()),
    )
    named = [*_named(view)]
    named += [(f"baseline {view.baseline.label}", view.baseline)] if view.baseline else []
    print_table(headers, [(*_cells(name, record, own), *_meets(view, record)) for name, record in named])
    for path in written:
        click.echo(f"wrote {path}")
    if view.front:
        which = f"study:{view.name}:pareto={len(view.front)}"
        click.echo(f"next: {next_command('show', which, storage=storage)}")
    else:
        click.echo("no trial of the study is complete yet")


def _named(view: "StudyView") -> "Iterator[tuple[str, Record]]":
    """Yield the front, and the best trial of the study if noise has kept it off the front."""
    from nas.objective import PARETO

    best = None if view.settings["objective"] == PARETO else view.best
    for i, record in enumerate(view.front, 1):
        yield f"pareto={i} (trial {record.number}{', best' if record is best else ''})", record
    if best is not None and best not in view.front:
        yield f"best (trial {best.number})", best


def _meets(view: "StudyView", record: "Record") -> tuple[str, ...]:
    """Return whether a trial met its target when it was verified; no cell at all if none was verified."""
    words = {True: "yes", False: "no", None: "-"}
    return (words[view.meets(record)],) if view.measurements else ()


def _cells(name: str, record: "Record", own: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    from nas.cli.shared.printing import millions, percent
    from nas.cost.base import format_amount

    def amount(cost: str, unit: str) -> str:
        value = record.costs.get(cost)
        return "-" if value is None else format_amount(value, unit)

    counts = (millions(record.costs.get("macs")), millions(record.costs.get("params")))
    amounts = (amount(limit["cost"], limit["unit"]) for limit in own)
    return (name, percent(record.accuracy), *counts, amount("peak_bytes", "bytes"), *amounts)
