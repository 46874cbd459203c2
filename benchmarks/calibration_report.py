"""Tables and figures of standardized errors: root mean squares by number of trials, and reliability by quantile."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from intervals import bounds, mean_of, resample
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from nas.report.files import write_png

Floats = NDArray[np.float64]
Row = dict[str, Any]
KINDS = ("random", "own next", "neighbors")
PROBABILITIES = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
# Root mean squares of standardized errors that are regarded as honest.
HONEST = (0.8, 1.3)
COLORS = ("#d62728", "#ff7f0e", "#1f77b4", "#2ca02c")


def make_report(out: Path, rows: Sequence[Row]) -> None:
    """Write tables (JSON and text) and figures (PNG) in a folder."""
    if not rows:
        raise SystemExit(
            f"{out} has no standardized errors; record searches with benchmarks/sample_efficiency.py first."
        )
    table = calibration_table(rows)
    (out / "results.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    text = "\n".join(_lines(table))
    (out / "results.txt").write_text(text + "\n", encoding="utf-8")
    print(text)
    write_png(out / "rms.png", rms_figure(table))
    write_png(out / "reliability.png", reliability_figure(rows))


def calibration_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return root mean squares with intervals by cell, sampler, kind and number of trials."""
    found = []
    for (cell, sampler, kind, count), own in _split(rows, ("cell", "sampler", "kind", "count")).items():
        groups = [np.array([[row["mean_square"]] for row in each]) for each in _split(own, ("task",)).values()]
        interval = np.sqrt(bounds(resample(groups))[0]).round(3).tolist()
        rms = round(float(np.sqrt(mean_of(groups)[0])), 3)
        same = {"cell": cell, "sampler": sampler, "kind": kind, "count": count, "runs": len(own)}
        found.append({**same, "rms": rms, "interval": interval})
    return found


def _split(rows: Sequence[Row], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return dict(sorted(found.items()))


def _lines(table: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    counts = sorted({row["count"] for row in table})
    yield f"Root mean square of standardized errors [95%] after {' / '.join(map(str, counts))} trials"
    lines = _split([dict(row) for row in table], ("cell", "sampler", "kind"))
    for (cell, sampler, kind), own in lines.items():
        cells = (f"{row['rms']:.2f} [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]" for row in own)
        yield f"{cell:44} {sampler:20} {kind:10} {max(row['runs'] for row in own):3} runs   {' / '.join(cells)}"
    for (sampler, kind), own in _split([dict(row) for row in table], ("sampler", "kind")).items():
        honest = sum(HONEST[0] <= row["rms"] <= HONEST[1] for row in own)
        yield f"{sampler}, {kind}: {honest} of {len(own)} between {HONEST[0]} and {HONEST[1]}"


def rms_figure(table: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Return root mean squares by number of trials: a line for each cell, with the honest range shaded."""
    figure = make_subplots(1, len(KINDS), subplot_titles=KINDS, shared_yaxes=True, horizontal_spacing=0.03)
    samplers = sorted({row["sampler"] for row in table})
    lines = _split([dict(row) for row in table], ("sampler", "kind", "cell"))
    shown = set[str]()
    for (sampler, kind, cell), own in lines.items():
        line = {"color": COLORS[samplers.index(sampler) % len(COLORS)], "width": 1.5}
        x, y = [row["count"] for row in own], [row["rms"] for row in own]
        trace = go.Scatter(
            x=x, y=y, name=sampler, text=cell, line=line, legendgroup=sampler, showlegend=sampler not in shown
        )
        figure.add_trace(trace, 1, KINDS.index(kind) + 1)
        shown.add(sampler)
    figure.add_hrect(*HONEST, fillcolor="#2ca02c", opacity=0.12, line_width=0)
    figure.update_xaxes(title_text="trials")
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title_text="root mean square of standardized errors", col=1)
    return _styled(figure)


def reliability_figure(rows: Sequence[Row]) -> go.Figure:
    """Return the share of true levels below each predicted quantile, the mean of all cells and numbers of trials."""
    figure = make_subplots(1, len(KINDS), subplot_titles=KINDS, shared_yaxes=True, horizontal_spacing=0.03)
    samplers, shown = sorted({row["sampler"] for row in rows}), set[str]()
    for (sampler, kind), own in _split(rows, ("sampler", "kind")).items():
        shares = np.mean([row["below"] for row in own], axis=0)
        line = {"color": COLORS[samplers.index(sampler) % len(COLORS)]}
        trace = go.Scatter(
            x=PROBABILITIES, y=shares, name=sampler, line=line, legendgroup=sampler, showlegend=sampler not in shown
        )
        figure.add_trace(trace, 1, KINDS.index(kind) + 1)
        shown.add(sampler)
    for column in range(1, len(KINDS) + 1):
        diagonal = go.Scatter(
            x=[0, 1], y=[0, 1], line={"color": "#7f7f7f", "dash": "dot"}, showlegend=False, mode="lines"
        )
        figure.add_trace(diagonal, 1, column)
    figure.update_xaxes(title_text="predicted quantile")
    figure.update_yaxes(title_text="share of true levels below it", col=1)
    return _styled(figure)


def _styled(figure: go.Figure) -> go.Figure:
    legend = {"orientation": "h", "y": -0.15, "yanchor": "top"}
    return figure.update_layout(template="plotly_white", legend=legend, margin={"t": 40, "r": 20})
