"""The result of a search as tables and as JSON."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from nas.cli.search.uncertainty import summary
from nas.report.uncertainty import (
    expected_sentence,
    first_sentences,
    format_difference,
    leaders_sentence,
    outlook_sentence,
    split_sentence,
)

if TYPE_CHECKING:
    from nas.search.kept_weights import KeptWeights
    from nas.studies.records import Record, StudyView

SHOWN = 5
MEAN = "accuracy_mean"


def print_result_json(view: "StudyView", storage: str, kept: "KeptWeights | None" = None) -> None:
    """Print the best trial, the baseline, the Pareto front and the verified trials as one JSON object.

    Args:
        view: The study.
        storage: Optuna URL of its database.
        kept: Where the weights of the best trials are kept; None if there are none.
    """
    from nas.cli.shared.printing import print_json
    from nas.studies.urls import mask

    print_json(
        {
            "study": view.name,
            "storage": mask(storage),
            "trials": view.counted,
            "best": result_row(view, view.best),
            "baseline": result_row(view, view.baseline),
            "front": [result_row(view, record) for record in view.front],
            "verified": [result_row(view, record) for record in view.ranked if record.number in view.measurements],
            "targets": view.settings["targets"],
            **summary(view),
            **({} if kept is None else {"weights": _weights(view, kept)}),
        }
    )


def _weights(view: "StudyView", kept: "KeptWeights") -> dict[str, str]:
    """Return the files with the weights of trials, by trial number, the best first; "baseline" is another key."""
    files = {
        "baseline" if record.number < 0 else str(record.number): kept.file(record)
        for record in (*view.ranked, *((view.baseline,) if view.baseline else ()))
    }
    return {name: str(path) for name, path in files.items() if path is not None}


def result_row(view: "StudyView", record: "Record | None") -> dict[str, Any] | None:
    """Return the JSON form of one trial or baseline, None where there is none."""
    if record is None:
        return None
    return {
        "trial": record.number if record.number >= 0 else None,
        "name": record.label or None,
        "arch": record.arch,
        "accuracy": record.accuracy,
        **{name: _count(record, name) for name in ("macs", "params", "peak_bytes")},
        **{name: value for name, value in record.costs.items() if name not in ("macs", "params", "peak_bytes")},
        **{f"{name}_spread": spread for name, spread in record.spreads.items()},
        "score": record.score,
        **_expected(view, record),
        "further_accuracies": list(view.confirmed.get(record.number, ())),
        "remarks": dict(record.metadata),
        "measurement": _measurement(view, record),
    }


def _expected(view: "StudyView", record: "Record") -> dict[str, float | None]:
    """Return what the model of all trials expects of a trial; all values are None without a prediction."""
    expected = view.expected.get(record.number)
    return {
        "expected_accuracy": None if expected is None else expected.accuracy,
        "expected_spread": None if expected is None else expected.spread,
        "expected_low": None if expected is None else expected.low,
        "expected_high": None if expected is None else expected.high,
        "expected_score": None if expected is None else expected.score,
    }


def _measurement(view: "StudyView", record: "Record") -> dict[str, Any] | None:
    """Return the measurement of a trial on the device, None where there is none."""
    measurement = view.measurements.get(record.number)
    if measurement is None:
        return None
    return {
        "cost": measurement.cost,
        "target": measurement.target,
        "predicted": measurement.predicted,
        "measured": measurement.measured,
        "spread": measurement.spread,
        "meets": measurement.meets,
        "noisy": measurement.noisy,
    }


def _count(record: "Record", name: str) -> int | None:
    """Return a cost as a whole number, None where the study does not hold it."""
    value = record.costs.get(name)
    return None if value is None else int(value)


def print_result(
    view: "StudyView", storage: str, kept: "KeptWeights | None" = None, training: Sequence[str] = ()
) -> None:
    """Print the best architectures and the baseline, where they are stored, and the next commands.

    Args:
        view: The study.
        storage: Optuna URL of its database.
        kept: Where the weights of the best trials are kept; None if there are none.
        training: Options with which `nas train` continues from the kept weights on the same images.
    """
    from nas.cli.shared.printing import next_command
    from nas.studies.urls import mask

    click.echo()
    for sentence in first_sentences(view):
        click.echo(f"{sentence}\n")
    _print_best(view)
    for line in filter(
        None, (split_sentence(view), expected_sentence(view), leaders_sentence(view), outlook_sentence(view))
    ):
        click.echo(line)
    if view.best is None:
        click.echo(_no_best(view, storage))
        if kept is not None and kept.folder.is_dir():
            click.echo(f"the fine-tuned weights of trials are in {kept.folder}")
        return
    if any(measurement.noisy for measurement in view.measurements.values()):
        click.echo("other work disturbed the machine while the best were measured; nas latency measure says more")
    click.echo(f"\nbest: trial {view.best.number}\n{view.best.arch}\n")
    click.echo(f"{view.counted} trials are in study {view.name}, {mask(storage)}")
    if kept is not None and (file := kept.file(view.best)) is not None:
        click.echo(f"its fine-tuned weights are in {file}")
    click.echo(f"next: {next_command('pareto', view.name, storage=storage)}")
    best = f"study:{view.name}:best"
    click.echo(f"      {next_command('show', best, storage=storage)}")
    if kept is not None and kept.file(view.best) is not None:
        click.echo(f"      {next_command('train', best, *training, storage=storage)}")


def _no_best(view: "StudyView", storage: str) -> str:
    from nas.cli.shared.printing import next_command

    if view.learned is False:  # the first sentence says why
        shown = next_command("show", f"study:{view.name}:trial=NUMBER", storage=storage)
        return f"{view.counted} trials are in study {view.name}; {shown} shows one"
    return f"no network is recommended: {view.recommendation.reason}"


def _print_best(view: "StudyView") -> None:
    from nas.cli.shared.printing import print_table
    from nas.cost.base import cost_title

    judged = [record for record in view.ranked if record.number in view.measurements]
    shown = list(view.front if view.settings["objective"] == "pareto" else judged or view.ranked[:SHOWN])
    if view.settings["objective"] != "pareto":  # what was re-trained is shown, however many networks that are
        shown = [*shown, *(record for record in view.ranked if record.number in view.confirmed and record not in shown)]
    rows = [_cells(view, f"trial {record.number}", record) for record in shown]
    rows += [_cells(view, f"baseline {view.baseline.label}", view.baseline)] if view.baseline else []
    own = tuple(cost_title(limit["cost"]) for limit in _own_limits(view))
    measured = ("measured", "meets it") if view.measurements else ()
    expected = ("expected",) if view.expected else ()
    mean = ("mean of seeds",) if _has_means(view) else ()
    source = (f"against {view.source.label}",) if view.source else ()
    click.echo(f"target: {' and '.join(view.settings['targets'])}")
    print_table(
        ("architecture", view.accuracy_label, *expected, *mean, "MACs", "params", *own, *measured, *source, "score"),
        rows,
    )


def _own_limits(view: "StudyView") -> list[dict[str, Any]]:
    """Return the limits of costs that have no column of their own."""
    return [limit for limit in view.settings["limits"] if limit["cost"] not in ("macs", "params")]


def _cells(view: "StudyView", name: str, record: "Record") -> tuple[str, ...]:
    from nas.cli.shared.printing import millions, number, percent

    counts = (millions(record.costs.get("macs")), millions(record.costs.get("params")))
    own = tuple(_own_cell(record, limit["cost"], limit["unit"]) for limit in _own_limits(view))
    accuracies = (percent(record.accuracy), *_expected_cells(view, record), *_mean_cells(view, record))
    measured = _measured_cells(view, record)
    return (name, *accuracies, *counts, *own, *measured, *_source_cells(view, record), number(record.score))


def _source_cells(view: "StudyView", record: "Record") -> tuple[str, ...]:
    """Return the change of the cost and the difference of the accuracy from the network that weights come from."""
    from nas.studies.comparison import against_source

    if view.source is None:
        return ()
    against = None if record is view.source else against_source(view, record)
    return ("-" if against is None else f"{against.change:+.0%}, {format_difference(against)}",)


def _expected_cells(view: "StudyView", record: "Record") -> tuple[str, ...]:
    if not view.expected:
        return ()
    expected = view.expected.get(record.number)
    if expected is None:
        return ("-",)
    if expected.low is None or expected.high is None:
        return (f"{100 * expected.accuracy:.1f} ± {100 * expected.spread:.1f}%",)
    return (f"{100 * expected.accuracy:.1f}% ({100 * expected.low:.1f}-{100 * expected.high:.1f})",)


def _has_means(view: "StudyView") -> bool:
    return bool(view.confirmed) or any(MEAN in record.metadata for record in view.complete)


def _mean_cells(view: "StudyView", record: "Record") -> tuple[str, ...]:
    """Return the mean over the seeds of a table, or over those that the best trials were re-trained with."""
    from nas.cli.shared.printing import percent

    if not _has_means(view):
        return ()
    further = view.confirmed.get(record.number)
    if further and record.accuracy is not None:
        return (f"{percent(fmean([record.accuracy, *further]))} of {len(further) + 1}",)
    return (percent(record.metadata.get(MEAN)),)


def _own_cell(record: "Record", cost: str, unit: str) -> str:
    """Return a cost with its spread, where it has one."""
    from nas.cost.base import format_amount

    value, spread = record.costs.get(cost), record.spreads.get(cost, 0.0)
    if value is None:
        return "-"
    margin = "" if spread == 0 else " ± ?" if spread is None else f" ± {spread:.2g}"
    return f"{format_amount(value, unit)}{margin}"


def _measured_cells(view: "StudyView", record: "Record") -> tuple[str, ...]:
    from nas.cost.base import format_amount

    if not view.measurements:
        return ()
    measurement = view.measurements.get(record.number)
    if measurement is None:
        return ("-", "-")
    unit = next((limit["unit"] for limit in _own_limits(view) if limit["cost"] == measurement.cost), "")
    cost = f"{format_amount(measurement.measured, unit)} ± {measurement.spread:.2g}"
    return (cost, "yes" if measurement.meets else "no")
