"""`nas pareto`: the Pareto front of a study as a table, a page, a picture or rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from attrs import frozen

from nas.cli.shared.options import PNG_HELP, file_option, json_option, studies_option
from nas.cli.shared.verbs import Verb
from nas.output_kinds import PAGE, PICTURE, TRIALS

if TYPE_CHECKING:
    from nas.studies.records import Record, StudyView

MARK = " *"
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
@file_option("html", "Write the figure as a page that works offline.", PAGE, "STUDY-pareto.html")
@file_option("png", PNG_HELP, PICTURE)
@file_option("csv", "Write a table with one row for each trial.", TRIALS)
@json_option
def command(**options: Any) -> None:
    """Show the Pareto front of a study: the trials that no other trial beats in both accuracy and cost.

    \b
    Example:
      nas pareto demo
      nas pareto demo --png demo.png --csv demo.csv

    Accuracies are means over all seeds with which a trial was trained. The network that nas search recommends is
    marked. Costs have their standard deviations, where they are not exact.

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
    recommended = attrs.asdict(view.recommendation)
    print_json(
        {
            "study": view.name,
            "cost": view.cost_name,
            "rows": rows(frame),
            "front": front,
            "recommended": recommended,
        }
    )


def _print(view: "StudyView", written: list[Path], storage: str) -> None:
    """Print the front and the baseline, the files that were written, and a command to continue with."""
    from nas.cli.shared.printing import next_command, print_table
    from nas.cost.base import cost_title

    own = tuple(limit for limit in view.settings["limits"] if limit["cost"] not in USUAL)
    costs = tuple(cost_title(limit["cost"]) for limit in own)
    measured = ("measured", "meets it") if view.measurements else ()
    headers = ("architecture", view.accuracy_label, *USUAL.values(), *costs, *measured)
    named = [*_named(view)]
    named += [(f"baseline {view.baseline.label}", view.baseline)] if view.baseline else []
    print_table(headers, [(*_cells(view, name, record, own), *_measured(view, record)) for name, record in named])
    for line in _legend(view, [record for _, record in named]):
        click.echo(line)
    for path in written:
        click.echo(f"wrote {path}")
    if view.front:
        which = f"study:{view.name}:pareto={len(view.front)}"
        click.echo(f"next: {next_command('show', which, storage=storage)}")


def _named(view: "StudyView") -> "Iterator[tuple[str, Record]]":
    """Yield the front, and the recommended trial if it is not on the front."""
    best = view.best
    for i, record in enumerate(view.front, 1):
        yield f"pareto={i} (trial {record.number}){MARK * (record is best)}", record
    if best is not None and best not in view.front:
        yield f"trial {best.number}{MARK}", best


def _legend(view: "StudyView", shown: "Sequence[Record]") -> "Iterator[str]":
    """Yield the lines that explain the table."""
    chosen = view.recommendation
    if chosen.trial is None:
        yield f"no network is recommended: {chosen.reason}"
    else:
        yield f"{MARK.strip()} recommended: trial {chosen.trial}; {chosen.reason}"
    if any(view.confirmed.get(record.number) for record in shown):
        yield "of N: mean over N evaluations with different seeds, ± half of its 95% interval"
    if own := [limit["cost"] for limit in view.own_limits if any(limit["cost"] in each.spreads for each in shown)]:
        yield f"{', '.join(own)}: as the search used it, ± one standard deviation of a call of the function"
    if any("latency_ms" in record.spreads for record in shown):
        yield "latency: as the search used it, ± one standard deviation, which for a prediction is the table's error"


def _measured(view: "StudyView", record: "Record") -> tuple[str, ...]:
    """Return the cost that was measured and whether it meets its target; no cells if none was measured."""
    from nas.cost.base import format_amount

    if not view.measurements:
        return ()
    measurement = view.measurements.get(record.number)
    if measurement is None:
        return ("-", "-")
    units = {limit["cost"]: limit["unit"] for limit in view.settings["limits"]}
    cost = format_amount(measurement.measured, units.get(measurement.cost, ""))
    return (f"{cost} ± {measurement.spread:.2g}", "yes" if measurement.meets else "no")


def _cells(view: "StudyView", name: str, record: "Record", own: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    from nas.cli.shared.printing import millions
    from nas.cost.base import format_amount

    def amount(cost: str, unit: str) -> str:
        value, spread = record.costs.get(cost), record.spreads.get(cost, 0.0)
        if value is None:
            return "-"
        return format_amount(value, unit) + ("" if spread == 0 else " ± ?" if spread is None else f" ± {spread:.2g}")

    counts = (millions(record.costs.get("macs")), millions(record.costs.get("params")))
    amounts = (amount(limit["cost"], limit["unit"]) for limit in own)
    return (name, _accuracy(view, record), *counts, amount("peak_bytes", "bytes"), *amounts)


def _accuracy(view: "StudyView", record: "Record") -> str:
    """Return the accuracy of a trial with its interval and the number of its evaluations, as far as they are known."""
    from nas.cli.shared.printing import percent

    interval, further = view.interval(record), view.confirmed.get(record.number, ())
    if interval is None:
        return "-"
    margin = ""
    if interval.low is not None and interval.high is not None:
        margin = f" ± {50 * (interval.high - interval.low):.2f}"
    return f"{percent(interval.value)}{margin}" + (f" of {len(further) + 1}" if further else "")
