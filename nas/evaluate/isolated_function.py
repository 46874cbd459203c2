"""An evaluator that calls a function of the user in a process of its own."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from nas.arch.spec import Architecture
from nas.evaluate.base import Evaluator
from nas.evaluate.function import MAIN, describe_function, find_function, split_name
from nas.evaluate.function_process import FunctionProcess


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
        accuracy, self._metadata[arch] = self.process.evaluate(arch)
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
    module, _ = split_name(name)
    # The functions of a running script exist only in its process. Windows lets no process inherit a single connection.
    if module == MAIN or os.name != "posix":
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, folder)
        return find_function(name)
    process = FunctionProcess(name)
    return IsolatedEvaluator(process, process.load())
