"""Targets for costs of a user's own, as users write them: a name, a limit, and a unit of any kind, as `energy=12mJ`."""

import re
from decimal import Decimal

from attrs import frozen

from nas.cost.base import COUNT_UNITS
from nas.errors import TargetError

COST_FORM = "--cost energy=python:MODULE:FUNCTION"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
_AMOUNT = re.compile(r" *([0-9]{1,15}(?:\.[0-9]{1,15})?(?:e[+-]?[0-9]{1,2})?) *(.*?) *")
_UNIT = re.compile(r"(?:[^\W\d_]|[%°$€£])[\w%°$€£/·*^²³.-]{0,15}|")
_AMOUNT_RULE = (
    "write a number above 0 and the unit of the numbers that the function returns, like energy=12mJ, or no unit"
)
# Names that trials and tables hold for something else. A test compares this list with what they hold.
TAKEN = frozenset(
    (
        "flops",
        "macs",
        "params",
        "peak_memory",
        "peak_bytes",
        "size",
        "size_bytes",
        "latency",
        "latency_ms",
        "trial",
        "state",
        "name",
        "number",
        "text",
        "arch",
        "label",
        "accuracy",
        "accuracies",
        "accuracy_mean",
        "accuracy_low",
        "accuracy_high",
        "accuracy_by_epoch",
        "evaluations",
        "expected",
        "expected_accuracy",
        "expected_spread",
        "expected_low",
        "expected_high",
        "expected_score",
        "further_accuracies",
        "costs",
        "cost_sources",
        "cost_spreads",
        "measured",
        "meets",
        "measurement",
        "score",
        "seconds",
        "seed",
        "front",
        "recommended",
        "versions",
        "environment",
        "remarks",
        "metadata",
        "correct",
        "reason",
        "killed",
        "architecture",
        "baseline",
    )
)
TAKEN_ENDINGS = ("_spread", "_measured", "_ms", "_bytes")


@frozen
class OwnTarget:
    """Hold a target for a cost of a user's own that was read, without its cost model.

    Attributes:
        name: Name of the cost.
        limit: Limit in the unit of the cost.
        unit: Unit of the cost, "" for a plain number.
        text: Canonical text form.
    """

    name: str
    limit: float
    unit: str
    text: str


def check_cost_name(name: str) -> None:
    """Check the name of a cost of a user's own.

    Raises:
        TargetError: The name breaks a rule, or stands for something else.
    """
    if not _NAME.fullmatch(name):
        raise TargetError(
            f"{name!r} cannot be the name of a cost",
            "write lowercase letters, digits and underscores, at most 30, with a letter first, like energy",
        )
    if name in TAKEN or name.endswith(TAKEN_ENDINGS):
        raise TargetError(
            f"{name!r} cannot be the name of a cost of your own, since trials and tables use it for something else",
            f"choose another name, like own_{name.partition('_')[0]}",
        )


def read_own_target(text: str) -> OwnTarget:
    """Read `NAME=NUMBER UNIT` for a cost of a user's own; k, M, G or T alone multiplies a number without a unit.

    Raises:
        TargetError: There is no number above 0, or the unit is no short word.

    >>> read_own_target("energy= 12.0 mJ")
    OwnTarget(name='energy', limit=12.0, unit='mJ', text='energy=12mJ')
    >>> read_own_target("cycles=1.5k").limit
    1500.0
    """
    name, _, amount = (word.strip(" ") for word in text.partition("="))
    found = _AMOUNT.fullmatch(amount)
    if not found:
        what = f"{amount!r} is not a number with a unit" if amount else "there is no number after '='"
        raise TargetError(f"target {text!r}: {what}", _AMOUNT_RULE)
    number, unit = Decimal(found[1]), found[2]
    if not _UNIT.fullmatch(unit):
        raise TargetError(
            f"target {text!r}: {unit!r} cannot be a unit",
            "write a unit of at most 16 letters and signs without spaces, with a letter first, like mJ or mJ/image",
        )
    if unit in COUNT_UNITS:
        number, unit = number * Decimal(repr(COUNT_UNITS[unit])), ""
    if number <= 0:
        raise TargetError(f"target {text!r}: the limit {amount!r} is not above zero", _AMOUNT_RULE)
    return OwnTarget(name, float(number), unit, f"{name}={number.normalize():f}{unit}")
