"""Lines of a journal: a study, its finished trials and its attributes as JSON, and back.

A journal may come from a stranger. A line of it can be wrong but do no harm: it is plain JSON, every value of it is
checked, and the classes of distributions are looked up in a table of three. Numbers without a form in JSON are written
as Python and Optuna's own tables write them, as `NaN` and `Infinity`.
"""

import json
import math
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
from nas.studies.journal_values import (
    broken_rule,
    read_finite,
    read_integer,
    read_list,
    read_number,
    read_object,
    read_text,
    read_time,
)

FORMAT = 1
# A journal may come from a stranger. These limits bound the memory and the depth of calls that its lines can cause.
MAX_LINE_BYTES = 32_000_000
MAX_DEPTH = 50
MAX_TRIALS = 1_000_000
STUDY, TRIAL, ATTRIBUTE = "study", "trial", "attribute"
_DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")
_FINISHED = {state.name: state for state in TrialState if state.is_finished()}


def _directions(names: Iterable[Direction]) -> tuple[Direction, ...]:
    return tuple(names)


@frozen
class Head:
    """Hold a study as a journal's first line has it.

    Attributes:
        name: Name of the study.
        directions: Directions of the values of its trials.
        attributes: User attributes that it had when the line was written.
    """

    name: str
    directions: tuple[Direction, ...] = field(converter=_directions)
    attributes: Mapping[str, Any] = field(factory=dict)


@frozen
class Attribute:
    """Hold a study's user attribute as it was set.

    Attributes:
        key: Name of the attribute.
        value: The whole value, or the end of a list that has grown.
        start: Index in the list at which that end begins; None where `value` is the whole value.
    """

    key: str
    value: Any
    start: int | None = None


Entry = Head | FrozenTrial | Attribute


def format_head(head: Head) -> bytes:
    """Return the line of a study."""
    data = {"format": FORMAT, "name": head.name, "directions": list(head.directions)}
    return _line(STUDY, data | {"attributes": dict(head.attributes)})


def format_attribute(attribute: Attribute) -> bytes:
    """Return the line of an attribute."""
    start = {} if attribute.start is None else {"start": attribute.start}
    return _line(ATTRIBUTE, {"key": attribute.key, "value": attribute.value} | start)


def format_trial(trial: FrozenTrial) -> bytes:
    """Return the line of a finished trial, with everything that is needed to rebuild it."""
    return _line(
        TRIAL,
        {
            "number": trial.number,
            "state": trial.state.name,
            "begun": _format_time(trial.datetime_start),
            "ended": _format_time(trial.datetime_complete),
            "values": trial.values,
            "params": trial.params,
            "distributions": {name: json.loads(distribution_to_json(d)) for name, d in trial.distributions.items()},
            "steps": [[step, value] for step, value in trial.intermediate_values.items()],
            "user": trial.user_attrs,
            "system": trial.system_attrs,
        },
    )


def _line(kind: str, data: Mapping[str, Any]) -> bytes:
    """Return a line in ASCII, without a line break at its end."""
    return json.dumps({"kind": kind, **data}, separators=(",", ":")).encode()


def _format_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def parse_line(line: bytes) -> Entry:
    """Return the study, attribute or trial of a line.

    Raises:
        ValueError: The line breaks a rule, which the error names in a few words.
    """
    data = load(line)
    read = _READERS.get(read_text(data.pop("kind", None), "kind"))
    if read is None:
        raise ValueError(f"kind is none of {', '.join(_READERS)}")
    if _depth(data) > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    try:
        return read(data)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from None


def load(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line without checking its values.

    Raises:
        ValueError: The line is too long or no JSON object.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"it is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        data = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON, or cut short: {str(error).splitlines()[0][:100]}") from None
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return data


def _depth(whole: Any) -> int:
    """Return how deep lists and objects are nested, level by level: recursion would exceed Python's own limit."""
    level, depth = [whole], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [part for parts in inner for part in parts if isinstance(part, dict | list)]
    return depth


def _read_head(data: dict[str, Any]) -> Head:
    if data["format"] != FORMAT:
        raise broken_rule("format", data["format"], f"{FORMAT}, the one that is known")
    directions = read_list(data["directions"], "directions")
    if not directions or len(directions) > len(_DIRECTIONS) or any(each not in _DIRECTIONS for each in directions):
        raise broken_rule("directions", directions, "one or two of maximize and minimize")
    return Head(read_text(data["name"], "name"), directions, read_object(data["attributes"], "attributes"))


