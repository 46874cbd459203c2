"""Places for the labels of bubbles: no label covers another, and one that is far from its bubble has a line to it.

All lengths are pixels of a plot of a stated size, with x to the right and y downwards. A plot that is drawn larger
moves bubbles apart and keeps the offsets of the labels, so that labels that were free stay free in nearly all cases.
"""

import math
from collections.abc import Iterator, Sequence

from attrs import frozen

CHARACTER_PX, LINE_PX = 6.9, 16.0  # of a label in the font size of figures
_GAPS = (3.0, 10.0, 20.0, 34.0, 50.0, 70.0, 95.0, 125.0, 160.0)  # between a bubble and its label
_ANGLES = 16
# The right side comes first, then the left one, and last what is straight above or below, where texts are wide.
_ORDER = tuple(sorted(range(_ANGLES), key=lambda step: abs(math.sin(2 * math.pi * step / _ANGLES))))
_OF_ANOTHER, _CLEARLY = 30.0, 5.0
_LINE_PENALTY, _OVER_BUBBLE, _OVER_BAR, _OVER_LABEL, _OUTSIDE, _CROSSING = 0.35, 60.0, 50.0, 10_000.0, 10_000.0, 40.0


@frozen
class Bubble:
    """Represent a circle with a label.

    Attributes:
        x: Horizontal position of the center.
        y: Vertical position of the center.
        radius: Radius.
        text: Text of the label.
        takes_text: Whether its label may be inside it, where nothing else is drawn.
        bar: Horizontal positions of the ends of a bar through its center, such as an interval; None for no bar.
    """

    x: float
    y: float
    radius: float
    text: str
    takes_text: bool = False
    bar: tuple[float, float] | None = None


@frozen
class Label:
    """Represent a placed label.

    Attributes:
        x: Horizontal position of the center of the text.
        y: Vertical position of the center of the text.
        half_width: Half of the width of the text.
        half_height: Half of the height of the text.
        is_near: Whether the label touches its bubble, so that it needs no line.
    """

    x: float
    y: float
    half_width: float
    half_height: float
    is_near: bool

    def overlaps(self, other: "Label") -> bool:
        """Return whether two labels overlap.

        >>> Label(0, 0, 10, 5, True).overlaps(Label(15, 0, 10, 5, True))
        True
        """
        near_x = abs(self.x - other.x) < self.half_width + other.half_width
        return near_x and abs(self.y - other.y) < self.half_height + other.half_height

    def covers(self, bubble: Bubble) -> float:
        """Return by how many pixels a circle reaches into the label."""
        return max(0.0, -self.gap(bubble))

    def gap(self, bubble: Bubble) -> float:
        """Return the distance between the label and the edge of a circle; it is negative where they overlap.

        >>> Label(50, 0, 10, 5, True).gap(Bubble(0, 0, 10, "net"))
        30.0
        """
        aside = max(0.0, abs(self.x - bubble.x) - self.half_width)
        above = max(0.0, abs(self.y - bubble.y) - self.half_height)
        return math.hypot(aside, above) - bubble.radius

    def is_on_bar(self, bubble: Bubble) -> bool:
        """Return whether the bar of a bubble goes through the label.

        >>> Label(50, 0, 10, 5, True).is_on_bar(Bubble(0, 0, 10, "net", bar=(-60, 60)))
        True
        """
        if bubble.bar is None or abs(self.y - bubble.y) >= self.half_height:
            return False
        return bubble.bar[0] < self.x + self.half_width and self.x - self.half_width < bubble.bar[1]


def place_labels(bubbles: Sequence[Bubble], width: float, height: float) -> list[Label]:
    """Return a label for each bubble of a plot.

    Bubbles with many near neighbors choose first: theirs are the places that others could take.

    Args:
        bubbles: The bubbles.
        width: Width of the plot.
        height: Height of the plot.

    >>> [label] = place_labels([Bubble(50, 50, 10, "net")], 200, 100)
    >>> label.x > 60, label.y, label.is_near
    (True, 50.0, True)
    """
    crowd = [sum(math.hypot(one.x - each.x, one.y - each.y) < 90 for each in bubbles) for one in bubbles]
    placed: dict[int, Label] = {}
    for at in sorted(range(len(bubbles)), key=lambda at: (-crowd[at], bubbles[at].radius)):
        own = bubbles[at]
        others = [each for number, each in enumerate(bubbles) if number != at]
        lines = [(bubbles[number], label) for number, label in placed.items()]

        def penalty(label: Label, own: Bubble = own, others: Sequence[Bubble] = others, lines: object = lines) -> float:
            return _penalty(label, own, others, lines, width, height)  # type: ignore[arg-type]

        placed[at] = min(_places(own), key=penalty)
    return [placed[at] for at in range(len(bubbles))]


def _places(bubble: Bubble) -> Iterator[Label]:
    """Yield the places of a label, the best ones first: inside its bubble, where it fits, and then around it."""
    half_width, half_height = len(bubble.text) * CHARACTER_PX / 2 + 2, LINE_PX / 2
    if bubble.takes_text and math.hypot(half_width, half_height - 4) < bubble.radius:
        yield Label(bubble.x, bubble.y, half_width, half_height, is_near=True)
    for gap in _GAPS:
        for step in _ORDER:
            across, down = math.cos(2 * math.pi * step / _ANGLES), math.sin(2 * math.pi * step / _ANGLES)
            # The nearer edge of the text has the gap from the bubble, whatever the direction is.
            reach = bubble.radius + gap
            x = bubble.x + across * reach + half_width * (across / max(abs(across), abs(down)))
            y = bubble.y + down * reach + half_height * (down / max(abs(across), abs(down)))
            yield Label(x, y, half_width, half_height, is_near=gap == _GAPS[0])


def _penalty(
    label: Label,
    own: Bubble,
    others: Sequence[Bubble],
    placed: "Sequence[tuple[Bubble, Label]]",
    width: float,
    height: float,
) -> float:
    beyond = max(label.half_width - label.x, label.x + label.half_width - width, 0.0) + max(
        label.half_height - label.y, label.y + label.half_height - height, 0.0
    )
    found = _OUTSIDE * (beyond > 0) + beyond
    found += _LINE_PENALTY * math.hypot(label.x - own.x, label.y - own.y) * (not label.is_near)
    found += sum(_OVER_BUBBLE + label.covers(each) for each in others if label.covers(each) > 0)
    # Without a line, a name belongs to the nearest bubble.
    found += _OF_ANOTHER * (label.is_near and any(label.gap(each) < label.gap(own) + _CLEARLY for each in others))
    found += _OVER_BAR * sum(label.is_on_bar(each) for each in (own, *others))
    for bubble, other in placed:
        found += _OVER_LABEL * label.overlaps(other)
        if not other.is_near or not label.is_near:
            found += _CROSSING * _cross((own.x, own.y), (label.x, label.y), (bubble.x, bubble.y), (other.x, other.y))
    return found


Point = tuple[float, float]


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether the line from `a` to `b` crosses the one from `c` to `d`."""

    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
