"""The output of `nas pareto`: tables of fronts with their hypervolume, and JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

if TYPE_CHECKING:
    from nas.report.fronts import CostAxis
    from nas.report.overlay import Overlay
    from nas.studies.records import Record, StudyView

MARK = " *"
USUAL = {"macs": "MACs", "params": "params", "peak_bytes": "peak memory"}
CAVEAT = (
    "The accuracies are measured, and the highest of many noisy ones are too high, so that the hypervolume is too; "
    "it rises with the number of trials."
)


def study_json(view: "StudyView", x: str) -> dict[str, Any]:
    """Return what is known of a study as JSON values."""
    from nas.report.frame import rows, trial_frame
    from nas.report.fronts import cost_axis, hypervolume

    axis = cost_axis(view, x)
    front = view.front_by(axis.cost)
    return {
        "study": view.name,
        "cost": axis.cost,
        "rows": rows(trial_frame(view)),
        "front": [record.number for record in front],
        "recommended": attrs.asdict(view.recommendation),
        "hypervolume": attrs.asdict(hypervolume(view, axis, front)) if front else None,
    }


def overlay_json(views: "Sequence[StudyView]", info: "Overlay") -> dict[str, Any]:
    """Return what is known of several studies as JSON values."""
    return {
        "cost": info.series[0].axis.cost,
        "studies": [study_json(view, info.series[0].axis.cost) for view in views],
        "differences": list(info.differences),
        # Fronts of studies that are not comparable are not merged.
        "front": None if info.differences else [{"study": name, "trial": number} for name, number in info.merged],
        "hypervolume": info.volume,
    }


def print_study(view: "StudyView", written: list[Path], storage: str, x: str = "") -> None:
    """Print the front and the baseline, the files that were written, and a command to continue with.

    Args:
        view: The study.
        written: Files that were written.
        storage: Storage of the study.
        x: Cost of the front; "" takes the one that the first target limits.
    """
    from nas.cli.shared.printing import next_command, print_table
    from nas.report.fronts import cost_axis

    axis = cost_axis(view, x)
    front = view.front_by(axis.cost)
    named = [*_named(view, front, axis)]
    named += [(f"baseline {view.baseline.label}", view.baseline)] if view.baseline else []
    print_table(*_table(view, axis, named))
    for line in (*_legend(view, [record for _, record in named]), *_volume(view, axis, front)):
        click.echo(line)
    for path in written:
        click.echo(f"wrote {path}")
    if front:
        is_first = axis.cost == view.cost_name
        which = f"pareto={len(front)}" if is_first else f"trial={front[-1].number}"
        click.echo(f"next: {next_command('show', f'study:{view.name}:{which}', storage=storage)}")


def print_overlay(views: "Sequence[StudyView]", info: "Overlay", written: list[Path]) -> None:
    """Print the front of each study, whether they are comparable, and the front of all of them if they are."""
    from nas.cli.shared.printing import print_table

    for view, each in zip(views, info.series, strict=True):
        front = view.front_by(each.axis.cost)
        headers, rows = _table(view, each.axis, _named(view, front, each.axis))
        print_table(headers, rows, title=f"study {view.name}")
        for line in (*_legend(view, front), *_volume(view, each.axis, front, caveat=False), ""):
            click.echo(line)
    for sentence in info.differences:
        click.echo(sentence)
    if info.volume is not None:
        merged = ", ".join(f"{name} {number}" for name, number in info.merged)
        click.echo(f"front of all studies (study and trial, by rising cost): {merged}")
        click.echo(f"hypervolume of the front of all studies: {info.volume:.1%} to {info.reference}")
    for line in _caveat(views):
        click.echo(line)
    for path in written:
        click.echo(f"wrote {path}")


def _table(
    view: "StudyView", axis: "CostAxis", named: "Iterable[tuple[str, Record]]"
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the headers and the rows of a table of trials."""
    from nas.cost.base import cost_title

    own = tuple(limit for limit in view.settings["limits"] if limit["cost"] not in USUAL)
    if axis.cost not in USUAL and all(limit["cost"] != axis.cost for limit in own):
        own = (*own, {"cost": axis.cost, "unit": axis.unit})
    costs = tuple(cost_title(limit["cost"]) for limit in own)
    measured = ("measured", "meets it") if view.measurements else ()
    headers = ("architecture", view.accuracy_label, *USUAL.values(), *costs, *measured)
    return headers, [(*_cells(view, name, record, own), *_measured(view, record)) for name, record in named]