def _read_attribute(data: dict[str, Any]) -> Attribute:
    key = read_text(data["key"], "key")
    if "start" not in data:
        return Attribute(key, data["value"])
    return Attribute(key, read_list(data["value"], "value"), read_integer(data["start"], "start", MAX_LINE_BYTES))


def _read_trial(data: dict[str, Any]) -> FrozenTrial:
    state = _FINISHED.get(read_text(data["state"], "state"))
    if state is None:
        raise broken_rule("state", data["state"], f"one of {', '.join(_FINISHED)}")
    trial = FrozenTrial(
        number=read_integer(data["number"], "number", MAX_TRIALS),
        state=state,
        value=None,
        values=_values(data["values"]),
        datetime_start=read_time(data["begun"], "begun"),
        datetime_complete=read_time(data["ended"], "ended"),
        params=read_object(data["params"], "params"),
        distributions={n: _distribution(n, d) for n, d in read_object(data["distributions"], "distributions").items()},
        user_attrs=read_object(data["user"], "user"),
        system_attrs=read_object(data["system"], "system"),
        intermediate_values=dict(_step(pair) for pair in read_list(data["steps"], "steps")),
        trial_id=-1,
    )
    _check(trial)
    return trial


def _check(trial: FrozenTrial) -> None:
    """Check a trial by Optuna's own rules.

    Raises:
        ValueError: The trial breaks a rule.
    """
    # Optuna takes the text "0.5" for the number 0.5.
    for name, value in trial.params.items():
        if not isinstance(trial.distributions.get(name), CategoricalDistribution | None):
            read_number(value, f"the param {name!r}")
    try:
        validate(trial)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a param does not fit its distribution: {error}") from None


def _values(data: object) -> list[float] | None:
    if data is None:
        return None
    values = [read_number(value, "a value") for value in read_list(data, "values")]
    if not values or any(map(math.isnan, values)):
        raise broken_rule("values", data, "one or more numbers")
    return values


def _step(data: object) -> tuple[int, float]:
    pair = read_list(data, "a step")
    if len(pair) != 2:
        raise broken_rule("a step", data, "a number and its value")
    return read_integer(pair[0], "a step's number", 2**31 - 1), read_number(pair[1], "a step's value")


def _distribution(param: str, data: object) -> BaseDistribution:
    """Return one of Optuna's distributions by the name of its class.

    Optuna's own reader also knows classes that it has retired, and passes any arguments on to them.
    """
    whole = read_object(data, f"the distribution of {param!r}")
    make = _DISTRIBUTIONS.get(str(whole.get("name")))
    if make is None:
        raise broken_rule(f"the distribution of {param!r}", whole.get("name"), f"one of {', '.join(_DISTRIBUTIONS)}")
    try:
        return make(read_object(whole["attributes"], "attributes"))
    except (KeyError, TypeError, OverflowError, ValueError) as error:
        raise ValueError(f"the distribution of {param!r} cannot be made: {error}") from None


def _categorical(data: dict[str, Any]) -> BaseDistribution:
    choices = read_list(data["choices"], "choices")
    if not all(isinstance(choice, None | bool | int | float | str) for choice in choices):
        raise broken_rule("choices", choices, "texts, numbers, true, false or null")
    return CategoricalDistribution(choices)


def _float(data: dict[str, Any]) -> BaseDistribution:
    step = None if data["step"] is None else read_finite(data["step"], "step")
    return FloatDistribution(
        read_finite(data["low"], "low"), read_finite(data["high"], "high"), data["log"] is True, step
    )


def _int(data: dict[str, Any]) -> BaseDistribution:
    for name in ("low", "high", "step"):
        # Optuna stores parameters as floats, in which larger whole numbers are not exact.
        if isinstance(data[name], bool) or not isinstance(data[name], int) or abs(data[name]) >= 2**53:
            raise broken_rule(name, data[name], "a whole number below 2^53")
    return IntDistribution(data["low"], data["high"], data["log"] is True, data["step"])


_DISTRIBUTIONS: Mapping[str, Callable[[dict[str, Any]], BaseDistribution]] = MappingProxyType(
    {"CategoricalDistribution": _categorical, "FloatDistribution": _float, "IntDistribution": _int}
)
_READERS: Mapping[str, Callable[[dict[str, Any]], Entry]] = MappingProxyType(
    {STUDY: _read_head, TRIAL: _read_trial, ATTRIBUTE: _read_attribute}
)
