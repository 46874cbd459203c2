"""Placement of labels so that they do not cover each other; all lengths are shares of the plot's width and height."""

from collections.abc import Sequence

from attrs import frozen

Place = tuple[float, float]
# Sizes of a character of 13 pixels, and gaps between a label and its point, in a plot of about 890 by 430 pixels.
CHARACTER_WIDTH, LINE_HEIGHT, GAP_X, GAP_Y = 0.0085, 0.045, 0.011, 0.02
# Sides of a point, with the offset of the label's center from the point, in halves of the label's size.
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
    """Represent the rectangle of a label.

    Attributes:
        x: Horizontal position of the center.
        y: Vertical position of the center.
        half_width: Half of the width.
        half_height: Half of the height.
    """

    x: float
    y: float
    half_width: float
    half_height: float

    def overlaps(self, other: "Box") -> bool:
        """Return whether two labels overlap."""
        near_x = abs(other.x - self.x) < self.half_width + other.half_width
        return near_x and abs(other.y - self.y) < self.half_height + other.half_height


def label_box(text: str, at: Place, side: str) -> Box:
    """Return the rectangle of a label at one side of its point.

    Args:
        text: Text of the label.
        at: Position of the point.
        side: Side of the point; a key of `SIDES`.
    """
    right, up = SIDES[side]
    half_width, half_height = len(text) * CHARACTER_WIDTH / 2, LINE_HEIGHT / 2
    return Box(at[0] + right * (half_width + GAP_X), at[1] + up * (half_height + GAP_Y), half_width, half_height)


def with_room(texts: Sequence[str], places: Sequence[Place], side: str) -> tuple[str, ...]:
    """Return the texts, with an empty text for each label that would overlap a later one.

    Args:
        texts: Texts of the labels.
        places: Positions of their points.
        side: Side of the points at which the labels are; a key of `SIDES`.
    """
    kept: list[Box] = []
    shown: list[str] = []
    for text, place in zip(reversed(texts), reversed(places), strict=True):
        box = label_box(text, place, side)
        free = not any(box.overlaps(other) for other in kept)
        kept += [box] * free
        shown.append(text * free)
    return tuple(reversed(shown))
