"""Where labels go, so that they cover no point; all lengths are shares of the plot's width and height."""

from collections.abc import Sequence

from attrs import frozen

Place = tuple[float, float]
# Of a character of 13 pixels, and of a label's gap to its point, in a plot of about 890 by 430 pixels.
CHARACTER_WIDTH, LINE_HEIGHT, GAP_X, GAP_Y = 0.0085, 0.045, 0.011, 0.02
# In order of preference; a number says where the label's middle lies, in half labels from the point.
SIDES = {
    "middle right": (1, 0),
    "middle left": (-1, 0),
    "bottom center": (0, -1),
    "top center": (0, 1),
    "bottom right": (1, -1),
    "bottom left": (-1, -1),
    "top right": (1, 1),
    "top left": (-1, 1),
}


@frozen
class Box:
    """A label's rectangle: its middle and its halves."""

    x: float
    y: float
    half_width: float
    half_height: float

    def holds(self, place: Place) -> bool:
        """Whether a point's marker there would touch the label."""
        near_x = abs(place[0] - self.x) <= self.half_width + GAP_X / 2
        return near_x and abs(place[1] - self.y) <= self.half_height + GAP_Y / 2

    def overlaps(self, other: "Box") -> bool:
        """Whether two labels touch."""
        near_x = abs(other.x - self.x) < self.half_width + other.half_width
        return near_x and abs(other.y - self.y) < self.half_height + other.half_height

    @property
    def outside(self) -> bool:
        """Whether some of it lies outside the plot."""
        across = self.x - self.half_width < 0 or self.x + self.half_width > 1
        return across or self.y - self.half_height < 0 or self.y + self.half_height > 1


def label_box(text: str, at: Place, side: str) -> Box:
    """The rectangle of a label on one side of its point."""
    right, up = SIDES[side]
    half_width, half_height = len(text) * CHARACTER_WIDTH / 2, LINE_HEIGHT / 2
    return Box(at[0] + right * (half_width + GAP_X), at[1] + up * (half_height + GAP_Y), half_width, half_height)


def best_side(text: str, at: Place, points: Sequence[Place], line_x: float) -> str:
    """The side on which a label covers fewest points and no line.

    Args:
        text: the label.
        at: its point.
        points: all others.
        line_x: where a vertical line stands.
    """

    def covered(side: str) -> int:
        box = label_box(text, at, side)
        crossed = abs(line_x - box.x) <= box.half_width
        return sum(map(box.holds, points)) + 5 * crossed + 100 * box.outside

    return min(SIDES, key=covered)


def with_room(texts: Sequence[str], places: Sequence[Place], side: str) -> tuple[str, ...]:
    """The texts, empty where one would be printed over a later one."""
    kept: list[Box] = []
    shown: list[str] = []
    for text, place in zip(reversed(texts), reversed(places), strict=True):
        box = label_box(text, place, side)
        free = not any(box.overlaps(other) for other in kept)
        kept += [box] * free
        shown.append(text * free)
    return tuple(reversed(shown))
