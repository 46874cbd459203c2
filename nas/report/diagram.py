"""The plan of the diagram of a network: where its boxes, bars, arrows and texts are.

The layers follow each other from top to bottom in a drawing that is 360 units wide, which fits a phone. No two boxes
overlap, and every text has room; `nas.report.diagram_svg` draws the plan.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from attrs import frozen

from nas.arch.layers import Shape, input_shape
from nas.arch.spec import Architecture, Stage
from nas.cost.base import format_amount
from nas.report.network_layers import Latency, Layers, details, heading, layer_groups, shape_text, share_text

WIDTH = 360.0
_BOX_X, _BOX_WIDTH = 38.0, 204.0
_BAR_X, _BAR_WIDTH = 252.0, 52.0
_PAD, _LINE, _ARROW = 7.0, 15.0, 22.0
_FONT_PX, _SMALL_PX = 12.0, 11.0
_COLORS = {
    **dict.fromkeys(("dsconv", "mbconv", "inverted"), "green"),
    **dict.fromkeys(("conv", "fused"), "blue"),
    **dict.fromkeys(("basic", "bottleneck"), "purple"),
}
_COST_COLORS = {"MACs": "blue", "latency": "vermilion"}


@frozen
class Box:
    """Represent a rectangle of the drawing.

    Attributes:
        x: Left edge.
        y: Upper edge.
        width: Width.
        height: Height.
        color: Name of the color.
    """

    x: float
    y: float
    width: float
    height: float
    color: str = "ink"

    @property
    def bottom(self) -> float:
        """Return the lower edge."""
        return self.y + self.height


@frozen
class Text:
    """Represent a line of text.

    Attributes:
        x: Left edge.
        y: Base line.
        text: The text.
        room: Width that the text may have at most.
        px: Size of the font.
        bold: Whether it is bold.
        color: Name of the color.
    """

    x: float
    y: float
    text: str
    room: float
    px: float = _FONT_PX
    bold: bool = False
    color: str = "ink"

    @property
    def width(self) -> float:
        """Return an upper bound of the width in a usual font."""
        return text_width(self.text, self.px, bold=self.bold)

    @property
    def is_squeezed(self) -> bool:
        """Return whether the letters must be narrower than usual to fit."""
        return self.width > self.room


@frozen
class Skip:
    """Represent a skip beside a box.

    Attributes:
        box: Box of the layers.
        kind: Kind of the skip.
    """

    box: Box
    kind: str


@frozen
class Plan:
    """Hold what a diagram consists of, in units of the drawing.

    Attributes:
        groups: Layers that are drawn.
        panels: Frames of the stages.
        boxes: Boxes of the layers.
        bars: Bars of costs.
        texts: Texts.
        arrows: Ends of the arrows between boxes: x, upper y and lower y.
        skips: Skips.
        height: Height of the drawing.
    """

    groups: tuple[Layers, ...]
    panels: tuple[Box, ...]
    boxes: tuple[Box, ...]
    bars: tuple[Box, ...]
    texts: tuple[Text, ...]
    arrows: tuple[tuple[float, float, float], ...]
    skips: tuple[Skip, ...]
    height: float


def text_width(text: str, px: float, *, bold: bool = False) -> float:
    """Return an upper bound of the width of a text in a sans-serif font, in units of the drawing.

    The widths are those of DejaVu Sans, which is wider than Helvetica, Arial and Liberation Sans.
    """
    units = sum(_CHARACTERS.get(character, _OTHER_CHARACTER) for character in text)
    return units * px * (1.14 if bold else 1.0)


# Widths of characters in units of the size of the font; all others are at most as wide as the last one.
_CHARACTERS = {
    **dict.fromkeys("mwMW@%", 0.98),
    **dict.fromkeys("×<>+=~", 0.84),
    **dict.fromkeys("ABCDGHKNOPQRUVXY&", 0.79),
    **dict.fromkeys("cksvxyzEFLSTZ", 0.6),
    **dict.fromkeys("rft-()[]", 0.42),
    **dict.fromkeys(" .,:;/", 0.34),
    **dict.fromkeys("ijlI|", 0.3),
}
_OTHER_CHARACTER = 0.64


def _wrapped(tokens: Iterable[str], room: float, px: float) -> list[str]:
    """Return tokens as lines that fit, separated by commas; a longer token has a line of its own."""
    lines: list[str] = []
    for token in tokens:
        joined = f"{lines[-1]}, {token}" if lines else token
        if lines and text_width(joined, px) <= room:
            lines[-1] = joined
        else:
            lines.append(token)
    return lines


class _Planner:
    """Place the parts of a diagram from top to bottom."""

    def __init__(self, arch: Architecture, groups: Sequence[Layers]) -> None:
        self.arch, self.groups = arch, groups
        self.y = 0.0
        self.panels: list[Box] = []
        self.boxes: list[Box] = []
        self.bars: list[Box] = []
        self.texts: list[Text] = []
        self.arrows: list[tuple[float, float, float]] = []
        self.skips: list[Skip] = []
        self.macs, self.ms = sum(group.macs for group in groups), sum(group.ms or 0.0 for group in groups)
        self.shares = [_shares(group, self.macs, self.ms) for group in groups]
        self.largest = max(share for shares in self.shares for _, share in shares)

    def plan(self) -> Plan:
        self._legend()
        self._shape(input_shape(self.arch), "input ")
        for _, numbered in groupby(enumerate(self.groups), key=lambda item: item[1].place):
            self._place([*numbered])
        self.texts.append(Text(_BOX_X + 8, self.y + 12, f"{self.arch.classes:,} classes", _BOX_WIDTH - 8, _SMALL_PX))
        return Plan(
            tuple(self.groups),
            tuple(self.panels),
            tuple(self.boxes),
            tuple(self.bars),
            tuple(self.texts),
            tuple(self.arrows),
            tuple(self.skips),
            self.y + 20,
        )

    def _legend(self) -> None:
        totals = {"MACs": format_amount(self.macs, "MACs"), "latency": f"latency {self.ms:.3g} ms"}
        y = 4.0
        for kind, _ in self.shares[0]:
            y += 14
            self.bars.append(Box(_BAR_X, y - 8, 8, 8, _COST_COLORS[kind]))
            self.texts.append(Text(_BAR_X + 12, y, totals[kind], WIDTH - _BAR_X - 14, _SMALL_PX, color="faint-ink"))
        self.y = y - 10

    def _shape(self, shape: Shape, prefix: str = "") -> None:
        x = _BOX_X + _BOX_WIDTH / 2
        self.arrows.append((x, self.y, self.y + _ARROW))
        text = prefix + shape_text(shape)
        if prefix:
            # The legend is to the right of the first arrow.
            self.texts.append(Text(8, self.y + 15, text, x - 14, _SMALL_PX, color="faint-ink"))
        else:
            self.texts.append(Text(x + 6, self.y + 15, text, _BOX_WIDTH / 2 - 6, _SMALL_PX, color="faint-ink"))
        self.y += _ARROW

    def _place(self, numbered: Sequence[tuple[int, Layers]]) -> None:
        """Place the layers of the stem, a stage or the head in a frame of their own."""
        top, name = self.y, numbered[0][1].place
        self.y += _PAD
        self.texts.append(Text(_BAR_X, self.y + 9, name, WIDTH - _BAR_X - 12, _SMALL_PX, color="faint-ink"))
        for order, (number, group) in enumerate(numbered):
            if order:
                self._shape(group.input)
            self._layers(number, group, is_first=not order)
        self.y += _PAD
        self.panels.append(Box(4, top, WIDTH - 8, self.y - top))
        if name != "head":
            self._shape(numbered[-1][1].output)

    def _layers(self, number: int, group: Layers, *, is_first: bool) -> None:
        room = _BOX_WIDTH - 2 * _PAD
        lines = _wrapped(details(group, self.arch.stem.activation), room, _SMALL_PX)
        top, costs = self.y, self.shares[number]
        down = 16.0 if is_first else 2.0  # room for the name of the stage above the bars
        height = max(2 * _PAD + _LINE * (1 + len(lines)) - 2, down + _LINE * len(costs) + 2)
        color = _COLORS[group.part.operator] if isinstance(group.part, Stage) else "ink"
        box = Box(_BOX_X, top, _BOX_WIDTH, height, color)
        self.boxes.append(box)
        self.texts.append(Text(_BOX_X + _PAD, top + _PAD + 11, heading(group), room, bold=True))
        for i, line in enumerate(lines, 1):
            self.texts.append(Text(_BOX_X + _PAD, top + _PAD + 11 + _LINE * i, line, room, _SMALL_PX))
        self._costs(costs, top + down)
        if group.skip:
            self.skips.append(Skip(box, group.skip))
        self.y = box.bottom

    def _costs(self, costs: Sequence[tuple[str, float]], top: float) -> None:
        for i, (kind, share) in enumerate(costs):
            y = top + _LINE * i
            width = _BAR_WIDTH * share / self.largest if self.largest else 0.0
            self.bars.append(Box(_BAR_X, y + 2, width, 10, _COST_COLORS[kind]))
            # The text stands behind the longest bar, so that the numbers are in line.
            self.texts.append(Text(_BAR_X + _BAR_WIDTH + 4, y + 11, share_text(share), 42, _SMALL_PX))


def _shares(group: Layers, macs: int, ms: float) -> list[tuple[str, float]]:
    known = [("MACs", group.macs / macs if macs else 0.0)]
    return known if group.ms is None or not ms else [*known, ("latency", max(0.0, group.ms / ms))]


def plan(arch: Architecture, latency: Latency | None = None) -> Plan:
    """Return where everything in the diagram of a network is; see `layer_groups`."""
    return _Planner(arch, layer_groups(arch, latency)).plan()
