"""`nas pareto`: a study's front as a table, a page, a picture or rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.shared.options import file_option, json_option, storage_option

if TYPE_CHECKING:
    from nas.studies.records import Record, StudyView

USUAL = {"macs": "MACs", "params": "params", "peak_bytes": "peak memory"}


@click.command()
@click.argument("study")
@file_option("html", "Write the figure as a page that needs no network.  [default: STUDY-pareto.html]")
@file_option("png", "Write the figure as a picture; needs hwnas[png] and Chrome or Chromium.")
@file_option("csv", "Write all trials as rows.")
@json_option
@storage_option
def command(study: str, html: Path | None, png: Path | None, csv: Path | None, as_json: bool, storage: str) -> None:
    """Show which trials of a study no other beats in accuracy and cost.

    \b
    Example:
      nas pareto demo
      nas pareto demo --png demo.png --csv demo.csv

    Without a file option the figure is written to STUDY-pareto.html here; with --json alone no file is written.
    """
    from nas.studies.opening import open_storage
    from nas.studies.study import read_study

    view = read_study(open_storage(storage, create=False), study)
    if not (html or png or csv or as_json):
        html = Path(f"{_file_name(study)}-pareto.html")
    _write(view, html, png, csv)
    if as_json:
        _print_json(view)
    else:
        _print(view, [path for path in (html, png, csv) if path], storage)


def _file_name(study: str) -> str:
    return re.sub(r"[^\w.=+-]+", "-", study).lstrip(".-") or "study"


def _write(view: "StudyView", html: Path | None, png: Path | None, csv: Path | None) -> None:
    """All files that were asked for; the picture first, since it is what can fail."""
    from nas.report.files import write_csv, write_html, write_png
    from nas.report.frame import trial_frame
    from nas.report.pareto import pareto_figure

    figure = pareto_figure(view) if html or png else None
    if png:
        write_png(png, figure)
    if html:
        write_html(html, figure, f"{view.name}: accuracy against cost")
    if csv:
        write_csv(csv, trial_frame(view))


def _print_json(view: "StudyView") -> None:
    from nas.cli.shared.printing import print_json
    from nas.report.frame import front_rows, rows, trial_frame

    frame = trial_frame(view)
    front = [row["trial"] for row in rows(front_rows(frame))]
    print_json({"study": view.name, "cost": view.cost_name, "rows": rows(frame), "front": front})


def _print(view: "StudyView", written: list[Path], storage: str) -> None:
    """The front beside the baseline, where the files are, and what to type next."""
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
        click.echo("no trial is complete yet")


def _named(view: "StudyView") -> "Iterator[tuple[str, Record]]":
    """The front, and the best of the study where it is not on it: noise may have put others there."""
    from nas.objective import PARETO

    best = None if view.settings["objective"] == PARETO else view.best
    for i, record in enumerate(view.front, 1):
        yield f"pareto={i} (trial {record.number}{', best' if record is best else ''})", record
    if best is not None and best not in view.front:
        yield f"best (trial {best.number})", best


def _meets(view: "StudyView", record: "Record") -> tuple[str, ...]:
    """Whether it met its target when it was measured in the end; a column only where some were."""
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
