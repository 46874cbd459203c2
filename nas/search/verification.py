"""Verification on the device: the best networks are measured side by side, and those that miss a target are skipped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import optuna

from nas.arch.spec import Architecture
from nas.cost.base import Target, format_amount
from nas.studies.records import MEASUREMENTS, DeviceMeasurement, Record, StudyView, to_stored

LATENCY = "latency_ms"  # name of the cost that is measured on a device
WANTED = 5
MOST = 25


def verify(
    study: optuna.Study,
    view: StudyView,
    targets: Sequence[Target],
    tell: Callable[[str], None] = lambda _message: None,
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Measure networks by rank until enough of them meet every measured target, and store the results in the study.

    Networks that an earlier run of the same search has measured are not measured again.

    Args:
        study: Study that stores the measurements.
        view: The same study as it was read.
        targets: Targets of the search.
        tell: Called with a message before each measurement.
        interruptible: Returns a context in which the user may interrupt.

    Raises:
        NasError: A device fails.
    """
    measured_targets = [target for target in targets if target.judge is not None]
    if not measured_targets or not view.complete:
        return
    measurements = dict(view.measurements)
    while batch := list(_waiting(view, measurements)):
        how = "on the device" if any(target.kept_as == LATENCY for target in measured_targets) else "again"
        tell(f"measuring {len(batch)} of the best {how}")
        with interruptible():
            measurements |= _measure(batch, measured_targets)
        _store(study, measurements)


def describe_miss(view: StudyView) -> str:
    """Return what a user must know first where no network that was measured meets the target; "" where one does."""
    measured = [view.measurements[record.number] for record in view.complete if record.number in view.measurements]
    if not measured or any(measurement.meets for measurement in measured):
        return ""
    closest = min(measured, key=lambda measurement: measurement.measured / measurement.target)
    units = {limit["cost"]: limit["unit"] for limit in view.settings["limits"]}
    cost, target = (format_amount(value, units[closest.cost]) for value in (closest.measured, closest.target))
    ratios = [each.measured / each.predicted for each in measured if each.predicted]
    pace = f"Measured costs are {median(ratios):.2f} times the predicted ones (median). " if ratios else ""
    return (
        f"The target is missed: none of the {len(measured)} networks that were measured {view.measured_how} meets the "
        f"target {' and '.join(view.settings['targets'])}. The closest one takes {cost} (± {closest.spread:.2g}) "
        f"instead of {target}. {pace}Search again with a smaller --band or a higher target"
        + ("; `nas latency check` finds the error of a latency table." if closest.cost == LATENCY else ".")
    )


def _waiting(view: StudyView, measurements: Mapping[int, DeviceMeasurement]) -> Iterator[Record]:
    """Yield the baseline and, by rank, as many networks as are enough if all meet the targets; only unmeasured ones."""
    if view.baseline is not None and view.baseline.number not in measurements:
        yield view.baseline
    # Not by `ranked`: a trial that is new after a resumption would come behind all that were re-trained before.
    ranked = view.front[::-1] if view.settings["objective"] == "pareto" else view.promising
    candidates = 0
    for record in ranked[:MOST]:
        if candidates == WANTED:
            return
        measurement = measurements.get(record.number)
        # A network that misses the target does not count: the next one by rank is measured instead.
        candidates += measurement is None or measurement.meets
        if measurement is None:
            yield record


def _measure(records: Sequence[Record], targets: Sequence[Target]) -> dict[int, DeviceMeasurement]:
    archs = [record.architecture for record in records]
    rows = [_by_target(records, archs, target) for target in targets]
    return {
        # Of several targets the one that is exceeded most decides whether the network meets them all.
        record.number: max(measurements, key=lambda measurement: measurement.measured / measurement.target)
        for record, *measurements in zip(records, *rows, strict=True)
    }


def _by_target(records: Sequence[Record], archs: Sequence[Architecture], target: Target) -> list[DeviceMeasurement]:
    """Return the measurement of each network for one target."""
    assert target.judge is not None  # noqa: S101 -- the caller chose those that have one
    costs = target.judge.together(archs)
    return [
        DeviceMeasurement(
            target.kept_as, target.limit, record.costs.get(target.kept_as), cost.value, cost.spread, cost.noisy
        )
        for record, cost in zip(records, costs, strict=True)
    ]


def _store(study: optuna.Study, measurements: dict[int, DeviceMeasurement]) -> None:
    study.set_user_attr(
        MEASUREMENTS, {str(number): to_stored(measurement) for number, measurement in measurements.items()}
    )
