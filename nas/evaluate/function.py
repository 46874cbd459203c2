"""An evaluator that calls a function of the user."""

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
from nas.errors import EvaluationError, NasError

_RETURN_RULE = "return a number from 0 to 1, or a pair of that number and a dict of plain JSON values"


def _digest_of_source(function: Callable[..., Any]) -> str:
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
        return _digest_of_source(self.function)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there are no epochs
        """Yield the accuracy that the function returns.

        Errors that the function raises are not caught, except the errors of `nas`.

        Raises:
            EvaluationError: The function returned anything else, or it raised a `NasError`.
        """
        self._metadata.pop(arch, None)
        try:
            result = self.function(arch)
        except NasError as error:
            raise EvaluationError(f"{self.name} failed: {error.problem}", error.remedy) from error
        accuracy, metadata = self._split(result)
        self._metadata[arch] = metadata
        yield accuracy

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
                f"{self.name} cannot be sent to another process: {_summary(error)}",
                "define it at the top level of a module, without a decorator that replaces it, or use a single process",
            ) from error
        return attrs.evolve(self)

    def describe(self) -> Mapping[str, Any]:
        """Return the function's name, with the digest of its file under "environment".

        A study may be resumed after the file has changed; each trial stores the digest.
        """
        environment = {"sha256": self.sha256} if self.sha256 else {}
        return {"evaluator": "python", "function": self.name, "environment": environment}

    def _split(self, result: object) -> tuple[float, Mapping[str, Any]]:
        """Return the accuracy and the metadata in a result of the function."""
        if not isinstance(result, tuple):
            return self._checked_accuracy(result), {}
        if len(result) != 2:
            raise EvaluationError(
                f"{self.name} returned a tuple of {len(result)} values: {_short(result)}", _RETURN_RULE
            )
        return self._checked_accuracy(result[0]), self._checked_metadata(result[1])

    def _checked_accuracy(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise EvaluationError(
                f"{self.name} returned {_short(value)} as the accuracy, which is not a number", _RETURN_RULE
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
                f"{self.name} returned {_short(value)} as metadata, which is not a dict with text keys", _RETURN_RULE
            )
        try:
            # The way through JSON makes a copy, so that later changes by the function have no effect.
            metadata: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise EvaluationError(
                f"{self.name} returned metadata that JSON cannot hold: {_summary(error)}", _RETURN_RULE
            ) from None
        return metadata


def _short(value: object) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def _summary(error: BaseException) -> str:
    """Return the error's type and message in one line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 250, placeholder=" …")


def load_function(name: str) -> FunctionEvaluator:
    """Import a function from a module of the working directory or an installed package, and return its evaluator.

    Args:
        name: "module:function", with the module as in an import statement.

    Raises:
        NasError: There is no such function, or its module cannot be imported.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise NasError(f"{name!r} is not MODULE:FUNCTION", "write it like my_module:accuracy, without .py")
    try:
        function = getattr(_import(module), attribute)
    except AttributeError:
        raise NasError(f"module {module} has no {attribute}", f"define {attribute}(arch) there") from None
    if not callable(function):
        raise NasError(f"{name} is {_short(function)}, which is not a function", f"define {attribute}(arch) there")
    return FunctionEvaluator(function, name)


def _import(module: str) -> Any:
    # The working directory comes first, as with `python -m`. It stays in the path, because the function may import
    # other modules when it is called.
    if (directory := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, directory)
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a module runs when it is imported, and may raise any error
        raise NasError(
            f"module {module} cannot be imported: {_summary(error)}",
            "modules are searched for in the working directory and among the installed packages",
        ) from error
