"""Pages name only paths and names of the code that exist, and the page on the architecture names every package."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PAGE = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_CODE = re.findall(r"`([^`\n]+)`", _PAGE)
_PAGES = [_ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").glob("*.md"))]
# `nas/own.py`, `experiments/kernels`, `tests/golden/help/*.txt`; paths below `nas-trials/` are those of a user.
_PATH = re.compile(r"(nas|tests|benchmarks|experiments|scripts|docs|search_spaces|latency_tables)/[\w./*-]*")
_REFERENCES = sorted({word for word in _CODE if re.fullmatch(r"nas(\.\w+)+", word)})


def exists(reference: str) -> bool:
    """Return whether a dotted name is a package, a module, or a name that a module's source defines.

    The source is parsed and not imported, because some modules need packages that are not installed everywhere.
    """
    names = reference.split(".")
    for length in range(len(names), 0, -1):
        path = _ROOT.joinpath(*names[:length])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if source.is_file():
            return _defines(ast.parse(source.read_text(encoding="utf-8")), names[length:])
    return False


def _defines(node: ast.AST, names: Sequence[str]) -> bool:
    if not names:
        return True
    return any(_defines(found, names[1:]) for name, found in _definitions(node) if name == names[0])


def _definitions(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the functions, classes and variables that a module or a class defines."""
    for child in getattr(node, "body", ()) if isinstance(node, ast.Module | ast.ClassDef) else ():
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name, child
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            yield child.target.id, child
        elif isinstance(child, ast.Assign):
            yield from ((target.id, child) for target in child.targets if isinstance(target, ast.Name))


def paths(text: str) -> set[str]:
    """Return the paths of the repository that a page names, alone or in a command."""
    words = {word for code in re.findall(r"`([^`\n]+)`", text) for word in code.split()}
    return {word for word in words if _PATH.fullmatch(word)}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_path_on_a_page_exists(page: Path) -> None:
    found = paths(page.read_text(encoding="utf-8"))
    assert [path for path in sorted(found) if not list(_ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("reference", _REFERENCES)
def test_every_reference_on_the_page_exists(reference: str) -> None:
    assert exists(reference)


def test_every_package_and_single_module_is_in_the_table() -> None:
    packages = {f"nas.{path.parent.name}" for path in (_ROOT / "nas").glob("*/__init__.py")}
    modules = {f"nas/{path.name}" for path in (_ROOT / "nas").glob("*.py") if path.name != "__init__.py"}
    rows = set(re.findall(r"^\| `([^`]+)` \|", _PAGE, re.MULTILINE))
    assert rows == packages | modules


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nas.arch", True),
        ("nas.arch.spec", True),
        ("nas.arch.spec.Stage.layers", True),
        ("nas.graph.build.EMIT", True),
        ("nas.space.decode.SpacePart.part", True),
        ("nas.arch.spec.Stages", False),
        ("nas.arch.spec.Stage.absent", False),
        ("nas.arch.absent", False),
        ("nas.absent", False),
        ("nas.space.decode.SpacePart.part.picks", False),
    ],
)
def test_references_are_looked_up_in_the_source(reference: str, expected: bool) -> None:
    assert exists(reference) is expected


def test_the_page_has_references_to_check() -> None:
    assert len(paths(_PAGE)) > 20
    assert len(_REFERENCES) > 50


def test_paths_are_found_in_code_alone() -> None:
    text = "`nas/own.py` and `python benchmarks/outlook.py --runs 1`, nas/words.py, `nas-trials/a.jsonl`, `docs/`"
    assert paths(text) == {"nas/own.py", "benchmarks/outlook.py", "docs/"}
