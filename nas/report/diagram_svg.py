"""The diagram of a network as SVG.

Colors are CSS variables of the page, with those of light figures as fallbacks, so that a file of its own looks the same
everywhere. All texts are escaped, and a title and a description tell those who do not see the drawing what it shows.
"""

from html import escape

from nas.arch.spec import Architecture
from nas.report.diagram import WIDTH, Box, Plan, Skip, Text, plan
from nas.report.network_layers import Latency, description
from nas.report.theme import BLUE, FAINT_INK, FONT, GRAY, GREEN, GRID, INK, PAPER, PURPLE, VERMILION

_SCALE = 1.5  # pixels of a unit where there is room
_FALLBACKS = {
    "ink": INK,
    "faint-ink": FAINT_INK,
    "gray": GRAY,
    "grid": GRID,
    "paper": PAPER,
    "blue": BLUE,
    "green": GREEN,
    "purple": PURPLE,
    "vermilion": VERMILION,
}


def diagram_svg(arch: Architecture, name: str = "network", latency: Latency | None = None) -> str:
    """Return the diagram of a network as an SVG element, which is also a file of its own.

    Args:
        arch: The network.
        name: Name of the network; any text.
        latency: See `layer_groups`.

    Example:
        >>> from nas.arch.presets import preset
        >>> svg = diagram_svg(preset("mobilenetv2"), "a <b>")
        >>> svg.startswith("<svg"), "a &lt;b&gt;" in svg
        (True, True)
    """
    return draw(plan(arch, latency), arch, name)


def draw(planned: Plan, arch: Architecture, name: str) -> str:
    """Return the SVG element of a diagram that is already computed."""
    height = planned.height
    size = f'width="{WIDTH * _SCALE:g}" height="{height * _SCALE:g}" viewBox="0 0 {WIDTH:g} {height:g}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" class="diagram"'
            f' font-family="{escape(FONT)}" style="max-width: 100%; height: auto">',
            f"<title>{escape(_printable(f'Diagram of {name}'))}</title>",
            f"<desc>{escape(description(planned.groups, arch))}</desc>",
            f'<rect width="100%" height="100%" {_paint("fill", "paper")}/>',
            *(_rectangle(box, 0.0, "grid") for box in planned.panels),
            *(_skip_path(skip) for skip in planned.skips),
            *(_rectangle(box, 0.1, box.color) for box in planned.boxes),
            *(_bar(box) for box in planned.bars),
            *(_arrow(*arrow) for arrow in planned.arrows),
            *map(_line, planned.texts),
            "</svg>",
        )
    )


def _printable(text: str) -> str:
    """Return a text without control characters, which XML forbids."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _paint(attribute: str, color: str) -> str:
    # The attribute is for programs that do not know variables; the style wins where they are known.
    return f'{attribute}="{_FALLBACKS[color]}" style="{attribute}: var(--{color}, {_FALLBACKS[color]})"'


def _rectangle(box: Box, opacity: float, color: str) -> str:
    fallback = _FALLBACKS[color]
    fill = f"fill: var(--{color}, {fallback}); stroke: var(--{color}, {fallback})"
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="5"'
    return f'<rect {place} fill="{fallback}" stroke="{fallback}" fill-opacity="{opacity:g}" style="{fill}"/>'


def _bar(box: Box) -> str:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:.2f}" height="{box.height:g}"'
    return f"<rect {place} {_paint('fill', box.color)}/>"


def _arrow(x: float, top: float, bottom: float) -> str:
    head = f"M{x - 4:g} {bottom - 6:g}L{x:g} {bottom:g}L{x + 4:g} {bottom - 6:g}"
    return f'<path d="M{x:g} {top:g}V{bottom:g}{head}" fill="none" {_paint("stroke", "faint-ink")}/>'


_DASHES = {"identity": "", "pool": ' stroke-dasharray="2 3"', "projection": ' stroke-dasharray="6 3"'}


def _skip_path(skip: Skip) -> str:
    box = skip.box
    x, left = box.x, box.x - 18
    path = f"M{x + 8:g} {box.y - 3:g}H{left + 6:g}Q{left:g} {box.y - 3:g} {left:g} {box.y + 3:g}"
    path += f"V{box.bottom - 3:g}Q{left:g} {box.bottom + 3:g} {left + 6:g} {box.bottom + 3:g}H{x + 8:g}"
    return f'<path d="{path}" fill="none"{_DASHES[skip.kind]} stroke-width="1.5" {_paint("stroke", "gray")}/>'


def _line(text: Text) -> str:
    weight = ' font-weight="bold"' if text.bold else ""
    squeezed = f' textLength="{text.room:g}" lengthAdjust="spacingAndGlyphs"' if text.is_squeezed else ""
    place = f'x="{text.x:g}" y="{text.y:g}" font-size="{text.px:g}"{weight}{squeezed}'
    return f"<text {place} {_paint('fill', text.color)}>{escape(text.text)}</text>"
