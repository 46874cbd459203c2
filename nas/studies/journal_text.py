"""Lines of a journal: a study, its finished trials and its attributes as JSON, and back.

A line from a stranger can be wrong, and nothing else: it is JSON, every value of it is checked, and of distributions
only Optuna's three are known by their names. Numbers that JSON has no form for are written as Python and Optuna's own
tables write them, `NaN` and `Infinity`.
"""

import json
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from attrs import field, frozen
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, TrialState

from nas.objective import Direction
from nas.optuna_private.identity import validate

FORMAT = 1
LONGEST_LINE = 32_000_000
DEEPEST = 50
MOST_TRIALS = 1_000_000
LONGEST_NAME = 512  # as in Optuna's tables
STUDY, TRIAL, ATTRIBUTE = "study", "trial", "attribute"
_DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")
_FINISHED = {state.name: state for state in TrialState if state.is_finished()}


def _directions(names: Iterable[Direction]) -> tuple[Direction, ...]:
    return tuple(names)


@frozen
class Head:
    """A study: its name, the directions of its values, and its attributes when the journal was begun."""

    name: str
    directions: tuple[Direction, ...] = field(converter=_directions)
    attributes: Mapping[str, Any] = field(factory=dict)


@frozen
class Attribute:
    """A study's attribute as it was set.

    Attributes:
        key: its name.
        value: all of it, or the end of a list.
        start: where in the list that end begins; None where `value` is all.
    """

    key: str
    value: Any
    start: int | None = None


Entry = Head | FrozenTrial | Attribute


def format_head(head: Head) -> bytes:
    """A study's line."""
    told = {"format": FORMAT, "name": head.name, "directions": list(head.directions)}
    return _line(STUDY, told | {"attributes": dict(head.attributes)})


def format_attribute(attribute: Attribute) -> bytes:
    """An attribute's line."""
    start = {} if attribute.start is None else {"start": attribute.start}
    return _line(ATTRIBUTE, {"key": attribute.key, "value": attribute.value} | start)


def format_trial(trial: FrozenTrial) -> bytes:
    """A finished trial's line, with everything that rebuilds it."""
    return _line(
        TRIAL,
        {
            "number": trial.number,
            "state": trial.state.name,
            "begun": _moment(trial.datetime_start),
            "ended": _moment(trial.datetime_complete),
            "values": trial.values,
            "params": trial.params,
            "distributions": {name: json.loads(distribution_to_json(d)) for name, d in trial.distributions.items()},
            "steps": [[step, value] for step, value in trial.intermediate_values.items()],
            "user": trial.user_attrs,
            "system": trial.system_attrs,
        },
    )


def _line(kind: str, told: Mapping[str, Any]) -> bytes:
    """ASCII, and without a line break at its end."""
    return json.dumps({"kind": kind, **told}, separators=(",", ":")).encode()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def parse_line(line: bytes) -> Entry:
    """What a line says.

    Raises:
        ValueError: the rule that it breaks, in a few words.
    """
    told = load(line)
    read = _READERS.get(_text(told.pop("kind", None), "kind"))
    if read is None:
        raise ValueError(f"kind is none of {', '.join(_READERS)}")
    if _depth(told) > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    try:
        return read(told)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from None


def load(line: bytes) -> dict[str, Any]:
    """A line's JSON object, unchecked.

    Raises:
        ValueError: it is none.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it is longer than {LONGEST_LINE:,} bytes")
    try:
        told = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON, or cut short: {str(error).splitlines()[0][:100]}") from None
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")
    return told


def _depth(whole: Any) -> int:
    """How deep lists and objects are nested; not by calls, which have a limit of their own."""
    level, depth = [whole], 0
    while level and depth <= DEEPEST:
        depth += 1
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [part for parts in inner for part in parts if isinstance(part, dict | list)]
    return depth


def _refused(name: str, value: object, rule: str) -> ValueError:
    return ValueError(f"{name} is {reprlib.repr(value)}, not {rule}")


def _text(value: object, name: str) -> str:
    """A short text that any database can hold."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME or "\0" in value:
        raise _refused(name, value, f"a text of at most {LONGEST_NAME} characters")
    value.encode()  # a lone surrogate is a ValueError
    return value


