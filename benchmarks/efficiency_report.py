"""Report of many searches: regrets and ranks by number of evaluations, evaluations needed, and figures."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import plotly.graph_objects as go
from cell_report import area, best_accuracies, by_cell, cell_lines, cell_tables, curve, front_tables, parallel_tables
from efficiency_tasks import Macro
from made_up_accuracies import BEST_KNOWN
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from nas.cost.analytic import MACS
from nas.report.files import write_png

Floats = NDArray[np.float64]
Row = dict[str, Any]
OWN = "surrogate"
# Lower bound of accuracy, in percent, of the area under a front; the upper bound of cost is the table's largest cost.
CORNER = 85.0
FRONTS = Path(__file__).with_name("best_known_fronts.json")
# A sampler has the same color with and without the filter.
COLORS = {"surrogate": "#d62728", "tpe": "#1f77b4", "nsga2": "#2ca02c", "evolution": "#9467bd", "random": "#7f7f7f"}
LABELED = "#ff7f0e"  # another version of the package's own sampler


def make_report(out: Path, macro: Mapping[str, Macro], checkpoints: Sequence[int]) -> None:
    """Write tables (JSON and text) and figures (PNG) of the searches in a folder.

    Args:
        out: Folder with the searches, one JSON text a line.
        macro: Tasks of NAS-Bench-Macro by name; all others have made-up accuracies.
        checkpoints: Numbers of evaluations of the tables.
    """
    rows = [row for path in sorted(out.glob("*.jsonl")) for row in read_rows(path)]
    single = [row for row in rows if row["objective"] != "pareto"]
    fronts = [row for row in rows if row["objective"] == "pareto"]
    best = best_accuracies(single, _read(BEST_KNOWN) | {name: task.best for name, task in macro.items()})
    on_macro = by_cell(row for row in single if row["task"] in macro and row["running"] == 1)
    made_up_fronts = [row for row in fronts if row["task"] not in macro]
    report = {
        "versions": {name: version(name) for name in ("hwnas", "optuna", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "regret": {name: _table(macro[name], own, checkpoints) for name, own in on_macro.items()},
        "needed": {name: _needed(macro[name], own, (100, 200)) for name, own in on_macro.items()},
        "hypervolume": {
            name: _areas(macro[name], own, checkpoints)
            for name, own in by_cell(row for row in fronts if row["task"] in macro).items()
        },
        "cells": cell_tables(single, best, checkpoints, OWN),
        "parallel": parallel_tables(single, best, checkpoints),
        "fronts": front_tables(made_up_fronts, _read(FRONTS), checkpoints),
        "proposal_ms": _proposal_times(rows),
    }
    (out / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = "\n".join([*_lines(report, checkpoints), *cell_lines(report, checkpoints, OWN)])
    (out / "results.txt").write_text(text + "\n", encoding="utf-8")
    print(text)
    _write_figures(out, [row for row in single if row["running"] == 1], best, macro)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _proposal_times(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of CPU time of a proposal by cell and sampler, for searches one by one."""
    timed = by_cell(row for row in rows if row.get("proposal_ms") and row["running"] == 1)
    return {
        cell: {name: round(median(row["proposal_ms"] for row in own), 2) for name, own in samplers.items()}
        for cell, samplers in timed.items()
    }


def _write_figures(out: Path, rows: Sequence[Row], best: Mapping[str, float], macro: Mapping[str, Macro]) -> None:
    """Write a figure of NAS-Bench-Macro, and one for each space with made-up accuracies."""
    files = dict[str, list[Row]]()
    for row in rows:
        space = "" if row["task"] in macro else row["cell"].split(", ")[1].replace(":", "-")
        files.setdefault(f"made_up_{space}.png" if space else "macro.png", []).append(row)
    for name, own in files.items():
        write_png(out / name, _figure(best, by_cell(own)))


