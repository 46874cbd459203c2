"""The course of a search: every trial, the best so far, and the hypervolume of the front, by trial number."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from attrs import frozen

from nas.cost.base import format_amount
from nas.objective import PARETO
from nas.report.section import Figure, Section, missing
from nas.report.theme import BLUE, GOLD, GRAY, INK, VERMILION, axis, bars, layout, percent
from nas.report.thinning import places_to_draw
from nas.report.trial_points import not_drawn
from nas.studies.records import Record, StudyView, rank

TITLE = "History of the search"
MANY_POINTS = 300  # Points are drawn smaller if there are more of them.

Steps = tuple[tuple[int, float], ...]


@frozen
class Answer:
    """Represent the recommended trial at its place in the search.

    Attributes:
        number: Number of the trial.
        value: Its mean accuracy over all seeds on the scale of the history, as a score where that shows scores.
        low: Lower end of the 95% interval of `value`; None where it is unknown.
        high: Upper end of the interval.
        before: Number of trials that had ended or been started up to this one, itself included.
        share: Share of the seconds of all evaluations that had been used up to this trial; None where it is unknown.
    """

    number: int
    value: float
    low: float | None
    high: float | None
    before: int
    share: float | None


@frozen
class History:
    """Hold the course of a search.

    Attributes:
        value_name: What the values are: "score", "accuracy" or "zero-cost score".
        complete: Number and value of each complete trial.
        pruned: Number and accuracy of each trial that was stopped early.
        failed: Numbers of the trials that failed or were killed.
        best: Each trial whose value was higher than those before it, with the value.
        volumes: Hypervolume after each trial that raised it, of the means over all seeds; see `hypervolumes`.
        reference: Cost and accuracy of the reference point of the hypervolume.
        answer: The recommended trial; None if none is recommended.
        last: Highest number of any trial.
    """

    value_name: str
    complete: Steps
    pruned: Steps
    failed: tuple[int, ...]
    best: Steps
    volumes: Steps
    reference: tuple[float, float]
    answer: Answer | None
    last: int = 0


def history(view: StudyView) -> History:
    """Return the course of a search.

    Example:
        >>> from nas.studies.records import Record
        >>> settings = {"limits": [{"cost": "macs", "high": 10.0}], "objective": "soft", "proxy": {}}
        >>> trials = [Record(i, "complete", "net", {"macs": 5}, a, score=a) for i, a in enumerate((0.5, 0.4, 0.6))]
        >>> found = history(StudyView("demo", settings, tuple(trials)))
        >>> found.best, found.volumes, found.answer.before
        (((0, 0.5), (2, 0.6)), ((0, 0.25), (2, 0.3)), 3)
    """
    complete = tuple((record.number, rank(record)) for record in view.complete if record.accuracy is not None)
    failed = [record for record in view.records if record.state in ("failed", "killed")]
    chance = 0.0 if view.split is None else view.split.chance
    reference = (float(view.settings["limits"][0]["high"]), chance)
    return History(
        value_name="score" if _has_scores(view) else view.accuracy_label,
        complete=complete,
        pruned=tuple(
            (record.number, record.accuracy)
            for record in view.records
            if record.state == "pruned" and record.accuracy is not None
        ),
        failed=tuple(record.number for record in failed),
        best=_records_set(complete),
        volumes=hypervolumes(_front_candidates(view), reference),
        reference=reference,
        answer=_answer(view),
        last=max((record.number for record in view.records), default=0),
    )


def _has_scores(view: StudyView) -> bool:
    return view.settings["objective"] != PARETO and all(record.score is not None for record in view.complete)


def _records_set(steps: Steps) -> Steps:
    """Return the steps whose value is higher than all before."""
    best: list[tuple[int, float]] = []
    for number, value in steps:
        if not best or value > best[-1][1]:
            best.append((number, value))
    return tuple(best)


def _front_candidates(view: StudyView) -> Iterable[tuple[int, float, float]]:
    for record in view.complete:
        cost, known = record.costs.get(view.cost_name), view.interval(record)
        if cost is not None and known is not None:
            yield record.number, float(cost), known.value


def hypervolumes(trials: Iterable[tuple[int, float, float]], reference: tuple[float, float]) -> Steps:
    """Return the hypervolume after each trial that raised it, as a share of the largest that is possible.

    The hypervolume is the area of cost and accuracy that the trials dominate up to the reference point. Its largest
    value has a network without cost that classifies all images correctly.

    Args:
        trials: Number, cost and accuracy of each trial, in the order of the search.
        reference: Cost and accuracy of the reference point. Trials that are not better in both do not count.

    Example:
        >>> hypervolumes([(0, 5.0, 0.5), (1, 2.5, 0.25), (2, 6.0, 0.4)], (10.0, 0.0))
        ((0, 0.25), (1, 0.3125))
    """
    most, least = reference
    whole = most * (1 - least)
    costs: list[float] = []  # the front by rising cost, and so by rising accuracy
    heights: list[float] = []
    area, steps = 0.0, []
    for number, cost, accuracy in trials:
        height = accuracy - least
        place = bisect_left(costs, cost)
        if cost >= most or height <= 0 or _is_dominated(costs, heights, place, cost, height):
            continue
        # The trial replaces those that it dominates: from its place on, all that are not more accurate.
        end = place
        while end < len(costs) and heights[end] <= height:
            end += 1
        area += _gain(costs, heights, place, end, (cost, height, most))
        costs[place:end], heights[place:end] = [cost], [height]
        steps.append((number, area / whole if whole else 0.0))
    return tuple(steps)


def _is_dominated(costs: Sequence[float], heights: Sequence[float], place: int, cost: float, height: float) -> bool:
    """Return whether the front has a trial that is neither more costly nor less accurate."""
    same = place < len(costs) and costs[place] == cost and heights[place] >= height
    return same or (place > 0 and heights[place - 1] >= height)


def _gain(
    costs: Sequence[float], heights: Sequence[float], place: int, end: int, new: tuple[float, float, float]
) -> float:
    """Return the area that a trial adds between its left neighbor's height and its own."""
    cost, height, most = new
    edges = [cost, *costs[place:end], costs[end] if end < len(costs) else most]
    below = [heights[place - 1] if place else 0.0, *heights[place:end]]
    return sum((right - left) * (height - low) for left, right, low in zip(edges, edges[1:], below, strict=False))


