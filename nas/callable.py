"""Packages that can also be called, so that `nas.search` is both a package and a function of the public API.

Importing a subpackage sets it as an attribute of its parent package. Without this module `nas.search` would be a
function before `import nas.search.run` and a package after it.
"""

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """Represent a package that calls a function of the public API with the same name.

    The function is imported only when it is called or inspected.
    """

    _function: str

    @property
    def __wrapped__(self) -> Any:
        """Return the function, which `inspect.unwrap` and `doctest` look for under this name."""
        module, _, name = self._function.rpartition(".")
        return getattr(import_module(module), name)

    @property
    def __signature__(self) -> Signature:
        """Return the signature of the function, which `inspect.signature` looks for under this name."""
        return signature(self.__wrapped__)

    @property
    def __doc__(self) -> str:  # type: ignore[override] # a property hides the docstring in the package's dictionary
        """Return the documentation of the function, so that `help(nas.search)` shows it."""
        name = self.__name__.rpartition(".")[2]
        return f"{name}{self.__signature__}\n\n{self.__wrapped__.__doc__}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how pickle finds the package again, for example in a worker of `multiprocessing`."""
        return import_module, (self.__name__,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)


def make_callable(package: str, function: str) -> None:
    """Make an imported package callable.

    Args:
        package: Name of the package, `__name__` in its `__init__.py`.
        function: Full name of the function, for example "nas.api.search.search".
    """
    module = sys.modules[package]
    module.__class__ = CallableModule
    vars(module)["_function"] = function
