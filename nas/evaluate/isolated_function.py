"""Functions of the user that are called in a process of their own: an evaluator, and costs."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from nas.arch.spec import Architecture
from nas.evaluate.base import Evaluator
from nas.evaluate.cost_function import find_cost
from nas.evaluate.function import MAIN, describe_function, find_function, split_name
from nas.evaluate.function_process import COST, FunctionProcess


@frozen(eq=False)
class IsolatedEvaluator:
    """Evaluate architectures by a function of a module, which gives one accuracy whatever the budget is.

    See `FunctionEvaluator` for what the function returns. An evaluator that is sent to another process starts a process
    of its own there.

    Attributes:
        process: Process that calls the function.
        sha256: First digits of the SHA-256 of the function's source file, "" if there is none.
    """

    process: FunctionProcess
    sha256: str
    _metadata: dict[Architecture, Mapping[str, Any]] = field(factory=dict, init=False, repr=False)

    def evaluate(self, arch: Architecture, budget: int) -> Iterator[float]:  # noqa: ARG002 -- there are no epochs
        """Yield the accuracy that the function returns.

        Raises:
            EvaluationError: The function returned anything else, raised an error, or ended its process.
            NasError: The function cannot be imported.
        """
        self._metadata.pop(arch, None)
        accuracy, self._metadata[arch] = self.process.call(arch)
        yield accuracy

    def metadata(self, arch: Architecture) -> Mapping[str, Any]:
        """Return the metadata of the function's last call for the architecture."""
        return self._metadata.get(arch, {})

    def to_send(self) -> "IsolatedEvaluator":
        """Return the same evaluator without the metadata of former calls; see `Sendable`."""
        return evolve(self)

    def describe(self) -> Mapping[str, Any]:
        """Return the function's name, with the digest of its file under "environment".

        A study may be resumed after the file has changed; each trial stores the digest.
        """
        return describe_function(self.process.name, self.sha256)


def load_function(name: str) -> Evaluator:
    """Import a function from a module of the working directory or an installed package, and return its evaluator.

    The module is imported by another process, and not by this one.

    Args:
        name: "module:function", with the module as in an import statement.

    Raises:
        NasError: There is no such function, or its module cannot be imported.
    """
    if is_called_here(name):
        return find_function(name)
    process = FunctionProcess(name)
    return IsolatedEvaluator(process, process.load())


def load_cost(name: str, limit_s: float | None = None) -> tuple[Callable[[object], float], str]:
    """Import a function that gives costs, as `load_function` does.

    Args:
        name: "module:function", with the module as in an import statement.
        limit_s: Longest duration of a call in seconds, if another process calls the function; None for no limit.

    Returns:
        A function that calls it and checks its result, and the digest of its source file, "" if there is none.

    Raises:
        NasError: There is no such function, its module cannot be imported, or it does not take one argument.
    """
    if is_called_here(name):
        function = find_cost(name)
        return function.result, function.sha256
    process = FunctionProcess(name, gives=COST, limit_s=limit_s)
    return process.call, process.load()


def is_called_here(name: str) -> bool:
    """Return whether a function can only be called by this process, which then finds modules in the working directory.

    The functions of a running script exist only in its process. Windows lets no process inherit a single connection.

    Raises:
        NasError: The name is not of the form "module:function".
    """
    module, _ = split_name(name)
    here = module == MAIN or os.name != "posix"
    if here and (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    return here
