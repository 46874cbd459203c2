"""The figure of accuracy against cost in a report page, whose points can be selected."""

from collections.abc import Iterator, Sequence

from nas.errors import StudyError
from nas.report.page.words import plural
from nas.report.pareto import draw
from nas.report.points import Pareto, pareto
from nas.report.section import Figure, Section, missing
from nas.report.theme import percent
from nas.report.trial_points import Point, not_drawn
from nas.studies.records import StudyView

TITLE = "Accuracy against cost"
ID = "front"


def front_section(view: StudyView) -> Section:
    """Return the section of the front with the recommended network, the baseline and the target."""
    try:
        info = pareto(view)
    except StudyError as error:
        return missing(TITLE, f"There is no figure yet: {error.problem}.", ())
    text = " ".join(filter(None, _sentences(view, info)))
    return Section(TITLE, text, (Figure(ID, _alt(view, info), draw(info), height_px=560),))


def _sentences(view: StudyView, info: Pareto) -> Iterator[str]:
    best = view.best
    yield (
        f"The Pareto front has {plural(len(info.front), 'network')}, which none of "
        f"{plural(len(view.complete), 'complete trial')} beats in both {view.accuracy_label} and cost."
    )
    if best is not None and best not in view.front:
        yield (
            f"The recommended network, trial {best.number}, is not on it: the front follows the {view.accuracy_label} "
            f"of each trial, and the recommendation the {'expected ' if view.expected else ''}score."
        )
    if any(point.y_span for point in (*info.front, *info.others)):
        yield "Bars are 95% intervals; networks whose bars overlap may differ by noise only."
    if info.hidden:
        yield f"{not_drawn(info.hidden)}; all of them count for the front and for the answers above."
    yield "Select a point, or a row of the table below, to see a network and the commands for it."


def _alt(view: StudyView, info: Pareto) -> str:
    def words(points: Sequence[Point]) -> str:
        return "; ".join(
            f"{percent(point.y / 100)} at {info.axis.amount(point.x * info.axis.size)}" for point in points
        )

    parts = [f"Accuracy against cost of {plural(len(view.complete), 'complete trial')}."]
    if len(info.front) > 1:
        parts.append(f"The Pareto front goes from {words(info.front[:1])} to {words(info.front[-1:])}.")
    elif info.front:
        parts.append(f"The only network of the Pareto front has {words(info.front)}.")
    parts += [f"The recommended network has {words(info.recommended)}."] if info.recommended else []
    parts += [f"The baseline has {words(info.baseline)}."] if info.baseline else []
    parts += [f"The target is {info.axis.amount(info.axis.limit)}."] if info.axis.limit is not None else []
    return " ".join((*parts, "The table below holds the same networks."))