def _volume(view: "StudyView", axis: "CostAxis", front: "Sequence[Record]", *, caveat: bool = True) -> "Iterator[str]":
    """Yield the hypervolume of a front with its reference point, and what to think of it."""
    from nas.report.fronts import hypervolume
    from nas.report.points import volume_text

    if front:
        yield volume_text(hypervolume(view, axis, front), axis)
        if caveat:
            yield from _caveat([view])


def _caveat(views: "Sequence[StudyView]") -> "Iterator[str]":
    """Yield what to think of a hypervolume of measured accuracies; scores without training are not measured."""
    if any(view.accuracy_label == "accuracy" for view in views):
        yield CAVEAT


def _named(view: "StudyView", front: "Sequence[Record]", axis: "CostAxis") -> "Iterator[tuple[str, Record]]":
    """Yield the front, and the recommended trial if it is not on the front.

    Numbers such as `pareto=2`, which other commands understand, are those of the front of the first target's cost.
    """
    best = view.best
    for i, record in enumerate(front, 1):
        which = f"pareto={i} (trial {record.number})" if axis.cost == view.cost_name else f"trial {record.number}"
        yield f"{which}{MARK * (record is best)}", record
    if best is not None and best not in front:
        yield f"trial {best.number}{MARK}", best


def _legend(view: "StudyView", shown: "Sequence[Record]") -> "Iterator[str]":
    """Yield the lines that explain the table."""
    chosen = view.recommendation
    if chosen.trial is None:
        yield f"no network is recommended: {chosen.reason}"
    else:
        yield f"{MARK.strip()} recommended: trial {chosen.trial}; {chosen.reason}"
    if any(view.confirmed.get(record.number) for record in shown):
        yield "of N: mean over N evaluations with different seeds, ± half of its 95% interval"
    if own := [limit["cost"] for limit in view.own_limits if any(limit["cost"] in each.spreads for each in shown)]:
        yield f"{', '.join(own)}: as the search used it, ± one standard deviation of a call of the function"
    if any("latency_ms" in record.spreads for record in shown):
        yield "latency: as the search used it, ± one standard deviation, which for a prediction is the table's error"


def _measured(view: "StudyView", record: "Record") -> tuple[str, ...]:
    """Return the cost that was measured and whether it meets its target; no cells if none was measured."""
    from nas.cost.base import format_amount

    if not view.measurements:
        return ()
    measurement = view.measurements.get(record.number)
    if measurement is None:
        return ("-", "-")
    units = {limit["cost"]: limit["unit"] for limit in view.settings["limits"]}
    cost = format_amount(measurement.measured, units.get(measurement.cost, ""))
    return (f"{cost} ± {measurement.spread:.2g}", "yes" if measurement.meets else "no")


def _cells(view: "StudyView", name: str, record: "Record", own: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    from nas.cli.shared.printing import millions
    from nas.cost.base import format_amount

    def amount(cost: str, unit: str) -> str:
        value, spread = record.costs.get(cost), record.spreads.get(cost, 0.0)
        if value is None:
            return "-"
        return format_amount(value, unit) + ("" if spread == 0 else " ± ?" if spread is None else f" ± {spread:.2g}")

    counts = (millions(record.costs.get("macs")), millions(record.costs.get("params")))
    amounts = (amount(limit["cost"], limit["unit"]) for limit in own)
    return (name, _accuracy(view, record), *counts, amount("peak_bytes", "bytes"), *amounts)


def _accuracy(view: "StudyView", record: "Record") -> str:
    """Return the accuracy of a trial with its interval and the number of its evaluations, as far as they are known."""
    from nas.cli.shared.printing import percent

    interval, further = view.interval(record), view.confirmed.get(record.number, ())
    if interval is None:
        return "-"
    margin = ""
    if interval.low is not None and interval.high is not None:
        margin = f" ± {50 * (interval.high - interval.low):.2f}"
    return f"{percent(interval.value)}{margin}" + (f" of {len(further) + 1}" if further else "")