def _answer(view: StudyView) -> Answer | None:
    best = view.best
    interval = None if best is None else view.interval(best)
    if best is None or interval is None:
        return None
    earlier = [record for record in view.records if record.number <= best.number and record.state != "running"]
    value, low, high = (
        None if accuracy is None else _on_scale(view, best, accuracy)
        for accuracy in (interval.value, interval.low, interval.high)
    )
    return Answer(best.number, value or 0.0, low, high, len(earlier), _share_of_time(view, earlier))


def _on_scale(view: StudyView, record: Record, accuracy: float) -> float:
    """Return an accuracy of a trial as the score that it would have with it, where the history shows scores."""
    if not _has_scores(view) or record.score is None or not record.accuracy:
        return accuracy
    if view.settings["objective"] == "absolute":
        return accuracy + record.score - record.accuracy
    return accuracy * record.score / record.accuracy


def _share_of_time(view: StudyView, earlier: Sequence[Record]) -> float | None:
    ended = [record for record in view.records if record.state != "running"]
    if any(record.seconds is None for record in ended):
        return None
    whole = sum(record.seconds or 0.0 for record in ended)
    return sum(record.seconds or 0.0 for record in earlier) / whole if whole else None


def history_section(view: StudyView) -> Section:
    """Return the section with the course of a search."""
    found = history(view)
    if not found.complete:
        return missing(TITLE, "No trial is complete, so that there is nothing to show yet.")
    figures = [_values_figure(found)]
    if found.volumes:
        figures.append(_volume_figure(view, found))
    return Section(TITLE, " ".join(_sentences(view, found)), figures)


def _sentences(view: StudyView, found: History) -> Iterable[str]:
    yield f"Each point is one evaluation. The line is the highest {found.value_name} so far, which luck raises" + (
        "; the recommended network is therefore chosen by its expected score." if view.expected else "."
    )
    if hidden := not_drawn(to_draw(found)[1]):
        yield f"{hidden}."
    if found.answer is not None:
        yield _moment(view, found.answer)
    if found.volumes:
        yield (
            "The hypervolume is the share of the area between the reference point and a network without cost or "
            "errors that the front dominates."
        )


def _moment(view: StudyView, answer: Answer) -> str:
    ended = sum(record.state != "running" for record in view.records)
    time = "" if answer.share is None else f", after {answer.share:.0%} of the time of all evaluations"
    return f"The recommended network is trial {answer.number}, the {_ordinal(answer.before)} of {ended} trials{time}."


def _ordinal(number: int) -> str:
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _values_figure(found: History) -> Figure:
    figure = go.Figure()
    lowest, highest = _span(found)
    size = 6 if len(found.complete) <= MANY_POINTS else 4
    drawn, _ = to_draw(found)
    _points(figure, "complete", drawn, {"color": BLUE, "size": size, "opacity": 0.65})
    floor = lowest - 0.06 * (highest - lowest)
    # Trials without a value are marks at the lower edge: they show when they happened.
    _marks(figure, "stopped early", [number for number, _ in found.pruned], floor, ("line-ns", GRAY))
    _marks(figure, "failed or interrupted", found.failed, floor, ("x-thin", VERMILION))
    _staircase(figure, f"highest {found.value_name} so far", found.best, found.last)
    if found.answer is not None:
        _draw_answer(figure, found.answer)
    words, margin = found.value_name[0].upper() + found.value_name[1:], 0.06 * (highest - lowest)
    span = (100 * (floor - margin / 2), 100 * (highest + margin))
    figure.update_layout(layout(f"{words} by trial"), xaxis=_trials_axis(found), yaxis=axis(f"{words} (%)", span=span))
    return Figure("history", _values_alt(found), figure)


