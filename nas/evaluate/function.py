"""An evaluator that calls a function of the user in this process."""

import hashlib
import importlib
import inspect
import json
import math
import pickle
import reprlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, NasError, describe_error

MAIN = "__main__"
_RETURN_RULE = "return a number from 0 to 1, or a pair of that number and a dict of plain JSON values"
Result = tuple[float, Mapping[str, Any]]


def digest_of_source(function: Callable[..., Any]) -> str:
    """Return the first digits of the SHA-256 of the function's source file, or "" if there is no such file."""
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(function) or "").read_bytes()).hexdigest()[:12]
    except (TypeError, OSError):  # a built-in function, a callable object, or a function of an interactive session
        return ""


@frozen(eq=False)
class FunctionEvaluator:
    """Evaluate architectures by a function, which gives one accuracy whatever the budget is.

    The function must follow the rule of every evaluator: the same architecture has the same accuracy.

    Attributes:
        function: Function of an architecture that returns its accuracy, or a pair of the accuracy and a dict of
            metadata to store with it.
        name: Name of the function in a study, such as "module:function".
        sha256: First digits of the SHA-256 of the function's source file, "" if there is none.

    Example:
        >>> from nas.arch.presets import preset
        >>> def accuracy(arch):
        ...     layers = sum(stage.layers for stage in arch.stages)
        ...     return layers / (layers + 15), {"layers": layers}
        >>> evaluator = FunctionEvaluator(accuracy, "example:accuracy")
        >>> arch = preset("mobilenetv2")
        >>> list(evaluator.evaluate(arch, budget=1))
        [0.53125]
        >>> evaluator.metadata(arch)
        {'layers': 17}
    """

    function: Callable[[Architecture], Any]
    name: str
    sha256: str = field(init=False)
    _metadata: dict[Architecture, Mapping[str, Any]] = field(factory=dict, init=False, repr=False)

    @sha256.default
    def _digest(self) -> str:
        return digest_of_source(self.function)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there are no epochs
        """Yield the accuracy that the function returns.

        Errors that the function raises are not caught, except the errors of `nas`.

        Raises:
            EvaluationError: The function returned anything else, or it raised a `NasError`.
        """
        self._metadata.pop(arch, None)
        accuracy, self._metadata[arch] = self.result(arch)
        yield accuracy

    def result(self, arch: Architecture) -> Result:
        """Return the accuracy of an architecture and its metadata, which may be empty; see `evaluate`."""
        try:
            result = self.function(arch)
        except NasError as error:
            raise EvaluationError(f"{self.name} failed: {error.problem}", str(error.remedy)) from error
        return self._split(result)

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return the metadata of the function's last call for the architecture."""
        return self._metadata.get(arch, {})

    def to_send(self) -> "FunctionEvaluator":
        """Return the same evaluator without the metadata of former calls; see `Sendable`.

        Raises:
            NasError: Another process could not import the function.
        """
        try:
            pickle.dumps(self.function)
        except Exception as error:  # objects may define pickling of their own, which may raise any error
            raise NasError(
                f"{self.name} cannot be sent to another process: {summary(error)}",
                "define it at the top level of a module, without a decorator that replaces it, or use a single process "
                "without a time limit for each trial",
            ) from error
        return attrs.evolve(self)

    def describe(self) -> Mapping[str, Any]:
        """Return the function's name, with the digest of its file and the name of its script under "environment".

        A study may be resumed after the file has changed; each trial stores the digest.
        """
        return describe_function(self.name, self.sha256, script_of(self.function))

    def _split(self, result: object) -> Result:
        """Return the accuracy and the metadata in a result of the function."""
        if not isinstance(result, tuple):
            return self._checked_accuracy(result), {}
        if len(result) != 2:
            raise EvaluationError(
                f"{self.name} returned a tuple of {len(result)} values: {short(result)}", _RETURN_RULE
            )
        return self._checked_accuracy(result[0]), self._checked_metadata(result[1])

    def _checked_accuracy(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise EvaluationError(
                f"{self.name} returned {short(value)} as the accuracy, which is not a number", _RETURN_RULE
            )
        accuracy = float(value)
        if math.isnan(accuracy) or not 0 <= accuracy <= 1:
            raise EvaluationError(
                f"{self.name} returned the accuracy {accuracy:g}; an accuracy is from 0 to 1",
                f"{_RETURN_RULE}; divide percentages by 100",
            )
        return accuracy

    def _checked_metadata(self, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise EvaluationError(
                f"{self.name} returned {short(value)} as metadata, which is not a dict with text keys", _RETURN_RULE
            )
        try:
            # The way through JSON makes a copy, so that later changes by the function have no effect.
            metadata: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise EvaluationError(
                f"{self.name} returned metadata that JSON cannot hold: {summary(error)}", _RETURN_RULE
            ) from None
        return metadata


def script_of(function: object) -> str:
    """Return the file name of the script that defines a function, "" for a function of another module.

    All scripts have the same module name, so that it does not tell their functions apart.
    """
    if getattr(function, "__module__", None) != MAIN:
        return ""
    return Path(getattr(sys.modules[MAIN], "__file__", None) or "").name


def describe_function(name: str, sha256: str, script: str = "") -> Mapping[str, Any]:
    """Return the description of an evaluator that calls a function; see `FunctionEvaluator.describe`."""
    environment = {key: value for key, value in (("sha256", sha256), ("script", script)) if value}
    return {"evaluator": "python", "function": name, "environment": environment}


def short(value: object) -> str:
    """Return a value and its type in a few words, for a message."""
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def summary(error: BaseException) -> str:
    """Return the error's type and message in one line."""
    return textwrap.shorten(describe_error(error), 250, placeholder=" …")


def split_name(name: str) -> tuple[str, str]:
    """Return the module and the function that "module:function" names.

    Raises:
        NasError: The text is not of this form.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise NasError(f"{name!r} is not MODULE:FUNCTION", "write it like my_module:accuracy, without .py")
    return module, attribute


def find_function(name: str) -> FunctionEvaluator:
    """Import a function into this process, and return an evaluator that calls it.

    Args:
        name: "module:function", with the module as in an import statement.

    Raises:
        NasError: There is no such function, or its module cannot be imported.
    """
    return FunctionEvaluator(find_callable(name), name)


def find_callable(name: str) -> Callable[..., Any]:
    """Import a function into this process; see `find_function`."""
    module, attribute = split_name(name)
    try:
        function = getattr(_import(module), attribute)
    except AttributeError:
        raise NasError(f"module {module} has no {attribute}", f"define {attribute}(arch) there") from None
    if not callable(function):
        raise NasError(f"{name} is {short(function)}, which is not a function", f"define {attribute}(arch) there")
    found: Callable[..., Any] = function
    return found


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except BaseException as error:  # a module runs when it is imported, and may raise anything
        raise NasError(f"module {module} cannot be imported: {summary(error)}", IMPORT_REMEDY) from error


IMPORT_REMEDY = "modules are searched for in the working directory and among the installed packages"
