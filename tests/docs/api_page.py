"""The page of all public names, made from their signatures and docstrings."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import nas
from tests.docs.docstrings import Docstring, parse
from tests.docs.markdown import bullets, code, escape, fence, link, page, table

INTRODUCTION = """\
This page is made from the docstrings; `help(nas.search)` prints the same texts, and a test runs each example. `import
nas` is fast: a function imports torch, ONNX Runtime or Optuna when it is called. [Use from Python](python.md) shows the
functions in the order in which one needs them. Only the names on this page are public."""
# Sections of a docstring in the order of the page, with their titles.
SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "Args": "Arguments",
        "Attributes": "Attributes",
        "Returns": "Returns",
        "Yields": "Yields",
        "Raises": "Errors",
    }
)
LINE = 88  # characters of a signature in one line


def api_page() -> str:
    """Return the page."""
    names = [name for name in nas.__all__ if name != "__version__"]
    errors = [name for name in names if name.endswith("Error")]
    functions = [name for name in names if name[0].islower()]
    classes = [name for name in names if name not in (*errors, *functions)]
    return page(
        "# Python API",
        INTRODUCTION,
        f"`nas.__version__` is the version, such as {code(repr(nas.__version__))}.",
        "## Functions",
        table(("Function", "What it does"), map(_row, functions)),
        *(part for name in functions for part in _function(name)),
        "## Classes",
        table(("Class", "What an instance is"), map(_row, classes)),
        *(part for name in classes for part in _class(name)),
        "## Errors",
        "[Error messages](errors.md) lists causes and remedies. Each error has the attributes `problem` and `remedy`.",
        table(("Class", "What it reports"), ((code(f"nas.{name}"), _summary(name)) for name in errors)),
    )


def _row(name: str) -> tuple[str, str]:
    title = f"nas.{name}"
    return f"[`{title}`]({link(title)})", _summary(name)


def _summary(name: str) -> str:
    return escape(_docstring(_public(name)).paragraphs[0])


def _public(name: str) -> Any:
    return inspect.unwrap(getattr(nas, name))


def _docstring(thing: object) -> Docstring:
    return parse(inspect.getdoc(thing) or "")


def _function(name: str) -> Iterator[str]:
    yield f"### nas.{name}"
    yield fence("python", signature(_public(name), f"nas.{name}"))
    yield from _described(_docstring(_public(name)))


def _class(name: str) -> Iterator[str]:
    yield f"### nas.{name}"
    yield from _described(_docstring(_public(name)))
    members = [item for item in vars(_public(name)).items() if not item[0].startswith("_")]
    rows = [(member, escape(" ".join(_docstring(value).paragraphs))) for member, value in _properties(members)]
    if rows:
        yield "Properties:"
        yield bullets(rows)
    methods = [(member, value) for member, value in members if inspect.isfunction(inspect.unwrap(value))]
    if methods:
        yield "Methods:"
        yield "\n".join(_method(*item) for item in methods)


def _properties(members: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(member, value) for member, value in members if isinstance(value, property)]


def _method(name: str, method: Any) -> str:
    """Return an item of a list, with the arguments as a list below it."""
    docstring = _docstring(method)
    first = f"- {code(signature(inspect.unwrap(method), name, LINE * 2))}: {escape(' '.join(docstring.paragraphs))}"
    below = bullets((row, escape(text)) for row, text in docstring.rows.get("Args", ()))
    returned = escape(docstring.texts.get("Returns", ""))
    whole = f"{first} {f'Returns: {returned}' if returned else ''}".strip()
    return f"{whole}\n{textwrap.indent(below, '  ')}" if below else whole


def _described(docstring: Docstring) -> Iterator[str]:
    """Yield the paragraphs, the sections and the example of a docstring."""
    yield from map(escape, docstring.paragraphs)
    for section, title in SECTIONS.items():
        if section in docstring.texts:
            yield f"{title}: {escape(docstring.texts[section])}"
        if section in docstring.rows:
            yield f"{title}:"
            yield bullets((name, escape(text)) for name, text in docstring.rows[section])
    if docstring.example:
        yield "Example:"
        yield fence("pycon", docstring.example)


def signature(function: Any, name: str, line: int = LINE) -> str:
    """Return the signature of a function as its source has it, with the values of its defaults.

    Texts of annotations that Python evaluates differ between its versions, so they are taken from the source.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    annotations = {one.arg: _type(one.annotation) for one in (*tree.args.args, *tree.args.kwonlyargs)}
    arguments: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        arguments.append(f"{parameter.name}: {annotations[parameter.name]}{default}")
    result = f" -> {_type(tree.returns)}"
    flat = f"{name}({', '.join(arguments)}){result}"
    if len(flat) <= line:
        return flat
    return "\n".join((f"{name}(", *(f"    {argument}," for argument in arguments), f"){result}"))


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _type(annotation: ast.expr | None) -> str:
    """Return an annotation without quotes, and with `|` in place of `Union`."""
    if isinstance(annotation, ast.Constant):
        return str(annotation.value)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Union":
        assert isinstance(annotation.slice, ast.Tuple)
        return " | ".join(_type(one) for one in annotation.slice.elts)
    return "" if annotation is None else ast.unparse(annotation).replace("'", "")
