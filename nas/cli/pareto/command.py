"""`nas pareto`: the Pareto front of a study, or of several, as a table, a page, a picture or rows."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import field, frozen

from nas.cli.shared.garbage import without_collection
from nas.cli.shared.groups import Group, option
from nas.cli.shared.options import PNG_HELP, file_option, json_option, studies_option
from nas.cli.shared.verbs import Verb
from nas.output_kinds import DRAWING, PAGE, PICTURE, TRIALS

if TYPE_CHECKING:
    from nas.studies.records import StudyView

LONGEST_FILE_NAME = 100  # characters of the names of studies in the name of the page


@frozen
class Files:
    """Hold the files to write."""

    html: Path | None = None
    png: Path | None = None
    svg: Path | None = None
    csv: Path | None = None

    @property
    def written(self) -> list[Path]:
        """Return the files in the order of the command's report."""
        return [path for path in (self.html, self.png, self.svg, self.csv) if path is not None]


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names)


@frozen
class ParetoOptions:
    """Hold the parsed options of `nas pareto`."""

    studies: tuple[str, ...] = field(converter=_names)
    x: str
    storage: str
    html: Path | None
    png: Path | None
    svg: Path | None
    csv: Path | None
    as_json: bool

    def files(self) -> Files:
        """Return the files that were asked for; a page of the figure if nothing at all was."""
        asked = Files(self.html, self.png, self.svg, self.csv)
        if asked.written or self.as_json:
            return asked
        # A name of a study may be anything, a path included.
        name = re.sub(r"[^\w.=+-]+", "-", "-".join(self.studies))[:LONGEST_FILE_NAME].lstrip(".-") or "study"
        return Files(html=Path(f"{name}-pareto.html"))


@click.command(cls=Verb)
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True)
@option(
    Group.STUDY,
    "--x",
    default="",
    metavar="COST",
    show_default="the cost that the first target limits",
    help="Cost of the front and of the figure: latency, macs, params, memory, size, or the name of a cost of your own.",
)
@studies_option
@file_option("html", "Write the figure as a page that works offline.", PAGE, "STUDY-pareto.html")
@file_option("png", PNG_HELP, PICTURE)
@file_option("svg", "Write the figure as an SVG drawing, with the same needs as --png.", DRAWING)
@file_option("csv", "Write a table with one row for each trial.", TRIALS)
@json_option
def command(**options: Any) -> None:
    """Show the Pareto front of a study: the trials that no other trial beats in both accuracy and cost.

    \b
    Example:
      nas pareto demo
      nas pareto demo --x params --png demo.png --csv demo.csv
      nas pareto phone laptop --x latency

    Accuracies are means over all seeds with which a trial was trained. The network that nas search recommends is
    marked. Costs have their standard deviations, where they are not exact, and those that were measured on the device
    after the search are shown beside the predicted ones.

    Several studies are drawn in one figure. The fronts of studies that were evaluated on the same images, and whose
    costs are of the same device, are merged as well. For others, the command states what differs.

    The hypervolume is the share of the area between the target, with the accuracy of always giving the most frequent
    class, and a network without cost or errors, that the front dominates. It is larger for better fronts.

    Without --html, --png, --svg and --csv, the figure is written to STUDY-pareto.html in the working directory. With
    --json and none of them, no file is written.
    """
    with without_collection():
        _run(ParetoOptions(**options))


def _run(given: ParetoOptions) -> None:
    from nas.cli.shared.printing import say
    from nas.studies.opening import open_storage
    from nas.studies.own_study import describe_foreign
    from nas.studies.study import read_study

    storage = open_storage(given.storage, create=False)
    views = [read_study(storage, name, with_params=False) for name in given.studies]
    for view in views:
        if view.foreign:
            say(describe_foreign(view.foreign))
    if len(views) == 1:
        _show(views[0], given)
    else:
        _show_several(views, given)


def _show(view: "StudyView", given: ParetoOptions) -> None:
    from nas.cli.pareto.table import print_study, study_json
    from nas.cli.shared.printing import print_json

    files = given.files()
    written = [path for path in (files.html, files.png, files.svg) if path]
    figure = _figure(view, given.x) if written else None
    _write([view], files, figure, f"{view.name}: accuracy against cost")
    if given.as_json:
        print_json(study_json(view, given.x))
    else:
        print_study(view, files.written, given.storage, given.x)


def _figure(view: "StudyView", x: str) -> Any:
    from nas.report.pareto import pareto_figure

    return pareto_figure(view, x)


def _show_several(views: "Sequence[StudyView]", given: ParetoOptions) -> None:
    from nas.cli.pareto.table import overlay_json, print_overlay
    from nas.cli.shared.printing import print_json
    from nas.report.overlay import overlay
    from nas.report.overlay_figure import overlay_figure

    files, info = given.files(), overlay(views, given.x)
    drawn = files.html or files.png or files.svg
    _write(views, files, overlay_figure(info) if drawn else None, f"{', '.join(given.studies)}: accuracy against cost")
    if given.as_json:
        print_json(overlay_json(views, info))
    else:
        print_overlay(views, info, files.written)


def _write(views: "Sequence[StudyView]", files: Files, figure: Any, title: str) -> None:
    """Write all files; the pictures come first, because a browser that draws them can fail."""
    from nas.report.files import write_csv, write_html, write_png, write_svg

    if files.png:
        write_png(files.png, figure)
    if files.svg:
        write_svg(files.svg, figure)
    if files.html:
        write_html(files.html, figure, title, _described(views))
    if files.csv:
        from nas.report.frame import study_frames

        write_csv(files.csv, study_frames(views))


def _described(views: "Sequence[StudyView]") -> str:
    """Return what a figure shows, for readers who cannot see it."""
    sentences = (
        f"Study {view.name} has {len(view.complete)} complete trials, of which {len(view.front)} are on the Pareto "
        f"front of its first cost. {_recommended(view)}"
        for view in views
    )
    return " ".join(("Accuracy against cost, one point for each network.", *sentences))


def _recommended(view: "StudyView") -> str:
    from nas.cli.shared.printing import percent

    best = view.best
    known = None if best is None else view.interval(best)
    if best is None or known is None:
        return f"It recommends no network: {view.recommendation.reason}."
    return f"It recommends trial {best.number} with an accuracy of {percent(known.value)}."
