"""The regret of samplers with and without the cost range, as an SVG file beside this one.

`python docs/pictures/range_regret.py` draws it again from the results of `experiments/sample_efficiency`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "experiments" / "sample_efficiency" / "other_samplers.json"
TASK = "NAS-Bench-Macro, 50M"
EVALUATIONS = {25: 0, 50: 1, 100: 2, 200: 3}  # places in the lists of results
SHOWN = 50
SAMPLERS = {"random": "random", "evolution": "evolution", "nsga2": "NSGA-II", "tpe": "TPE"}
KINDS = {"": ("all networks up to the limit", "#D55E00"), " + filter": ("new networks of the cost range", "#0072B2")}
WIDTH, HEIGHT, ROW = 640, 300, 46
LEFT, RIGHT, TOP, BOTTOM = 90, 20, 64, 52
MOST = 1.0


def x_of(points: float) -> float:
    """Return the horizontal place of a regret in points."""
    return round(LEFT + (WIDTH - LEFT - RIGHT) * points / MOST, 1)


def draw() -> str:
    """Return the picture as SVG text."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["regret"][TASK]
    rows = [part for i, name in enumerate(SAMPLERS) for part in _row(results, name, TOP + 24 + ROW * i)]
    return "\n".join([*_frame(), *_legend(), *_axis(), *rows, "</svg>", ""])


def _frame() -> Iterator[str]:
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif">'
    yield "<title>The regret of samplers with and without the cost range</title>"
    yield (
        f"<desc>Mean regret after {SHOWN} evaluations below 50M FLOPs on NAS-Bench-Macro, with the quartiles of 30 "
        "searches, of four samplers that suggest any network up to the limit, or new networks of the cost range.</desc>"
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#FFFFFF"/>'


def _legend() -> Iterator[str]:
    for i, (text, color) in enumerate(KINDS.values()):
        x = LEFT + 262 * i
        yield f'<circle cx="{x}" cy="26" r="5" fill="{color}"/>'
        yield _text(x + 12, 31, text, "start")


def _axis() -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for tenths in range(0, 11, 2):
        x = x_of(tenths / 10)
        yield f'<path d="M{x} {TOP - 16}V{bottom}" stroke="#E0E0E0"/>'
        yield _text(x, bottom + 20, f"{tenths / 10:g}", "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, f"regret after {SHOWN} evaluations, points", "middle")


def _row(results: dict[str, Any], name: str, y: float) -> Iterator[str]:
    yield _text(LEFT - 10, y + 5, SAMPLERS[name], "end")
    for kind, (_, color) in KINDS.items():
        found = results[f"{name}{kind}"]["visited"][EVALUATIONS[SHOWN]]
        low, high = (x_of(max(0.0, each)) for each in found["quartiles"])
        place = y - 7 if not kind else y + 7
        yield f'<path d="M{low} {place}H{high}" stroke="{color}" stroke-width="4" stroke-opacity="0.4"/>'
        yield f'<circle cx="{x_of(found["regret"])}" cy="{place}" r="5" fill="{color}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="14" text-anchor="{anchor}" fill="#333333">{text}</text>'


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
