"""Data of the figure of accuracy against cost, computed before anything is drawn."""

from collections.abc import Iterable, Iterator

from attrs import frozen

from nas.report.fronts import CostAxis, Hypervolume, drawn_axis, hypervolume
from nas.report.ranges import chance_text, label_front, with_chance, x_range_of, y_range_of
from nas.report.theme import percent
from nas.report.trial_points import Point, Span, measured_points, not_drawn, points_of, thinned
from nas.studies.records import StudyView

LONGEST_TITLE = 80  # characters of the name of a study


@frozen
class Pareto:
    """Hold the data of the figure.

    Attributes:
        title: Name of the study, shortened if it is too long.
        subtitle: Search space, objective, targets, number of trials, and what is not drawn.
        axis: Cost of the figure.
        y_title: Title of the accuracy axis, with its unit.
        x_range: Smallest and largest value of the cost axis.
        y_range: Smallest and largest value of the accuracy axis.
        others: Complete trials that are not on the Pareto front, without those that are close to others of many.
        front: Pareto front by rising cost; a label is empty if there is no space for it.
        pruned: Trials that were stopped early.
        baseline: A known network that was evaluated in the same way; empty if there is none.
        recommended: The trial that `nas search` recommends; empty if it recommends none.
        measured: Trials whose cost was measured on the device after the search, at the measured cost.
        predicted: The same trials, in the same order, at the cost that the search used.
        volume: Hypervolume of the front.
        chance: Accuracy in percent of always giving the most frequent class, if it is near the other accuracies.
        hidden: Number of trials that are not drawn, because they are close to others.
    """

    title: str
    subtitle: str
    axis: CostAxis
    y_title: str
    x_range: Span
    y_range: Span
    others: tuple[Point, ...]
    front: tuple[Point, ...]
    pruned: tuple[Point, ...]
    baseline: tuple[Point, ...]
    recommended: tuple[Point, ...]
    measured: tuple[Point, ...]
    predicted: tuple[Point, ...]
    volume: Hypervolume
    chance: float | None
    hidden: int = 0

    @property
    def example(self) -> tuple[Point, ...]:
        """Return one trial, whose bar shows the error of all predicted costs: the recommended one if there is one."""
        return self.recommended or self.front[-1:]

    @property
    def limit(self) -> float | None:
        """Return the target of the drawn cost, in units of the axis; None if the study has none."""
        return None if self.axis.limit is None else self.axis.limit / self.axis.size

    @property
    def low(self) -> float | None:
        """Return the lower bound of the cost range, in units of the axis; None if there is none."""
        return None if self.axis.low is None else self.axis.low / self.axis.size


def pareto(view: StudyView, x: str = "") -> Pareto:
    """Return the data of a study's figure.

    Args:
        view: The study.
        x: Cost of the horizontal axis; see `nas.report.fronts.cost_axis`.

    Raises:
        StudyError: No trial of the study is complete, or the study does not have this cost.

    Example:
        >>> from nas.studies.records import Record
        >>> settings = {
        ...     "limits": [{"cost": "macs", "high": 400e6}], "targets": ["flops=400M"], "band": 0.9,
        ...     "objective": "soft", "space": "mnasnet", "epochs": 1, "proxy": {"evaluator": "train"},
        ... }
        >>> trial = Record(0, "complete", "net", {"macs": 381_000_000}, accuracy=0.62)
        >>> info = pareto(StudyView("demo", settings, (trial,)))
        >>> [(point.x, point.y) for point in info.front], info.limit, info.low
        ([(381.0, 62.0)], 400.0, 360.0)
    """
    axis = drawn_axis(view, x)
    chosen, records, best = view.front_by(axis.cost), view.complete, view.best
    numbers = {record.number for record in chosen}
    rest, beside = thinned(view, axis, (record for record in records if record.number not in numbers))
    ended, stopped = thinned(view, axis, (record for record in view.records if record.state == "pruned"))
    groups = (rest, chosen, ended, [best] if best else [])
    others, front, pruned, recommended = (points_of(view, axis, each, best) for each in groups)
    baseline = points_of(view, axis, [view.baseline] if view.baseline else [])
    predicted, measured = measured_points(view, axis, records)
    volume = hypervolume(view, axis, chosen)
    x_range = x_range_of((*others, *front, *pruned, *baseline), (*(recommended or front[-1:]), *measured), axis)
    y_range = y_range_of((*others, *front, *baseline), pruned)
    chance = None if view.split is None else 100 * view.split.chance
    is_near, y_range = with_chance(y_range, chance)
    front = label_front(front, x_range, y_range)
    shown = (*front, *others, *baseline, *measured)
    return Pareto(
        title=short_title(view.name),
        subtitle="  ·  ".join(_subtitle(view, axis, volume, shown, beside + stopped, None if is_near else chance)),
        axis=axis,
        y_title=accuracy_title(view),
        x_range=x_range,
        y_range=y_range,
        others=others,
        front=front,
        pruned=pruned,
        baseline=baseline,
        recommended=recommended,
        measured=measured,
        predicted=predicted,
        volume=volume,
        chance=chance if is_near else None,
        hidden=beside + stopped,
    )


def short_title(name: str) -> str:
    """Return the name of a study, shortened if it is too long for a title."""
    return name if len(name) <= LONGEST_TITLE else f"{name[: LONGEST_TITLE - 1]}…"


def accuracy_title(view: StudyView) -> str:
    """Return the title of the accuracy axis; only training has a number of epochs."""
    evaluator = view.settings["proxy"].get("evaluator")
    if evaluator == "zero-cost":
        return "Zero-cost score (%)"
    return f"Accuracy{' after ' + _count(view.settings['epochs'], 'epoch') if evaluator == 'train' else ''} (%)"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _subtitle(
    view: StudyView,
    axis: CostAxis,
    volume: Hypervolume,
    shown: Iterable[Point],
    hidden: int,
    chance: float | None,
) -> Iterator[str]:
    """Yield what was searched for, and what the figure shows and leaves out; `chance` is one without a line."""
    pruned = sum(record.state == "pruned" for record in view.records)
    yield f"space {view.settings['space']}"
    yield f"{view.settings['objective']} objective"
    yield " and ".join(map(str, view.settings["targets"]))
    yield (
        f"{_count(view.counted, 'trial')}: {len(view.complete):,} complete{f', {pruned:,} pruned' if pruned else ''}"
    )
    if view.best is None:
        yield "no network is recommended"
    yield volume_text(volume, axis)
    if chance is not None:
        yield chance_text(chance)
    if any(each.has_bars for each in shown):
        yield "bars: 95% intervals"
    if hidden:
        yield not_drawn(hidden)


def reference_text(volume: Hypervolume, axis: CostAxis) -> str:
    """Return the reference point of a hypervolume in words."""
    return f"the reference point {axis.amount(volume.cost)} and {percent(volume.accuracy, 1)}"


def volume_text(volume: Hypervolume, axis: CostAxis) -> str:
    """Return a hypervolume in words, with its reference point."""
    span = (
        "" if volume.low is None or volume.high is None else f" ({percent(volume.low, 1)} to {percent(volume.high, 1)})"
    )
    return f"hypervolume {percent(volume.value, 1)}{span} to {reference_text(volume, axis)}"