def _whole(value: object, name: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _refused(name, value, f"a whole number from 0 to {most:,}")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(name, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise _refused(name, value, "a number of this size") from None


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(name, value, "an object")
    for key in value:
        _text(key, f"a name in {name}")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _refused(name, value, "a list")
    return value


def _when(value: object, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value, name))
    except ValueError:
        raise _refused(name, value, "a date and a time") from None
    if moment.tzinfo is not None:
        raise _refused(name, value, "a time without its zone")
    return moment


def _read_head(told: dict[str, Any]) -> Head:
    if told["format"] != FORMAT:
        raise _refused("format", told["format"], f"{FORMAT}, the one that is known")
    directions = _list(told["directions"], "directions")
    if not directions or len(directions) > len(_DIRECTIONS) or any(each not in _DIRECTIONS for each in directions):
        raise _refused("directions", directions, "one or two of maximize and minimize")
    return Head(_text(told["name"], "name"), directions, _object(told["attributes"], "attributes"))


def _read_attribute(told: dict[str, Any]) -> Attribute:
    key = _text(told["key"], "key")
    if "start" not in told:
        return Attribute(key, told["value"])
    return Attribute(key, _list(told["value"], "value"), _whole(told["start"], "start", LONGEST_LINE))


def _read_trial(told: dict[str, Any]) -> FrozenTrial:
    state = _FINISHED.get(_text(told["state"], "state"))
    if state is None:
        raise _refused("state", told["state"], f"one of {', '.join(_FINISHED)}")
    trial = FrozenTrial(
        number=_whole(told["number"], "number", MOST_TRIALS),
        state=state,
        value=None,
        values=_values(told["values"]),
        datetime_start=_when(told["begun"], "begun"),
        datetime_complete=_when(told["ended"], "ended"),
        params=_object(told["params"], "params"),
        distributions={n: _distribution(n, d) for n, d in _object(told["distributions"], "distributions").items()},
        user_attrs=_object(told["user"], "user"),
        system_attrs=_object(told["system"], "system"),
        intermediate_values=dict(_step(pair) for pair in _list(told["steps"], "steps")),
        trial_id=-1,
    )
    _check(trial)
    return trial


def _check(trial: FrozenTrial) -> None:
    """By Optuna's own rules, which take a text for the number that it shows."""
    for name, value in trial.params.items():
        if not isinstance(trial.distributions.get(name), CategoricalDistribution | None):
            _number(value, f"the param {name!r}")
    try:
        validate(trial)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a param does not fit its distribution: {error}") from None


def _values(told: object) -> list[float] | None:
    if told is None:
        return None
    values = [_number(value, "a value") for value in _list(told, "values")]
    if not values or any(map(math.isnan, values)):
        raise _refused("values", told, "one or more numbers")
    return values


def _step(told: object) -> tuple[int, float]:
    pair = _list(told, "a step")
    if len(pair) != 2:
        raise _refused("a step", told, "a number and its value")
    return _whole(pair[0], "a step's number", 2**31 - 1), _number(pair[1], "a step's value")


def _distribution(param: str, told: object) -> BaseDistribution:
    """One of Optuna's, by a name that is looked up here and nowhere else."""
    whole = _object(told, f"the distribution of {param!r}")
    make = _DISTRIBUTIONS.get(str(whole.get("name")))
    if make is None:
        raise _refused(f"the distribution of {param!r}", whole.get("name"), f"one of {', '.join(_DISTRIBUTIONS)}")
    try:
        return make(_object(whole["attributes"], "attributes"))
    except (KeyError, TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"the distribution of {param!r} cannot be made: {error}") from None


def _categorical(told: dict[str, Any]) -> BaseDistribution:
    choices = _list(told["choices"], "choices")
    if not all(isinstance(choice, None | bool | int | float | str) for choice in choices):
        raise _refused("choices", choices, "texts, numbers, true, false or null")
    return CategoricalDistribution(choices)


def _float(told: dict[str, Any]) -> BaseDistribution:
    step = None if told["step"] is None else _finite(told["step"], "step")
    return FloatDistribution(_finite(told["low"], "low"), _finite(told["high"], "high"), told["log"] is True, step)


def _finite(told: object, name: str) -> float:
    value = _number(told, name)
    if not math.isfinite(value):
        raise _refused(name, told, "finite")
    return value


def _int(told: dict[str, Any]) -> BaseDistribution:
    for name in ("low", "high", "step"):
        if isinstance(told[name], bool) or not isinstance(told[name], int) or abs(told[name]) >= 2**53:
            raise _refused(name, told[name], "a whole number below 2^53")
    return IntDistribution(told["low"], told["high"], told["log"] is True, told["step"])


_DISTRIBUTIONS: Mapping[str, Callable[[dict[str, Any]], BaseDistribution]] = MappingProxyType(
    {"CategoricalDistribution": _categorical, "FloatDistribution": _float, "IntDistribution": _int}
)
_READERS: Mapping[str, Callable[[dict[str, Any]], Entry]] = MappingProxyType(
    {STUDY: _read_head, TRIAL: _read_trial, ATTRIBUTE: _read_attribute}
)
