"""The networks that a reader of a page can select: the front, the recommended one, the best ones and the baseline."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from nas.cost.base import format_amount
from nas.report.page.words import (
    accuracy_words,
    amount_words,
    commands_of,
    cost_name,
    costs_of,
    data_of,
    network_name,
    unit_of,
)
from nas.studies.records import Record, StudyView

LEADERS = 5
MOST = 200  # networks with texts: a front of more can be selected in the figure
# Stands for the number of a trial in commands that a page fills in.
ANY_TRIAL = 987_654_321


@frozen
class Network:
    """Hold a network that can be selected. All texts are plain.

    Attributes:
        number: Number of the trial; -1 for the baseline.
        name: Name, such as "trial 12".
        roles: What distinguishes it, such as "recommended" or "front 2 of 5".
        accuracy: Accuracy with its interval.
        costs: Names of costs and their amounts.
        text: Text form of the architecture.
        commands: What can be done with it, each with the command.
    """

    number: int
    name: str
    roles: tuple[str, ...]
    accuracy: str
    costs: tuple[tuple[str, str], ...]
    text: str
    commands: tuple[tuple[str, str], ...]


def networks(view: StudyView, storage: str) -> tuple[Network, ...]:
    """Return the networks that have texts in a page, the recommended one first.

    Args:
        view: The study.
        storage: URL of its database, for the commands.
    """
    best = view.best
    records = [*([best] if best else []), *view.front, *view.ranked[:LEADERS]]
    records += [each for each in view.complete if each.number in view.measurements or each.number in view.confirmed]
    records += [view.baseline] if view.baseline else []
    shown = list({record.number: record for record in records}.values())
    if len(shown) > MOST:
        shown = [*shown[: MOST - 1], shown[-1]]
    places = {record.number: place for place, record in enumerate(view.front, 1)}
    costs = [cost for cost in costs_of(view) if any(cost in record.costs for record in shown)]
    return tuple(_network(view, record, storage, places, costs) for record in shown)


def _network(view: StudyView, record: Record, storage: str, places: Mapping[int, int], costs: Iterable[str]) -> Network:
    roles = ["recommended"] * (record.number == view.recommendation.trial)
    if record.number in places:
        roles.append(f"front {places[record.number]} of {len(places)}")
    roles += ["re-trained"] * (record.number in view.confirmed)
    roles += _measured(view, record)
    roles = roles or (["evaluated in the same way"] if record.number < 0 else ["among the best"])
    return Network(
        record.number,
        network_name(record),
        tuple(roles),
        accuracy_words(view, record),
        tuple((cost_name(cost), amount_words(view, record, cost)) for cost in costs),
        record.arch,
        tuple(commands_of(view, record.number, data_of(view), storage)) if record.number >= 0 else (),
    )


def _measured(view: StudyView, record: Record) -> list[str]:
    found = view.measurements.get(record.number)
    if found is None:
        return []
    amount = format_amount(found.measured, unit_of(view, found.cost))
    return [
        f"measured: {'it did not run' if found.measured == float('inf') else amount}, "
        f"{'within' if found.meets else 'above'} the target"
    ]


def columns(view: StudyView, storage: str) -> dict[str, Any]:
    """Return all trials as columns of numbers, from which a page writes the summary of one that has no text.

    Args:
        view: The study.
        storage: URL of its database, for the commands.
    """
    records = [record for record in view.records if record.accuracy is not None]
    costs = [cost for cost in costs_of(view) if any(cost in record.costs for record in records)]
    return {
        "numbers": [record.number for record in records],
        "states": [record.state for record in records] if _is_mixed(records) else "complete",
        "accuracies": [round(float(record.accuracy or 0.0), 6) for record in records],
        "accuracy": view.accuracy_label,
        "costs": [
            {
                "name": cost_name(cost),
                "unit": unit_of(view, cost),
                "values": [_number(record.costs.get(cost)) for record in records],
            }
            for cost in costs
        ],
        "any": ANY_TRIAL,
        "commands": [*commands_of(view, ANY_TRIAL, data_of(view), storage)],
    }


def _is_mixed(records: Iterable[Record]) -> bool:
    return any(record.state != "complete" for record in records)


def _number(value: float | None) -> float | int | None:
    if value is None or value != value or abs(value) == float("inf"):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.5g}")
