"""A function of the user that gives the cost of a network."""

import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from attrs import field, frozen

from nas.errors import EvaluationError, NasError
from nas.evaluate.function import digest_of_source, find_callable, short, summary

_RULE = "return a finite number above 0, as a Python number and not as an array or a tensor"


@frozen(eq=False)
class CostFunction:
    """Give costs by a function.

    Attributes:
        function: Function of an architecture or of the path of an ONNX file, which returns a cost.
        name: Name of the function, such as "module:function".
        sha256: First digits of the SHA-256 of the function's source file, "" if there is none.

    >>> CostFunction(len, "builtins:len").result("1234")
    4.0
    """

    function: Callable[[Any], Any]
    name: str
    sha256: str = field(init=False)

    @sha256.default
    def _digest(self) -> str:
        return digest_of_source(self.function)

    def result(self, argument: object) -> float:
        """Return the cost that the function returns for its argument.

        Raises:
            EvaluationError: The function raised an error, or returned anything but a finite number above 0.
        """
        try:
            value = self.function(argument)
        except NasError as error:
            raise EvaluationError(f"{self.name} failed: {error.problem}", str(error.remedy)) from error
        except (Exception, SystemExit) as error:
            raise EvaluationError(f"{self.name} raised {summary(error)}") from error
        if isinstance(value, bool) or not isinstance(value, Real):
            raise EvaluationError(f"{self.name} returned {short(value)}, which is not a number", _RULE)
        try:
            cost = float(value)
        except OverflowError:  # of an integer that is larger than every float
            cost = math.inf
        if not 0 < cost < math.inf:
            raise EvaluationError(f"{self.name} returned {cost:g}; a cost is a finite number above 0", _RULE)
        return cost


def find_cost(name: str) -> CostFunction:
    """Import a function that gives costs into this process.

    Args:
        name: "module:function", with the module as in an import statement.

    Raises:
        NasError: There is no such function, its module cannot be imported, or it does not take one argument.
    """
    function = find_callable(name)
    check_parameters(function, name)
    return CostFunction(function, name)


def check_parameters(function: Callable[..., Any], name: str) -> None:
    """Check that a function can be called with one argument, as far as Python knows its parameters.

    Raises:
        NasError: It cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions in C
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise NasError(
            f"{name} cannot be called with one argument: {error}",
            "define it with one parameter, which is the network",
        ) from None
