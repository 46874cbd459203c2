"""The examples in docstrings: every public object has one, and all of them work."""

import doctest
import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import nas

_PACKAGE = Path(nas.__file__).parent
# `nas.cli` is documented by its help, and the modules of Ray import a package that may be absent.
_MODULES = [
    ".".join(("nas", *path.relative_to(_PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(_PACKAGE.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
    and "cli" not in path.relative_to(_PACKAGE).parts
    and not path.name.startswith("ray_")
]
_PUBLIC = [name for name in nas.__all__ if name != "__version__"]


def examples_of(public: Any) -> list[doctest.DocTest]:
    """The docstring of an object, and those of its methods, that have an example."""
    found = inspect.unwrap(public)
    module = sys.modules[found.__module__]
    tests = doctest.DocTestFinder().find(found, found.__name__, module=module, globs={})
    return [test for test in tests if test.examples]


def run(test: doctest.DocTest) -> str:
    """What a run of the examples complains about; "" if they all give what they show."""
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    return "".join(said)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", _PUBLIC)
def test_every_public_object_has_a_docstring_with_an_example(name: str) -> None:
    public = getattr(nas, name)
    assert inspect.getdoc(public)
    if inspect.isclass(public) and issubclass(public, nas.NasError) and public is not nas.NasError:
        return  # Errors differ from their base class by their names alone.
    assert any(test.name == inspect.unwrap(public).__name__ for test in examples_of(public))


@pytest.mark.parametrize("name", _PUBLIC)
def test_every_public_function_describes_its_arguments_result_and_errors(name: str) -> None:
    function = inspect.unwrap(getattr(nas, name))
    if not inspect.isfunction(function):
        return
    text = inspect.getdoc(function) or ""
    sections = [part for part in ("Args:", "Returns:", "Raises:") if f"\n{part}\n" in text]
    assert sections == ["Args:", *(["Returns:"] if function.__annotations__["return"] else []), "Raises:"]
    described = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    for argument in inspect.signature(function).parameters:
        assert f"\n    {argument}: " in f"\n{described}"


@pytest.mark.parametrize("name", [name for name in _PUBLIC if not name.endswith("Error")])
def test_the_examples_of_public_objects_work(name: str) -> None:
    for test in examples_of(getattr(nas, name)):
        assert run(test) == ""


@pytest.mark.parametrize("name", _MODULES)
def test_the_examples_of_modules_work(name: str) -> None:
    if name.startswith("nas.api."):
        return  # Their examples are those of the public objects.
    for test in doctest.DocTestFinder().find(import_module(name), name):
        assert run(test) == ""
