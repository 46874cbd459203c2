"""The lines of a live view, for a terminal of any size: the more important a line, the smaller a terminal shows it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from types import MappingProxyType

from rich.text import Text

from nas.api.durations import format_left
from nas.cli.live.chart import BEST, FRONT, TARGET, TRIAL, Glyphs, draw_points, plane_of, sparkline
from nas.cli.live.state import Running, Snapshot
from nas.cli.shared.printing import percent, plain
from nas.cost.base import format_amount
from nas.noise import estimate
from nas.studies.records import Record

SHARE_OF_TERMINAL = 0.55  # the lines that stay keep the other part
LEAST_LINES, MOST_LINES = 3, 18
MOST_RUNNING = 4
NARROW = 60
BAR_WIDTH = 12
CURVE_WIDTH = 12
CHART_WIDTH, LEAST_COLUMNS = 72, 16
LEAST_ROWS, MOST_ROWS = 3, 9  # of a chart, without the line of its axis
STYLES: Mapping[str, str] = MappingProxyType(
    {TRIAL: "dim", FRONT: "bold blue", TARGET: "yellow", BEST: "bold magenta", "": ""}
)


def lines_for(height: int) -> int:
    """Return how many lines of a terminal of this height a view may take.

    >>> [lines_for(height) for height in (4, 10, 15, 30, 80)]
    [3, 5, 8, 16, 18]
    """
    return max(LEAST_LINES, min(MOST_LINES, int(height * SHARE_OF_TERMINAL)))


def view_lines(known: Snapshot, width: int, height: int, glyphs: Glyphs) -> list[Text]:
    """Return the lines of a view, each without a line break and no wider than the terminal.

    Args:
        known: What is known of the search.
        width: Columns of the terminal.
        height: Lines of the terminal.
        glyphs: Characters that it can show.
    """
    room = lines_for(height)
    lines = [_progress(known, glyphs, width), *_best(known, glyphs, width)]
    failures = [Text(f"failed: {plain(known.failure)}", "red")] if known.failure else []
    notes = [Text(f"note: {plain(known.note)}", "dim")] if known.note else []
    lines += _running(known, glyphs, room - len(lines) - len(failures))
    lines = [*lines, *failures][:room]
    # A chart says more than a note that may be old.
    for shown in (notes, []):
        if chart := _chart(known, glyphs, width, room - len(lines) - len(shown)):
            break
    lines = [*lines, *shown, *chart] if chart else [*lines, *notes][:room]
    # A character in the last column would make some terminals begin another line.
    return [_cut(line, width - 1, glyphs) for line in lines]


def _cut(line: Text, width: int, glyphs: Glyphs) -> Text:
    """Cut a line to a number of columns; a wide character takes two."""
    line.no_wrap = True
    if line.cell_len > width:
        line.truncate(max(0, width - len(glyphs.cut)), overflow="crop")
        line.append(glyphs.cut)
    return line


def _progress(known: Snapshot, glyphs: Glyphs, width: int) -> Text:
    share = min(1.0, known.done / known.total) if known.total else 0.0
    length = BAR_WIDTH if width >= NARROW else BAR_WIDTH // 3
    done = int(length * share)
    others = f"{known.others} by other processes" if known.others else ""
    elsewhere = f"{known.elsewhere} running elsewhere" if known.elsewhere else ""
    parts = (
        # The number of trials is not known before the search is planned.
        f"{known.done}/{known.total}{' trials' if width >= NARROW else ''}" if known.total else "preparing the search",
        str(timedelta(seconds=int(known.seconds))),
        format_left(known.seconds_left),
        others,
        elsewhere,
    )
    bar = Text.assemble((glyphs.done * done, "green"), (glyphs.left * (length - done), "dim"))
    return bar.append(f" {_joined(parts, glyphs)}")


def _joined(parts: Sequence[str], glyphs: Glyphs) -> str:
    return glyphs.separator.join(filter(None, parts))


def _best(known: Snapshot, glyphs: Glyphs, width: int) -> list[Text]:
    """Return the best trial; its costs follow on a line of their own where the terminal is narrow."""
    best = known.best
    if best is None:
        return []
    accuracy = f"{percent(best.accuracy)}{_interval(known, best, glyphs, width)}"
    costs = [_against_target(known, best, name) for name in known.limits if name in best.costs]
    first = Text.assemble("best ", (accuracy, STYLES[BEST]), f"{glyphs.separator}trial {best.number}")
    second = _joined(costs, glyphs)
    if first.cell_len + len(second) + len(glyphs.separator) < width:
        return [first.append(f"{glyphs.separator}{second}")] if second else [first]
    return [first, Text(f"{'     ' if width >= NARROW else ''}{second}")] if second else [first]


def _interval(known: Snapshot, best: Record, glyphs: Glyphs, width: int) -> str:
    """Return the interval that follows from the number of validation images; of other errors nothing is known yet."""
    if known.split is None or best.accuracy is None:
        return " (interval unknown)" if width >= NARROW else " (±?)"
    found = estimate(best.accuracy, known.split.standard_error(best.accuracy))
    return f" (95%: {100 * found.low:.1f}{glyphs.dash}{100 * found.high:.1f}{', one run' if width >= NARROW else ''})"


def _against_target(known: Snapshot, record: Record, name: str) -> str:
    cost, limit = record.costs[name], known.limits[name]
    unit = known.units.get(name, "")
    own, wanted = format_amount(cost, unit), format_amount(limit, unit)
    same = f" {wanted.rpartition(' ')[2]}"
    return plain(f"{own.removesuffix(same)} of {wanted}{'' if cost <= limit else ' (over)'}")


def _running(known: Snapshot, glyphs: Glyphs, room: int) -> list[Text]:
    """Return the trials that run here, the oldest first, or what is done instead."""
    if not known.running:
        doing = _joined((plain(known.doing), _step(known)), glyphs)
        return [Text(doing)] if doing else []
    shown = min(len(known.running), MOST_RUNNING, max(1, room))
    if len(known.running) > shown > 1:  # the last line has the number of the others
        shown -= 1
    hidden = len(known.running) - shown
    high = max((each for one in known.running for each in one.record.accuracies), default=1.0)
    high = max(high, known.best.accuracy or 0.0) if known.best else high
    lines = [_running_line(known, each, high, glyphs) for each in known.running[:shown]]
    if hidden and room < 2:
        lines[0] = Text.assemble(f"{hidden} more and ", lines[0])
        return lines
    return [*lines, *([Text(f"and {hidden} more running", "dim")] if hidden else [])]


def _running_line(known: Snapshot, running: Running, high: float, glyphs: Glyphs) -> Text:
    record = running.record
    name = plain(record.label) if record.label else f"trial {record.number}"
    line = Text(f"{name} ")
    if record.accuracies:
        # From zero to the best so far, so that curves of several trials can be compared.
        line.append(sparkline(record.accuracies, glyphs, CURVE_WIDTH, 0.0, high), "blue")
        line.append(f" {percent(record.accuracies[-1])} after epoch {len(record.accuracies)}")
    else:
        line.append("first epoch", "dim")
    costs = [
        format_amount(record.costs[name], known.units.get(name, "")) for name in known.limits if name in record.costs
    ]
    return line.append("".join(f"{glyphs.separator}{part}" for part in (_step(known), *map(plain, costs)) if part))


def _step(known: Snapshot) -> str:
    step = known.step
    return "" if step is None else f"step {step.number}/{step.steps} loss {step.loss:.3f}"


def _chart(known: Snapshot, glyphs: Glyphs, width: int, room: int) -> list[Text]:
    """Return the front as a chart, if there is room for it and more than one trial to show."""
    rows = min(MOST_ROWS, room - 1)
    marks = 8
    columns = min(CHART_WIDTH, width - 1) - marks
    if rows < LEAST_ROWS or columns < LEAST_COLUMNS or len(known.trials) < 2 or not known.limits:
        return []
    name, target = next(iter(known.limits.items()))
    plane = plane_of(known.trials, known.front, target, (columns, rows), glyphs)
    best = known.best
    place = (
        None if best is None or best.accuracy is None or name not in best.costs else (best.costs[name], best.accuracy)
    )
    drawn = draw_points(plane, known.trials, known.front, target, place)
    labels = [percent(plane.y[1]), *[""] * (rows - 2), percent(plane.y[0])]
    lines = [
        Text.assemble((f"{label:>{marks - 1}} ", "dim"), *_runs(row)) for label, row in zip(labels, drawn, strict=True)
    ]
    return [*lines, _axis(known, plane.x, marks, columns, glyphs)]


def _runs(row: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the characters of a row with their style, those of one style together."""
    for kind, cells in groupby(row, key=lambda cell: cell[1]):
        yield "".join(letter for letter, _ in cells), STYLES[kind]


def _axis(known: Snapshot, ends: tuple[float, float], marks: int, columns: int, glyphs: Glyphs) -> Text:
    """Return the line below the chart: the ends of the cost axis, and what its signs mean."""
    name = next(iter(known.limits))
    unit = known.units.get(name, "")
    low, high = (plain(format_amount(end, unit)) for end in ends)
    wanted = plain(format_amount(known.limits[name], unit))
    middle = f"* best, {glyphs.target} target {wanted}"
    gap = columns - len(low) - len(high)
    middle = middle if len(middle) + 2 <= gap else ""
    return Text(f"{' ' * marks}{low}{middle:^{max(1, gap)}}{high}", "dim")
