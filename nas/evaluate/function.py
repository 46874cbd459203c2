"""Scores architectures by a function of the user's own."""

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

_WANTED = "return a number from 0 to 1, or that and a dict of plain JSON values"


def _digest_of_source(function: Callable[..., Any]) -> str:
    """The first digits of its file's SHA-256, "" where there is no file."""
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(function) or "").read_bytes()).hexdigest()[:12]
    except (TypeError, OSError):  # built in, an object that can be called, typed in by hand
        return ""


@frozen(eq=False)
class FunctionEvaluator:
    """What a function says of an architecture: one accuracy, whatever the budget.

    The function owes what every evaluator does: the same architecture, the same accuracy.

    Attributes:
        function: of an architecture; gives an accuracy, or a pair of it and a dict of what to keep beside it.
        name: as it is kept in a study, such as "module:function".
        sha256: the first digits of the source file's, "" where there is none.
    """

    function: Callable[[Architecture], Any]
    name: str
    sha256: str = field(init=False)
    _remarks: dict[Architecture, Mapping[str, Any]] = field(factory=dict, init=False, repr=False)

    @sha256.default
    def _digest(self) -> str:
        return _digest_of_source(self.function)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- the function's own matter
        """The one accuracy that the function gives; what it raises passes through, unless it is an error of `nas`.

        Raises:
            EvaluationError: it gave something else, or what it did with `nas` failed.
        """
        self._remarks.pop(arch, None)
        try:
            given = self.function(arch)
        except NasError as error:
            raise EvaluationError(f"{self.name} failed: {error.problem}", error.remedy) from error
        accuracy, remarks = self._parts(given)
        self._remarks[arch] = remarks
        yield accuracy

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """What the last call for the architecture gave beside its accuracy."""
        return self._remarks.get(arch, {})

    def to_send(self) -> "FunctionEvaluator":
        """The same without remarks; see `Sendable`.

        Raises:
            NasError: another process would not find the function.
        """
        try:
            pickle.dumps(self.function)
        except Exception as error:  # what it consists of may raise anything
            raise NasError(
                f"{self.name} cannot be sent to another process: {_told(error)}",
                "define it at the top of a module, without a decorator that hides it, or work with a single process",
            ) from error
        return attrs.evolve(self)

    def describe(self) -> Mapping[str, Any]:
        """The function by its name; a study may go on after its file has changed, and keeps that with each trial."""
        environment = {"sha256": self.sha256} if self.sha256 else {}
        return {"evaluator": "python", "function": self.name, "environment": environment}

    def _parts(self, result: object) -> tuple[float, Mapping[str, Any]]:
        """Accuracy and remarks of what the function gave."""
        if not isinstance(result, tuple):
            return self._accuracy(result), {}
        if len(result) != 2:
            raise EvaluationError(f"{self.name} gave a tuple of {len(result)}: {_short(result)}", _WANTED)
        return self._accuracy(result[0]), self._plain(result[1])

    def _accuracy(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise EvaluationError(f"{self.name} gave {_short(value)} as the accuracy, which is no number", _WANTED)
        accuracy = float(value)
        if math.isnan(accuracy) or not 0 <= accuracy <= 1:
            raise EvaluationError(
                f"{self.name} gave the accuracy {accuracy:g}", f"{_WANTED}; percent are divided by 100"
            )
        return accuracy

    def _plain(self, remarks: object) -> Mapping[str, Any]:
        if not isinstance(remarks, dict) or not all(isinstance(key, str) for key in remarks):
            raise EvaluationError(f"{self.name} gave {_short(remarks)} beside the accuracy, no dict by names", _WANTED)
        try:
            plain: dict[str, Any] = json.loads(json.dumps(remarks, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise EvaluationError(f"{self.name} gave what JSON cannot hold: {_told(error)}", _WANTED) from None
        return plain


def _short(value: object) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def _told(error: BaseException) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 250, placeholder=" …")


def load_function(name: str) -> FunctionEvaluator:
    """Import a function by its name, from the working directory or among the installed packages.

    Args:
        name: "module:function", the module as `import` takes it.

    Raises:
        NasError: there is no such function, or its module cannot be imported.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise NasError(f"{name!r} is not MODULE:FUNCTION", "write it like my_module:accuracy, without .py")
    try:
        found = getattr(_import(module), attribute)
    except AttributeError:
        raise NasError(f"module {module} has no {attribute}", f"define {attribute}(arch) there") from None
    if not callable(found):
        raise NasError(f"{name} is {_short(found)}, no function", f"define {attribute}(arch) there")
    return FunctionEvaluator(found, name)


def _import(module: str) -> Any:
    # First, as `python -m` has it, and for good: the function may import more when it is called.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a module may raise anything when it is run
        raise NasError(
            f"module {module} cannot be imported: {_told(error)}",
            "it is looked for in the working directory and among installed packages",
        ) from error
