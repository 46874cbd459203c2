"""This module answers what the recommended network costs: the target, the cost in the search, and the measured one."""

from collections.abc import Iterable, Iterator
from math import isinf

from nas.cost.base import format_amount
from nas.report.page.answer import Answer
from nas.report.page.words import (
    amount_words,
    cost_name,
    plural,
    unit_of,
)
from nas.report.section import Table
from nas.studies.records import DeviceMeasurement, Record, StudyView

QUESTION = "What does it cost on the device?"


def device_cost(view: StudyView) -> Answer:
    """Return the costs of the recommended network: asked for, as the search used them, and measured."""
    best = view.best
    if best is None:
        shown = "No network is recommended, so that no cost is stated."
        return Answer(QUESTION, (shown, *_measured_sentences(view)))
    rows = tuple(_cost_rows(view, best))
    headers = ("Cost", "Target", "In the search", "Measured after it", "Within the target")
    table = Table(f"Costs of trial {best.number} (± one standard deviation)", headers, rows)
    return Answer(QUESTION, tuple(_cost_sentences(view, best)), (table,))


def _cost_rows(view: StudyView, best: Record) -> Iterator[tuple[str, ...]]:
    limits = {str(limit["cost"]): limit for limit in view.settings["limits"]}
    for cost in dict.fromkeys((*limits, "macs", "params", "peak_bytes")):
        if cost not in limits and cost not in best.costs:
            continue
        high = float(limits[cost]["high"]) if cost in limits else None
        measurement = view.measurements.get(best.number)
        measured = measurement if measurement is not None and measurement.cost == cost else None
        yield (
            cost_name(cost),
            "none" if high is None else format_amount(high, unit_of(view, cost)),
            amount_words(view, best, cost),
            _measured_words(view, measured, is_exact=cost in best.costs and cost not in best.spreads),
            _within(best.costs.get(cost), high, measured),
        )


def _measured_words(view: StudyView, measured: DeviceMeasurement | None, *, is_exact: bool) -> str:
    if measured is None:
        return "exact by counting" if is_exact else "not measured"
    if isinf(measured.measured):
        return "it did not run"
    return f"{format_amount(measured.measured, unit_of(view, measured.cost))} ± {measured.spread:.2g}"


def _within(value: float | None, high: float | None, measured: DeviceMeasurement | None) -> str:
    if high is None:
        return ""
    if measured is not None:
        return "yes, as measured" if measured.meets else "no, as measured"
    if value is None:
        return "unknown"
    return "yes" if value <= high else "no"


def _cost_sentences(view: StudyView, best: Record) -> Iterator[str]:
    measurement = view.measurements.get(best.number)
    if measurement is not None and not isinf(measurement.measured):
        unit = unit_of(view, measurement.cost)
        predicted = "an unknown cost" if measurement.predicted is None else format_amount(measurement.predicted, unit)
        yield (
            f"Measured {view.measured_how}, trial {best.number} takes "
            f"{format_amount(measurement.measured, unit)} ± {measurement.spread:.2g}; the search used {predicted}, and "
            f"the target is {format_amount(measurement.target, unit)}."
        )
    elif not best.spreads:
        yield f"The costs of trial {best.number} are counted from its architecture; none of them depends on a device."
    else:
        yield f"Trial {best.number} was not measured after the search, so that its predicted cost is not verified."
    yield from _measured_sentences(view)


def _measured_sentences(view: StudyView) -> Iterable[str]:
    if not view.measured_count:
        return
    met = len([r for r in view.records if view.meets(r)])
    yield (
        f"{plural(view.measured_count, 'network')} were measured {view.measured_how} after the search, and {met} of "
        "them met the target."
    )
    if noisy := sum(measurement.noisy for measurement in view.measurements.values()):
        yield f"Other work disturbed the machine in {plural(noisy, 'measurement')}; `nas latency measure` says more."
