"""Data of a figure of several studies: accuracy against cost, with the Pareto front of each.

Studies are comparable if their accuracies come from the same images and evaluation, and the drawn cost from the same
device or counting. Only the fronts of comparable studies are merged.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import attrs
from attrs import frozen

from nas.errors import StudyError
from nas.report.fronts import CostAxis, Hypervolume, cost_axis, dominated_share, drawn_axis, hypervolume
from nas.report.points import accuracy_title, reference_text, short_title
from nas.report.thinning import MOST
from nas.report.trial_points import Point, measured_points, points_of, thinned
from nas.studies.records import StudyView

_SHOWN = 3  # differences that a sentence names
# Settings that do not change what an accuracy or a cost means: how a search chose its trials, and what it allowed.
_OF_THE_SEARCH = frozenset(
    {
        "space",
        "space_sha256",
        "fixed",
        "targets",
        "limits",
        "objective",
        "w",
        "further_w",
        "band",
        "seed",
        "sampler",
        "pruner",
        "format",
        "source",
    }
)


@frozen
class Series:
    """Hold the data of one study in a figure of several.

    Attributes:
        name: Name of the study.
        axis: Cost of the figure, with the target of this study.
        others: Complete trials that are not on the front of the study, without those that are close to others.
        front: Front of the study, by rising cost.
        recommended: The recommended trial; empty if there is none.
        predicted: Trials that were measured on the device after the search, at the predicted cost.
        measured: The same trials at the measured cost.
        volume: Hypervolume of the front of the study.
        numbers: Numbers of the trials of the front.
        hidden: Number of trials that are not drawn, because they are close to others.
    """

    name: str
    axis: CostAxis
    others: tuple[Point, ...]
    front: tuple[Point, ...]
    recommended: tuple[Point, ...]
    predicted: tuple[Point, ...]
    measured: tuple[Point, ...]
    volume: Hypervolume
    numbers: tuple[int, ...]
    hidden: int


@frozen
class Overlay:
    """Hold the data of a figure of several studies.

    Attributes:
        series: Data of each study.
        differences: Sentences about what makes the studies not comparable; empty if they are.
        merged: Study and number of each trial on the front of all studies; empty if they are not comparable.
        merged_points: Points of that front.
        volume: Hypervolume of that front, to the reference point of the first study; None if there is none.
        y_title: Title of the accuracy axis.
        chance: Accuracy in percent of always giving the most frequent class; None if it is unknown, or not the same in
            all studies.
    """

    series: tuple[Series, ...]
    differences: tuple[str, ...]
    merged: tuple[tuple[str, int], ...]
    merged_points: tuple[Point, ...]
    volume: float | None
    y_title: str
    chance: float | None

    @property
    def reference(self) -> str:
        """Return the reference point of `volume`, which is that of the first study."""
        return reference_text(self.series[0].volume, self.series[0].axis)

    @property
    def has_one_reference(self) -> bool:
        """Return whether the hypervolumes of all studies have the same reference point."""
        return len({(each.volume.cost, each.volume.accuracy) for each in self.series}) == 1


def overlay(views: Sequence[StudyView], x: str = "") -> Overlay:
    """Return the data of a figure of several studies.

    Args:
        views: Studies.
        x: Cost of the horizontal axis; "" takes the one that the first target of the first study limits.

    Raises:
        StudyError: The studies do not all have the cost, or one of them has no complete trial.
    """
    names = [view.name for view in views]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise StudyError(f"study {repeated} is named more than once", "name each study once")
    cost = cost_axis(views[0], x).cost
    axes = [drawn_axis(view, cost) for view in views]
    series = tuple(_series(view, each, MOST // len(views)) for view, each in zip(views, axes, strict=True))
    found = tuple(sentence for first, second in pairwise(views) if (sentence := difference(first, second, cost)))
    merged = () if found else _merged(series)
    return Overlay(
        series=series,
        differences=found,
        merged=tuple((name, number) for name, number, _ in merged),
        merged_points=tuple(point for *_, point in merged),
        volume=None if found else _merged_volume(series[0], [point for *_, point in merged]),
        y_title=accuracy_title(views[0]) if len({*map(accuracy_title, views)}) == 1 else "Accuracy or score (%)",
        chance=_common_chance(views),
    )


def _common_chance(views: Sequence[StudyView]) -> float | None:
    chances = {None if view.split is None else view.split.chance for view in views}
    (chance,) = chances if len(chances) == 1 else (None,)
    return None if chance is None else 100 * chance


def _series(view: StudyView, each: CostAxis, most: int) -> Series:
    front, best = view.front_by(each.cost), view.best
    numbers = {record.number for record in front}
    others, hidden = thinned(view, each, (one for one in view.complete if one.number not in numbers), most)
    predicted, measured = measured_points(view, each, view.complete)
    return Series(
        name=view.name,
        axis=each,
        others=_named(view, points_of(view, each, others, best)),
        front=_named(view, points_of(view, each, front, best)),
        recommended=_named(view, points_of(view, each, [best] if best else [], best)),
        predicted=predicted,
        measured=_named(view, measured),
        volume=hypervolume(view, each, front),
        numbers=tuple(record.number for record in front),
        hidden=hidden,
    )


def _named(view: StudyView, points: Iterable[Point]) -> tuple[Point, ...]:
    """Return points whose hover texts begin with the name of the study."""
    title = escape(short_title(view.name))
    return tuple(attrs.evolve(point, hover=f"{title}<br>{point.hover}") for point in points)


def difference(first: StudyView, second: StudyView, cost: str) -> str:
    """Return a sentence about why two studies are not comparable; "" if they are.

    Args:
        first: One study.
        second: Another study.
        cost: Name of the cost that is compared.
    """
    one, other = _meaning(first, cost), _meaning(second, cost)
    # Counted costs have no basis, and a study without a target for a cost does not store how it was found.
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    if not keys:
        return ""
    named = "; ".join(f"{key} is {_brief(one.get(key))} and {_brief(other.get(key))}" for key in keys[:_SHOWN])
    more = f"; and {len(keys) - _SHOWN} more settings" if len(keys) > _SHOWN else ""
    return f"studies {first.name} and {second.name} are not comparable, and their fronts are not merged: {named}{more}"


def _meaning(view: StudyView, cost: str) -> dict[str, Any]:
    """Return the settings on which the meaning of an accuracy and of a cost depends, by flat names."""
    settings = {key: value for key, value in view.settings.items() if key not in _OF_THE_SEARCH}
    bases = [limit.get("basis", {}) for limit in view.settings["limits"] if limit["cost"] == cost]
    return _flat({**settings, "cost": bases[0] if bases else {}})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _brief(value: Any) -> str:
    text = "unknown" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _merged(series: Sequence[Series]) -> list[tuple[str, int, Point]]:
    """Return the trials of all fronts that no other beats, by rising cost."""
    rows = [
        (each.name, number, point) for each in series for number, point in zip(each.numbers, each.front, strict=True)
    ]
    front: list[tuple[str, int, Point]] = []
    for row in sorted(rows, key=lambda row: (row[2].x, -row[2].y)):
        if not front or row[2].y > front[-1][2].y:
            front.append(row)
    return front


def _merged_volume(first: Series, points: Iterable[Point]) -> float:
    rows = [(point.x * first.axis.size, point.y / 100) for point in points]
    return dominated_share(rows, first.volume.cost, first.volume.accuracy)