def read_rows(path: Path) -> list[Row]:
    """Return the searches of a file; none where there is no file. Older files have only searches one by one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [{"running": 1, **json.loads(line)} for line in lines]


def _regrets(best: Mapping[str, float], rows: Sequence[Row]) -> Floats:
    """Return the regret `(runs, evaluations)` of the best evaluated network.

    It is NaN as long as no network met the target. A run that ended early keeps its last regret.
    """
    longest = max(len(row["truth"]) for row in rows)
    curves = (np.pad(curve(row), (0, longest - len(row["truth"])), mode="edge") for row in rows)
    regrets = np.stack([best[row["task"]] - reached for row, reached in zip(rows, curves, strict=True)])
    return np.where(np.isinf(regrets), np.nan, regrets)


def _means(regrets: Floats) -> Floats:
    """Return means over the runs that found a network; NaN where none did."""
    found_regrets = ~np.isnan(regrets)
    return np.asarray(
        np.where(found_regrets, regrets, 0).sum(axis=0)
        / np.where(found_regrets.any(axis=0), found_regrets.sum(axis=0), np.nan)
    )


def _rank(task: Macro, regret: float) -> int:
    return int((task.ranks > task.best - regret + 1e-6).sum()) + 1


def _table(task: Macro, samplers: Mapping[str, Sequence[Row]], checkpoints: Sequence[int]) -> dict[str, Any]:
    found = {}
    for name, rows in samplers.items():
        regrets = _regrets({task.name: task.best}, rows)
        at = [count for count in checkpoints if count <= regrets.shape[1]]
        found[name] = {
            "runs": len(rows),
            "visited": [_summary(task, regrets[:, count - 1]) for count in at],
            **{
                key: [_summary(task, np.array([_regret(task, row[key][i]) for row in rows])) for i in range(len(at))]
                for key in ("handed", "read")
            },
        }
    return found


def _regret(task: Macro, truth: float | None) -> float:
    return float("nan") if truth is None else task.best - truth


def _summary(task: Macro, regrets: Floats) -> dict[str, Any]:
    """Summarize the runs that found a network; `nothing` is the number of the others."""
    found_regrets = regrets[~np.isnan(regrets)]
    if not len(found_regrets):
        return {"regret": None, "nothing": len(regrets)}
    quartiles = [round(float(q), 4) for q in np.quantile(found_regrets, [0.25, 0.75])]
    ranked = {"rank": median(_rank(task, float(r)) for r in found_regrets)} if len(task.ranks) else {}
    nothing = {"nothing": int(np.isnan(regrets).sum())} if np.isnan(regrets).any() else {}
    return {"regret": round(float(found_regrets.mean()), 4), "quartiles": quartiles, **ranked, **nothing}


def _needed(task: Macro, samplers: Mapping[str, Sequence[Row]], counts: Sequence[int]) -> dict[str, Any]:
    """Return after how many evaluations the mean regret is that of the best other sampler after given numbers."""
    means = {name: _means(_regrets({task.name: task.best}, rows)) for name, rows in samplers.items()}
    found = {}
    for group in ("as it comes", "with the filter"):
        # Another version of the package's own sampler has a label after a comma.
        others = [n for n in means if n.split(",")[0] != OWN and n.endswith("+ filter") == (group == "with the filter")]
        for count in (count for count in counts if others and OWN in means and count <= len(means[OWN])):
            best = min(others, key=lambda name: means[name][count - 1])
            level = float(means[best][count - 1])
            reached = np.flatnonzero(means[OWN] <= level + 1e-9)
            own = int(reached[0]) + 1 if len(reached) else None
            ratio = round(count / own, 2) if own else None
            found[f"{group}, {count}"] = {"best": best, "regret": round(level, 4), "needed": own, "ratio": ratio}
    return found


def _areas(task: Macro, samplers: Mapping[str, Sequence[Row]], checkpoints: Sequence[int]) -> dict[str, Any]:
    """Return the hypervolume of the evaluated networks by true accuracy, as a share of that of the whole table."""
    archs = task.table.architectures()
    costs = np.array([MACS.estimate(arch).value / 1e6 for arch in archs])
    whole = area(np.array([task.truth(arch) for arch in archs]), costs, float(costs.max()), CORNER)
    found = {}
    for name, rows in samplers.items():
        shares = [
            [area(np.array(r["truth"][:n]), np.array(r["mmacs"][:n]), float(costs.max()), CORNER) / whole for r in rows]
            for n in checkpoints
        ]
        found[name] = {"runs": len(rows), "share": [[round(float(np.mean(s)), 5), *_quartiles(s)] for s in shares]}
    return found


def _quartiles(shares: Sequence[float]) -> list[float]:
    return [round(float(q), 5) for q in np.quantile(shares, [0.25, 0.75])]


def _lines(report: Mapping[str, Any], checkpoints: Sequence[int]) -> Iterable[str]:
    for task, samplers in report["regret"].items():
        yield f"\n{task}: mean regret in points [median rank] after {' / '.join(map(str, checkpoints))} evaluations"
        for name, found in sorted(samplers.items(), key=lambda pair: pair[1]["visited"][-1]["regret"] or 99):
            cells = (f"{key} {_cells(found[key])}" for key in ("visited", "handed", "read"))
            yield f"  {name:20} {found['runs']:3} runs   {'   '.join(cells)}"
        for group, found in report["needed"][task].items():
            yield (
                f"  {group:22} best {found['best']:20} {found['regret']:.3f}: surrogate needs {found['needed']}, "
                f"ratio {found['ratio']}"
            )
    for task, samplers in report["hypervolume"].items():
        yield f"\n{task}: hypervolume of the front visited, share of the known one"
        for name, found in sorted(samplers.items(), key=lambda pair: -pair[1]["share"][-1][0]):
            yield f"  {name:20} {found['runs']:3} runs   " + " / ".join(f"{share[0]:.4f}" for share in found["share"])


def _cells(summaries: Sequence[Mapping[str, Any]]) -> str:
    return " / ".join(_cell(summary) for summary in summaries)


def _cell(summary: Mapping[str, Any]) -> str:
    if summary["regret"] is None:
        return "-"
    rank = f" [{summary['rank']:g}]" if "rank" in summary else ""
    return f"{summary['regret']:.3f}{rank}" + (f" ({summary['nothing']} none)" if "nothing" in summary else "")


def _figure(best: Mapping[str, float], single: Mapping[str, Mapping[str, Sequence[Row]]]) -> go.Figure:
    """Return a figure of mean regrets by evaluations, with quartiles; samplers without the filter are dotted."""
    rows = -(-len(single) // 2)
    figure = make_subplots(rows, 2, subplot_titles=list(single), horizontal_spacing=0.07, vertical_spacing=0.16)
    names = sorted({name for samplers in single.values() for name in samplers}, key=lambda n: (n != OWN, n))
    for i, samplers in enumerate(single.values()):
        for name in (name for name in names if name in samplers):
            color = LABELED if "," in name else COLORS[name.partition(" ")[0]]
            for trace in _traces(_regrets(best, samplers[name]), name, color, first=i == 0):
                figure.add_trace(trace, i // 2 + 1, i % 2 + 1)
        figure.update_yaxes(title_text="regret, points", rangemode="tozero", row=i // 2 + 1, col=i % 2 + 1)
    figure.update_xaxes(title_text="evaluations", row=rows)
    legend = {"orientation": "h", "y": -0.12, "yanchor": "top"}
    figure.update_layout(template="plotly_white", legend=legend, margin={"t": 40, "r": 20})
    return figure


def _traces(regrets: Floats, name: str, color: str, *, first: bool) -> Iterable[go.Scatter]:
    count = np.arange(1, regrets.shape[1] + 1)
    shown = count >= 10
    low, high = np.nanquantile(regrets[:, shown], [0.25, 0.75], axis=0)
    x = count[shown]
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    yield go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([low, high[::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{0.18 if name == OWN else 0.06})",
        line_width=0,
        showlegend=False,
        hoverinfo="skip",
    )
    dash = "solid" if name == OWN or name.endswith("filter") else "dot"
    width = 3 if name == OWN else 1.5
    mean = _means(regrets[:, shown])
    yield go.Scatter(
        x=x, y=mean, name=name, legendgroup=name, showlegend=first, line={"color": color, "dash": dash, "width": width}
    )
