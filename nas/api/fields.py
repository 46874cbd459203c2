"""Fields of requests, whose values are checked when a request is created."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field

from nas.errors import NasError
from nas.studies.defaults import DEFAULT_STORAGE
from nas.studies.names import check_study_name

if TYPE_CHECKING:
    from attrs import Attribute

_EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "data": "give 'digits', the path of a folder or a Parquet file, or a name on the Hugging Face hub",
        "storage": f"give an Optuna URL like '{DEFAULT_STORAGE}'",
    }
)


def _plain_int(value: Any) -> Any:
    """Return an integer of another library, such as numpy's, as Python's own: studies store settings as JSON."""
    return int(value) if type(value) is not bool and isinstance(value, Integral) else value


def whole_number(default: int | None, low: int, high: float = float("inf")) -> Any:
    """Return a field for whole numbers from `low` to `high`, and for None if that is the default."""

    def check(_request: object, attribute: "Attribute[int | None]", value: int | None) -> None:
        if value is None and default is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            bounds = f"{low:,} to {high:,}" if high < float("inf") else f"{low:,} upwards"
            raise NasError(f"{attribute.name} is {value!r}", f"give a whole number from {bounds}")

    return field(default=default, converter=_plain_int, validator=check)


def one_of(names: Sequence[str], default: str) -> Any:
    """Return a field for one of some names."""

    def check(_request: object, attribute: "Attribute[str]", value: str) -> None:
        if value not in names:
            raise NasError(f"{attribute.name} is {value!r}", f"use {' or '.join(names)}")

    return field(default=default, validator=check)


def _is_number(value: Any) -> bool:
    is_real = not isinstance(value, bool) and isinstance(value, Real)
    # `math.isfinite` fails for an integer that is larger than every float.
    return is_real and bool(abs(value) < math.inf)


def check_positive(_request: object, attribute: "Attribute[float]", value: float) -> None:
    """Check that a value is a number above 0."""
    if not _is_number(value) or not value > 0:
        raise NasError(f"{attribute.name} is {value!r}", "give a number above 0")


def check_not_negative(_request: object, attribute: "Attribute[float]", value: float) -> None:
    """Check that a value is a number from 0 upwards."""
    if not _is_number(value) or not value >= 0:
        raise NasError(f"{attribute.name} is {value!r}", "give a number from 0 upwards")


def check_share(_request: object, attribute: "Attribute[float | None]", value: float | None) -> None:
    """Check that a value is a share of images that validates, or None."""
    if value is not None and not (_is_number(value) and 0 < value <= 0.5):
        raise NasError(f"{attribute.name} is {value!r}", "give a number above 0 and at most 0.5")


def check_probability(_request: object, attribute: "Attribute[float]", value: float) -> None:
    """Check that a value is a number from 0 to 1."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise NasError(f"{attribute.name} is {value!r}", "give a number from 0 to 1")


def check_number(_request: object, attribute: "Attribute[float | None]", value: float | None) -> None:
    """Check that a value is a number, or None."""
    if value is not None and not _is_number(value):
        raise NasError(f"{attribute.name} is {value!r}", "give a number")


def check_name_of_study(request: object, attribute: "Attribute[str]", value: str) -> None:
    """Check that a value can name a study."""
    check_text(request, attribute, value)
    check_study_name(value)


def check_text(_request: object, attribute: "Attribute[str]", value: str) -> None:
    """Check that a value is a text."""
    if not isinstance(value, str):
        raise NasError(f"{attribute.name} is {value!r}", _EXAMPLES.get(attribute.name, "give a text"))


def check_space(_request: object, attribute: "Attribute[Any]", value: Any) -> None:
    """Check that a value is a search space or names one; None is the default."""
    from nas.space.decode import SearchSpace

    if value is not None and not isinstance(value, str | SearchSpace):
        raise NasError(
            f"{attribute.name} is {value!r}",
            "give the name or the file of a search space, or what nas.load_space returns",
        )


def check_texts(_request: object, attribute: "Attribute[tuple[str, ...]]", values: tuple[str, ...]) -> None:
    """Check that all values are texts."""
    for value in values:
        if not isinstance(value, str):
            raise NasError(f"{attribute.name} holds {value!r}", "give texts, such as 'flops=400M'")


def check_functions(_request: object, attribute: "Attribute[Mapping[str, Any]]", value: Mapping[str, Any]) -> None:
    """Check that a value maps names to functions, or to texts that name functions."""
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and (isinstance(function, str) or callable(function)) for name, function in value.items()
    ):
        raise NasError(
            f"{attribute.name} is {value!r}",
            "give a dictionary such as {'energy': my_function} or {'energy': 'python:my_module:my_function'}",
        )


def check_pretrained(_request: object, attribute: "Attribute[Any]", value: Any) -> None:
    """Check that a value is a network or names a source of weights; None is the default."""
    # Only an object that is no text can be a network, whose class needs torch.
    if value is None or isinstance(value, str):
        return
    from nas.weights.base import TrainedNetwork

    if not isinstance(value, TrainedNetwork):
        shown = repr(value) if isinstance(value, int | float) else f"an object of the class {type(value).__name__}"
        raise NasError(
            f"{attribute.name} is {shown}",
            "give a source such as 'efficientnet-lite0', or what nas.load_weights returns",
        )
