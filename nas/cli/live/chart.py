"""Charts made of characters: curves in one line, and points in a plane with their Pareto front."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from attrs import frozen

Place = tuple[float, float]

_BRAILLE = 0x2800
# Bits of the dots of a braille character, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
TRIAL, FRONT, TARGET, BEST = "trial", "front", "target", "best"


@frozen
class Glyphs:
    """Hold the characters that a terminal can show.

    Attributes:
        levels: Characters of a curve, the lowest first.
        done: Part of the progress bar that is done.
        left: Part of it that is left.
        separator: Text between two figures of a line.
        dash: Text between two ends of an interval.
        target: Character of the vertical line at the target.
        cut: End of a text that was cut.
        dots: Whether points are dots of braille characters, eight in each, and not characters themselves.
    """

    levels: str
    done: str
    left: str
    separator: str
    dash: str
    target: str
    cut: str
    dots: bool


UNICODE = Glyphs("▁▂▃▄▅▆▇█", "━", "─", " · ", "–", "┊", "…", dots=True)
PLAIN = Glyphs("_.-=^", "#", ".", ", ", "-", "|", "~", dots=False)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return the characters for a stream with this encoding.

    >>> glyphs_for("utf-8").dots, glyphs_for("ascii").dots, glyphs_for(None).dots
    (True, False, False)
    """
    try:
        "⣿█┊…━".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return UNICODE


def sparkline(values: Sequence[float], glyphs: Glyphs, width: int, low: float = 0.0, high: float = 1.0) -> str:
    """Return a curve as one character for each value; of more than `width` values, the last ones.

    Args:
        values: Values of the curve.
        glyphs: Characters of the terminal.
        width: Largest number of characters.
        low: Value of the lowest character.
        high: Value of the highest one.

    >>> sparkline([0.0, 0.5, 1.0], PLAIN, 10)
    '_-^'
    """
    last = len(glyphs.levels) - 1
    return "".join(glyphs.levels[round(last * _share(value, low, high))] for value in values[-width:])


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


@frozen
class Plane:
    """Represent the part of the plane that a chart shows, and its size in characters.

    Attributes:
        x: Smallest and largest cost.
        y: Smallest and largest accuracy.
        width: Number of characters in a row.
        height: Number of rows.
        glyphs: Characters of the terminal.
    """

    x: Place
    y: Place
    width: int
    height: int
    glyphs: Glyphs

    @property
    def columns(self) -> int:
        """Number of points that fit beside each other."""
        return self.width * (2 if self.glyphs.dots else 1)

    @property
    def rows(self) -> int:
        """Number of points that fit above each other."""
        return self.height * (4 if self.glyphs.dots else 1)

    def holds(self, place: Place) -> bool:
        """Return whether a point is inside."""
        return self.x[0] <= place[0] <= self.x[1] and self.y[0] <= place[1] <= self.y[1]

    def point(self, place: Place) -> tuple[int, int]:
        """Return the column and the row, from the top, that are nearest to a place."""
        column = round((self.columns - 1) * _share(place[0], *self.x))
        return column, self.rows - 1 - round((self.rows - 1) * _share(place[1], *self.y))

    def cell(self, point: tuple[int, int]) -> tuple[int, int]:
        """Return the character, by column and row, that a point belongs to."""
        return point[0] * self.width // self.columns, point[1] * self.height // self.rows


def plane_of(
    trials: Iterable[Place], front: Sequence[Place], target: float, size: tuple[int, int], glyphs: Glyphs
) -> Plane:
    """Return the plane that holds the front, the target and the better half of the other trials.

    Args:
        trials: Cost and accuracy of trials.
        front: Cost and accuracy of the front, by rising cost; not empty.
        target: Largest cost that is asked for.
        size: Number of characters in a row, and number of rows.
        glyphs: Characters of the terminal.
    """
    trials = list(trials)
    costs = [cost for cost, _ in (*trials, *front)]
    heights = sorted(accuracy for _, accuracy in trials)
    # One early network that has learned nothing would press all others into the top row.
    bottom = min([*(accuracy for _, accuracy in front), *heights[len(heights) // 2 :][:1]])
    top = front[-1][1]
    margin = 0.05 * (top - bottom) or 0.005
    low, high = min(*costs, target), max(*costs, target)
    return Plane((low, high), (max(0.0, bottom - margin), min(1.0, top + margin)), *size, glyphs)


def draw_points(
    plane: Plane, trials: Iterable[Place], front: Sequence[Place], target: float, best: Place | None
) -> list[list[tuple[str, str]]]:
    """Return the rows of a chart; each is a list of characters with the kind of what they show.

    Args:
        plane: What is shown, and its size.
        trials: Cost and accuracy of trials.
        front: Cost and accuracy of the front, by rising cost.
        target: Largest cost that is asked for.
        best: Cost and accuracy of the best trial; None for none.
    """
    points: dict[tuple[int, int], str] = {}
    points |= {plane.point(each): TRIAL for each in trials if plane.holds(each)}
    points |= dict.fromkeys(_stairs([plane.point(each) for each in front]), FRONT)
    cells = _braille(plane, points) if plane.glyphs.dots else _letters(plane, points, front)
    column = plane.cell(plane.point((target, plane.y[0])))[0]
    for row in range(plane.height):
        cells.setdefault((column, row), (plane.glyphs.target, TARGET))
    if best is not None and plane.holds(best):
        cells[plane.cell(plane.point(best))] = ("*", BEST)
    return [[cells.get((column, row), (" ", "")) for column in range(plane.width)] for row in range(plane.height)]


def _stairs(corners: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Yield the points of a line along a front: a network remains the best of its cost until a better one comes."""
    for (column, row), (after, above) in pairwise(corners):
        yield from ((between, row) for between in range(column, after))
        yield from ((after, between) for between in range(above, row + 1))
    yield from corners


def _braille(plane: Plane, points: dict[tuple[int, int], str]) -> dict[tuple[int, int], tuple[str, str]]:
    bits: dict[tuple[int, int], int] = {}
    kinds: dict[tuple[int, int], str] = {}
    for point, kind in points.items():
        cell = plane.cell(point)
        bits[cell] = bits.get(cell, 0) | _DOTS[point[1] % 4][point[0] % 2]
        kinds[cell] = FRONT if FRONT in (kind, kinds.get(cell)) else kind
    return {cell: (chr(_BRAILLE + dots), kinds[cell]) for cell, dots in bits.items()}


def _letters(
    plane: Plane, points: dict[tuple[int, int], str], front: Sequence[Place]
) -> dict[tuple[int, int], tuple[str, str]]:
    cells = {point: ("." if kind == TRIAL else "-", kind) for point, kind in points.items()}
    return cells | {plane.point(each): ("o", FRONT) for each in front}
