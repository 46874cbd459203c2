"""The messages of errors, collected from the source code: what is wrong and what to do, with names for values."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

UNKNOWN = "…"  # a part of a message that other code makes
FEWEST_WORDS = 2  # of a message beside its values; what has fewer is made of the message of another place
_OWN_WORD = re.compile(r"(?<!‹)\b[a-z]+\b(?![^‹]*›)")


@frozen(order=True)
class Message:
    """Hold one kind of message that an error can have.

    Attributes:
        kind: Name of the error's class.
        package: Name of the package that raises it, directly below `nas`.
        problem: What is wrong; a name in ‹ › stands for a value.
        remedy: What to do; "" if there is nothing to say.
    """

    kind: str
    package: str
    problem: str
    remedy: str


def messages(root: Path, kinds: Mapping[str, str]) -> list[Message]:
    """Return the messages of all modules of a package, each once and in order.

    Args:
        root: Folder of the package.
        kinds: Names of the classes that users see, by the names of the classes that are raised.
    """
    found = set()
    for path in root.rglob("*.py"):
        package = path.relative_to(root).parts[0].removesuffix(".py")
        text = path.read_text(encoding="utf-8")
        for kind, problem, remedy in _raised(ast.parse(text)) if "Error(" in text else ():
            if kind in kinds and len(_OWN_WORD.findall(problem)) >= FEWEST_WORDS:
                found.add(Message(kinds[kind], package, problem, remedy))
    return sorted(found)


def _raised(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Yield the class, the problem and the remedy of each error that a module makes."""
    known = _constants(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield from _made(node, {**known, **_constants(list(_own(node)))})


def _made(function: ast.FunctionDef, known: Mapping[str, ast.expr]) -> Iterator[tuple[str, str, str]]:
    for node in _own(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            problem, *others = node.args
            named = [word.value for word in node.keywords if word.arg == "remedy"]
            remedy = next(iter([*others, *named]), ast.Constant(""))
            yield node.func.id, _text(problem, known), _text(remedy, known)


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def _constants(nodes: list[ast.AST] | list[ast.stmt]) -> dict[str, ast.expr]:
    """Return the values of names that are assigned once."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _text(node: ast.expr, known: Mapping[str, ast.expr]) -> str:
    """Return the text that an expression makes."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value, known) for value in values)
        case ast.FormattedValue(value=value):
            return _part(value, known)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, known) + _text(right, known)
        case ast.IfExp(body=body, orelse=orelse):
            return " / ".join(filter(None, (_text(body, known), _text(orelse, known))))
        case ast.Name(id=name) if name in known and _is_text(known[name]):
            return _text(known[name], {other: value for other, value in known.items() if other != name})
    return UNKNOWN


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.IfExp | ast.BinOp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _part(node: ast.expr, known: Mapping[str, ast.expr]) -> str:
    """Return the text of a value within a message, or its name."""
    if isinstance(node, ast.Name) and isinstance(number := known.get(node.id), ast.Constant):
        node = number
    if isinstance(node, ast.Constant):
        return str(node.value)
    text = _text(node, known)
    if text != UNKNOWN and UNKNOWN not in text:
        return text
    while isinstance(node, ast.Subscript | ast.BinOp):
        node = node.value if isinstance(node, ast.Subscript) else node.left
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return f"‹{name.strip('_').replace('_', ' ').lower()}›" if len(name) > 1 else UNKNOWN
