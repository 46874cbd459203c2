"""The sections of the latency table of a search, and of its predictions beside what was measured on the device."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean, median, stdev
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.cost.table import LatencyTable
from nas.noise import quantile
from nas.report.section import Figure, Section, Table, command, missing
from nas.report.theme import BLUE, GRAY, INK, axis, bars, layout, percent
from nas.studies.records import NORMAL_95, DeviceMeasurement, Record, StudyView

TITLE = "Latency table and measurements"
TABLE_WORD = "table "


@frozen
class Compared:
    """Hold the predicted and the measured cost of one trial.

    Attributes:
        number: Number of the trial.
        predicted: Cost that the search used.
        measured: Cost that was measured after the search.
        error: Standard deviation of the prediction; None where it is unknown.
        spread: Standard deviation of the measurement.
        meets: Whether the target is met.
        noisy: Whether other work disturbed the measurement.
    """

    number: int
    predicted: float
    measured: float
    error: float | None
    spread: float
    meets: bool
    noisy: bool

    @property
    def difference(self) -> float:
        """Return how much higher the measured cost is than the predicted one, as a share of the predicted one."""
        return self.measured / self.predicted - 1

    @property
    def is_expected(self) -> bool | None:
        """Return whether the difference is within the 95% interval that both errors give; None where it is unknown."""
        if self.error is None:
            return None
        return abs(self.measured - self.predicted) <= NORMAL_95 * math.hypot(self.error, self.spread)


def compared(view: StudyView, cost: str) -> tuple[Compared, ...]:
    """Return the trials whose cost was both predicted and measured, by number."""
    records = {record.number: record for record in view.records}
    return tuple(
        _compared(records[number], measurement)
        for number, measurement in sorted(view.measurements.items())
        if measurement.cost == cost and number in records and _is_known(measurement)
    )


def _is_known(measurement: DeviceMeasurement) -> bool:
    # A network that could not be measured has an infinite cost.
    return bool(measurement.predicted) and math.isfinite(measurement.measured)


def _compared(record: Record, measurement: DeviceMeasurement) -> Compared:
    error = record.spreads.get(measurement.cost)
    return Compared(
        record.number,
        float(measurement.predicted or 0.0),
        measurement.measured,
        None if error is None or math.isnan(error) else error,
        measurement.spread,
        measurement.meets,
        measurement.noisy,
    )


def device_section(view: StudyView, table: LatencyTable | None = None, now: datetime | None = None) -> Section:
    """Return the section of what the study holds of its costs on a device.

    Args:
        view: The study.
        table: The latency table that the study names, if it was found.
        now: Time from which the age of the table is counted.
    """
    limit = next((limit for limit in view.settings["limits"] if limit.get("basis")), None)
    if limit is None:
        return missing(
            TITLE,
            "The search has no target that depends on a device: its costs are counted, and exact.",
            ("nas search --target latency=8ms --device cpu", "nas latency measure ARCH --device cpu"),
        )
    cost, unit, basis = str(limit["cost"]), str(limit["unit"]), limit["basis"]
    pairs = compared(view, cost)
    tables = [_facts_table(view, cost, basis, table, now or datetime.now(UTC))]
    tables += [_pairs_table(pairs, unit)] if pairs else []
    text = " ".join((*_how(basis), *_sentences(pairs, predicts=_by_table(basis))))
    return Section(TITLE, text, [_figure(pairs, unit)] if pairs else [], tables, commands=_commands(basis, table))


def _by_table(basis: Mapping[str, Any]) -> str:
    """Return the name of the latency table, or "" where candidates were measured or a function gave the cost."""
    by = str(basis.get("by", ""))
    return by.removeprefix(TABLE_WORD) if by.startswith(TABLE_WORD) else ""


def _how(basis: Mapping[str, Any]) -> Iterable[str]:
    if "function" in basis:
        yield f"The cost of each candidate was returned by the function {basis['function']}."
    elif name := _by_table(basis):
        yield f"During the search, latencies were predicted by the latency table {name}."
    else:
        yield "During the search, every candidate was measured on the device, as there was no usable latency table."


def _sentences(pairs: Sequence[Compared], *, predicts: str) -> Iterable[str]:
    if not pairs:
        yield "No trial was measured after the search, so that the costs are not verified."
        return
    met, first = sum(pair.meets for pair in pairs), "predicted" if predicts else "found in the search"
    yield f"After the search, {len(pairs)} trials were measured in turns: {met} of them meet the target."
    differences = [pair.difference for pair in pairs]
    yield (
        f"The measured costs differ from those {first} by {percent(fmean(map(abs, differences)), 1)} on average"
        f"{_bias(differences)}."
    )
    known = [pair.is_expected for pair in pairs if pair.is_expected is not None]
    if known:
        yield f"{sum(known)} of {len(known)} are within the 95% interval of the errors of both."
    if any(pair.noisy for pair in pairs):
        count = sum(pair.noisy for pair in pairs)
        yield f"Other work on the device disturbed {count} measurement{'s' * (count > 1)}."


def _bias(differences: Sequence[float]) -> str:
    """Return the mean difference with its interval in words; nothing is known of it from fewer than three trials."""
    if len(differences) < 3:
        return ""
    middle = fmean(differences)
    half = quantile(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return f" (mean {middle:+.1%}, 95% interval {middle - half:+.1%} to {middle + half:+.1%})"


def _facts_table(
    view: StudyView, cost: str, basis: Mapping[str, Any], table: LatencyTable | None, now: datetime
) -> Table:
    rows = [(_FACTS.get(key, key), str(value)) for key, value in basis.items() if value]
    if age := _age(str(basis.get("made", "")), now):
        rows.append(("age of the table", age))
    rows.append(("error of a cost, as the search used it", _search_error(view, cost)))
    return Table("How the costs of the search came about", ("What", "Value"), [*rows, *_table_facts(table)])


_FACTS = {"by": "costs by", "made": "table made (UTC)", "machine": "machine", "graph": "form of the ONNX graphs"}


def _age(made: str, now: datetime) -> str:
    try:
        then = datetime.strptime(made, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError:
        return ""
    days = (now - then).days
    return f"{max(0, days)} day{'' if days == 1 else 's'}"


def _search_error(view: StudyView, cost: str) -> str:
    """Return the standard deviation of the costs that the search used, as a share of them."""
    shares = [
        spread / record.costs[cost]
        for record in view.records
        if (spread := record.spreads.get(cost)) is not None and record.costs.get(cost) and not math.isnan(spread)
    ]
    return f"± {median(shares):.1%} (standard deviation)" if shares else "unknown"


def _table_facts(table: LatencyTable | None) -> list[tuple[str, str]]:
    if table is None:
        return []
    origin, correction, checked = table.origin, table.correction, table.checked
    fitted = "unknown" if correction.error is None else f"{correction.error:.1%} on {correction.networks} networks"
    found = (
        "never checked on new networks"
        if checked is None
        else f"{checked.error:.1%} ± {checked.spread:.1%} on {checked.networks} networks"
    )
    return [
        ("device", str(origin.device)),
        ("layers in the table", f"{len(table.layers_ms):,}, each timed {origin.passes} times"),
        ("error by leaving networks out of the fit", fitted),
        ("error found by a check", found),
        ("largest error with which the table is used", f"{table.max_error:.1%}"),
        *([("latencies adapted from", origin.adapted_from)] if origin.adapted_from else []),
    ]


def _pairs_table(pairs: Sequence[Compared], unit: str) -> Table:
    rows = [
        (
            str(pair.number),
            _amount(pair.predicted, pair.error),
            _amount(pair.measured, pair.spread),
            f"{pair.difference:+.1%}",
            {True: "yes", False: "no", None: "unknown"}[pair.is_expected],
            "yes" if pair.meets else "no",
            "disturbed" if pair.noisy else "",
        )
        for pair in pairs
    ]
    headers = ("Trial", f"In the search ({unit})", f"Measured after it ({unit})", "Difference", "Expected", "Meets", "")
    return Table("Trials that were measured after the search (± one standard deviation)", headers, rows, {0, 1, 2, 3})


def _amount(value: float, spread: float | None) -> str:
    return f"{value:.4g} ± {'?' if spread is None else format(spread, '.2g')}"


def _figure(pairs: Sequence[Compared], unit: str) -> Figure:
    measured, predicted = [pair.measured for pair in pairs], [pair.predicted for pair in pairs]
    ends = [*measured, *predicted]
    margin = 0.08 * (max(ends) - min(ends)) or 0.05 * max(ends)
    low, high = min(ends) - margin, max(ends) + margin
    figure = go.Figure()
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        name="equal",
        mode="lines",
        line={"color": GRAY, "width": 1.2, "dash": "dash"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=measured,
        y=predicted,
        text=[str(pair.number) for pair in pairs],
        name="trials (bars: 95% intervals)",
        mode="markers",
        marker={"color": BLUE, "size": 9},
        error_x=_bars(measured, [pair.spread for pair in pairs]),
        error_y=_bars(predicted, [pair.error for pair in pairs]),
        hovertemplate=f"trial %{{text}}: measured %{{x:.4g}} {unit}, in the search %{{y:.4g}} {unit}<extra></extra>",
    )
    figure.update_layout(
        layout("Costs in the search and measured costs"),
        xaxis=axis(f"Measured after the search ({unit})", span=(low, high)),
        yaxis=axis(f"In the search ({unit})"),
    )
    alt = f"Costs of {len(pairs)} trials in the search against those measured after it. {_alt_difference(pairs)}"
    return Figure("latency-check", alt, figure)


def _alt_difference(pairs: Sequence[Compared]) -> str:
    return f"They differ by {percent(fmean(abs(pair.difference) for pair in pairs), 1)} on average."


def _bars(values: Sequence[float], spreads: Sequence[float | None]) -> dict[str, Any]:
    lows = [
        None if spread is None else value - NORMAL_95 * spread for value, spread in zip(values, spreads, strict=True)
    ]
    highs = [
        None if spread is None else value + NORMAL_95 * spread for value, spread in zip(values, spreads, strict=True)
    ]
    return bars(values, lows, highs, INK)


def _commands(basis: Mapping[str, Any], table: LatencyTable | None) -> list[str]:
    name = _by_table(basis)
    unchecked = name and (table is None or table.checked is None)
    return [
        *([command("nas", "latency", "check", "--table", f"latency_tables/{name}.csv")] if unchecked else []),
        *(["nas latency table --device cpu"] if not name and "function" not in basis else []),
    ]
