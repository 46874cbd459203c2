"""The score of one accuracy at different costs under the three objectives, as an SVG file beside this one.

`python docs/pictures/objective.py` draws it again from `nas.objective`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nas.cost.analytic import MACS
from nas.cost.base import Target
from nas.objective import limits, make_reward, score
from nas.search.defaults import BAND

ACCURACY = 0.75
TARGET = Target("flops", "macs", MACS, 400e6, "flops=400M")
# Colors that readers with any color vision can tell apart (Okabe and Ito 2008), and the pattern of each line.
LINES = {"soft": ("#0072B2", ""), "hard": ("#D55E00", "8 3"), "absolute": ("#007A5A", "2 3")}
WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 108, 34, 52
RATIOS, SCORES = (0.25, 2.0), (0.3, 0.9)


def x_of(ratio: float) -> float:
    """Return the horizontal place of a ratio of cost and target."""
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (ratio - RATIOS[0]) / (RATIOS[1] - RATIOS[0]), 1)


def y_of(value: float) -> float:
    """Return the vertical place of a score."""
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - SCORES[0]) / (SCORES[1] - SCORES[0]), 1)


def draw() -> str:
    """Return the picture as SVG text."""
    parts = [*_frame(), *_range(), *_axes(), *(part for name in LINES for part in _line(name))]
    return "\n".join([*parts, "</svg>", ""])


def _frame() -> Iterator[str]:
    low, high = f"{BAND:.0%}", "100%"
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif">'
    yield "<title>The score of one accuracy at different costs</title>"
    yield (
        f"<desc>Scores of an accuracy of {ACCURACY:.0%} for costs from a quarter of the target to twice the target. "
        f"The cost range, from {low} to {high} of the target, is shaded.</desc>"
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#FFFFFF"/>'


def _range() -> Iterator[str]:
    bounds = limits([TARGET], band=BAND, objective="soft")
    left, right = (x_of(each[0] / TARGET.limit) for each in (bounds.low, bounds.high))
    box = f'x="{left}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
    yield f'<rect {box} fill="#F0E442" fill-opacity="0.5"/>'
    yield _text((left + right) / 2, TOP - 8, "cost range", "middle")


def _axes() -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in np.arange(SCORES[0], SCORES[1] + 0.01, 0.1):
        y = y_of(value)
        yield f'<path d="M{LEFT} {y}H{right}" stroke="#E0E0E0"/>'
        yield _text(LEFT - 8, y + 4, f"{value:.1f}", "end")
    for ratio in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2):
        yield f'<path d="M{x_of(ratio)} {bottom}v5" stroke="#333333"/>'
        yield _text(x_of(ratio), bottom + 20, f"{ratio:g}", "middle")
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333333"/>'
    yield _text((LEFT + right) / 2, HEIGHT - 10, "COST / T", "middle")
    yield f'<g transform="rotate(-90 18 {(TOP + bottom) / 2})">'
    yield _text(18, (TOP + bottom) / 2, f"score of an accuracy of {ACCURACY:.0%}", "middle")
    yield "</g>"


def _line(name: str) -> Iterator[str]:
    color, dashes = LINES[name]
    reward = make_reward(name)
    points = [(ratio, score(ACCURACY, [ratio * TARGET.limit], [TARGET], reward)) for ratio in _ratios()]
    path = " ".join(f"{x_of(ratio)},{y_of(value)}" for ratio, value in points)
    yield f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dashes}"/>'
    # At twice the target, "soft" and "absolute" are close together.
    shift = {"soft": 1, "hard": 5, "absolute": 9}[name]
    yield _text(x_of(RATIOS[1]) + 8, y_of(points[-1][1]) + shift, name, "start", color)


def _ratios() -> list[float]:
    return [float(ratio) for ratio in np.linspace(*RATIOS, 71)]


def _text(x: float, y: float, text: str, anchor: str, color: str = "#333333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="14" text-anchor="{anchor}" fill="{color}">{text}</text>'


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