def to_draw(found: History) -> tuple[Steps, int]:
    """Return the complete trials to draw, and the number of those that are left out: they are close to others."""
    records = {number for number, _ in found.best}
    stressed = [place for place, (number, _) in enumerate(found.complete) if number in records]
    numbers, values = zip(*found.complete, strict=True)
    places = places_to_draw(numbers, values, stressed)
    return tuple(found.complete[place] for place in places), len(found.complete) - len(places)


def _trials_axis(found: History) -> dict[str, Any]:
    """Return the axis of trial numbers, which both figures share, with room for the first and the last point."""
    margin = 0.03 * found.last + 0.5
    return axis("Trial", span=(-margin, found.last + margin))


def _span(found: History) -> tuple[float, float]:
    """Return the range of values to show: one very bad trial would press all others together."""
    values = sorted(value for _, value in found.complete)
    low, high = values[len(values) // 50], values[-1]
    if found.answer is not None:
        known = (found.answer.value, found.answer.low, found.answer.high)
        low, high = (f([end, *(value for value in known if value is not None)]) for f, end in ((min, low), (max, high)))
    margin = max(high - low, 0.01)
    lowest = values[0] if values[0] >= low - margin else low
    return lowest, max(high, lowest + 0.01)


def _points(figure: go.Figure, name: str, steps: Steps, marker: dict[str, object]) -> None:
    figure.add_scatter(
        x=[number for number, _ in steps],
        y=[round(100 * value, 3) for _, value in steps],
        name=name,
        mode="markers",
        marker=marker,
        hovertemplate="trial %{x}: %{y:.2f}<extra></extra>",
    )


def _marks(figure: go.Figure, name: str, numbers: Sequence[int], height: float, look: tuple[str, str]) -> None:
    if numbers:
        symbol, color = look
        figure.add_scatter(
            x=list(numbers),
            y=[100 * height] * len(numbers),
            name=f"{name} ({len(numbers)})",
            mode="markers",
            marker={"symbol": symbol, "size": 8, "color": color, "line": {"color": color, "width": 1.3}},
            hovertemplate=f"trial %{{x}}: {name}<extra></extra>",
        )


def _staircase(figure: go.Figure, name: str, steps: Steps, last: int) -> None:
    numbers, values = [number for number, _ in steps], [round(100 * value, 4) for _, value in steps]
    figure.add_scatter(
        x=[*numbers, last],
        y=[*values, values[-1]],
        name=name,
        mode="lines",
        line={"color": INK, "width": 2, "shape": "hv"},
        hovertemplate="from trial %{x}: %{y:.2f}<extra></extra>",
    )


def _draw_answer(figure: go.Figure, answer: Answer) -> None:
    known = answer.low is not None and answer.high is not None
    ends = [100 * end if end is not None else None for end in (answer.low, answer.high)]
    figure.add_scatter(
        x=[answer.number],
        y=[100 * answer.value],
        name=f"recommended: trial {answer.number}{' (95% interval)' if known else ''}",
        mode="markers",
        marker={"symbol": "star", "size": 13, "color": GOLD, "line": {"color": INK, "width": 1.2}},
        hovertemplate=f"trial {answer.number}, recommended: %{{y:.2f}}<extra></extra>",
        error_y=bars([100 * answer.value], ends[:1], ends[1:], INK) if known else None,
    )


def _values_alt(found: History) -> str:
    number, value = found.best[-1]
    answer = "" if found.answer is None else f" Trial {found.answer.number} is recommended."
    return (
        f"The {found.value_name} of {len(found.complete)} complete trials by trial number. The highest is "
        f"{100 * value:.2f}, of trial {number}.{answer}"
    )


def _volume_figure(view: StudyView, found: History) -> Figure:
    figure = go.Figure()
    _staircase(figure, "hypervolume", found.volumes, found.last)
    cost, accuracy = found.reference
    unit = str(view.settings["limits"][0].get("unit", ""))
    point = f"{format_amount(cost, unit)} and {view.accuracy_label} {percent(accuracy)}"
    figure.update_layout(
        layout("Hypervolume of the Pareto front", f"reference point: {point}", legend_rows=0),
        xaxis=_trials_axis(found),
        yaxis=axis("Share of the largest possible (%)"),
        showlegend=False,
    )
    text = (
        f"The hypervolume of the Pareto front by trial number. It ends at {percent(found.volumes[-1][1])} of the "
        f"largest possible, with the reference point {point}."
    )
    return Figure("hypervolume", text, figure)
