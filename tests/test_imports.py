"""Which room may import which, held against the code; and what `import nas` loads.

A room is a package or module right under `nas`; a module with a row of its own is a room too. A room may import what
its row names and whatever those may import in turn.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from nas.arch.presets import preset_names

_PACKAGE = Path(__file__).parent.parent / "nas"
_EVERYTHING = "everything"

_ROWS: Mapping[str, tuple[str, ...]] = {
    "version": (),
    "errors": (),
    "files": ("errors",),
    "noise": (),
    "arch": ("errors",),
    "space": ("arch",),
    "models": ("arch",),
    "graph": ("arch",),
    "device": ("errors", "arch", "graph"),
    "cost.base": ("arch",),
    "cost": ("cost.base", "arch", "graph", "device"),
    "data": ("errors",),
    "evaluate.base": ("arch",),
    "evaluate": ("evaluate.base", "arch", "space", "models", "data"),
    "evaluate.zero_cost": ("evaluate.base", "arch", "space", "cost"),
    "objective": ("evaluate.base", "cost.base"),
    "search": ("objective", "space", "noise"),
    "scaling": ("arch", "cost.base"),
    "scaling.fit": ("scaling", "search", "evaluate.base", "noise"),
    "scaling.compare": ("scaling", "search", "evaluate.base"),
    "fidelity": ("search", "evaluate.base", "noise"),
    "train": ("models", "data"),
    "export": ("models", "data"),
    "report": ("search.storage",),
    "cli": (_EVERYTHING,),
}
# Leaves that say nothing of any room.
_ANYWHERE = frozenset({"version", "files"})

# Heavy packages and the rooms or modules where they may be imported; a torch-free evaluator is named by its module.
_HEAVY: Mapping[str, tuple[str, ...]] = {
    "torch": ("models", "data", "train", "export", "evaluate"),
    "optuna": ("search",),
    "sqlalchemy": ("search",),
    "plotly": ("report",),
    "pandas": ("report", "evaluate.table", "evaluate.table_file", "evaluate.table_rows"),
    "onnx": ("graph", "device"),
    "onnxruntime": ("device",),
    "ray": ("search.ray_cluster",),
}
_WITHOUT_TORCH = (
    "nas.evaluate",
    "nas.evaluate.base",
    "nas.evaluate.table",
    "nas.evaluate.table_columns",
    "nas.evaluate.table_file",
    "nas.evaluate.table_rows",
    "nas.evaluate.function",
    "nas.evaluate.by_seed",
    "nas.evaluate.zero_cost",
)

Edge = tuple[str, str]


def modules(package: Path) -> dict[str, ast.Module]:
    """Every module's name and tree."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imported(tree: ast.Module, known: Iterable[str]) -> Iterator[str]:
    """Names of all modules imported anywhere in a tree, `import_module("…")` with a written-out name included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield whole if whole in known else module
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )


def edges(trees: Mapping[str, ast.Module]) -> list[Edge]:
    """Who imports what, modules by their whole names."""
    return [(name, other) for name, tree in trees.items() for other in imported(tree, trees)]


def room_of(module: str) -> str:
    """The room of a module of the package, "" for the package's root."""
    inside = module.removeprefix("nas").removeprefix(".")
    return inside if inside in _ROWS else inside.partition(".")[0]


def is_inside(module: str) -> bool:
    return module == "nas" or module.startswith(("nas.", "."))


def reach(room: str) -> set[str]:
    """All rooms that a room may import."""
    found: set[str] = set()
    waiting = list(_ROWS.get(room, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_ROWS.get(name, _ROWS.get(name.partition(".")[0], ())))
    return found


def complaint(importer: str, other: str) -> str:
    """What is wrong with one import, "" where nothing is."""
    if other.startswith("."):
        return f"{importer} imports {other}: a name that is not whole"
    here = room_of(importer)
    if not is_inside(other):
        return _heavy_complaint(importer, other)
    there, allowed = room_of(other), reach(here)
    if not there:
        return f"{importer} imports the package's root"
    if there not in _ROWS or (here and here not in _ROWS):
        return f"{importer} imports {other}: a room without a row"
    if there == here or there in _ANYWHERE or here == "cli" or there in allowed:
        return ""
    if other.removeprefix("nas.") in allowed:
        return ""
    return f"{importer} imports {other}: {here or 'the root'} may not import {there}"


def _heavy_complaint(importer: str, other: str) -> str:
    package = other.partition(".")[0]
    rooms = _HEAVY.get(package)
    here = {room_of(importer).partition(".")[0], importer.removeprefix("nas.")}
    if rooms is None or (here & {*rooms} and not _is_torch_free(importer, package)):
        return ""
    return f"{importer} imports {package}, which belongs to {', '.join(rooms)}"


def _is_torch_free(importer: str, package: str) -> bool:
    return package == "torch" and importer in _WITHOUT_TORCH


def complaints(trees: Mapping[str, ast.Module]) -> list[str]:
    return [said for importer, other in edges(trees) if (said := complaint(importer, other))]


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes that no order of importing can put in line; empty where there is no cycle."""
    left = {name: set(others) for name, others in graph.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def room_graph(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {room_of(name): set() for name in trees}
    for importer, other in edges(trees):
        if is_inside(other) and room_of(importer) != room_of(other):
            graph[room_of(importer)].add(room_of(other))
    return graph


def module_graph(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for importer, other in edges(trees):
        graph[importer].add(other)
    return graph


def test_every_import_is_allowed() -> None:
    assert "\n".join(complaints(modules(_PACKAGE))) == ""


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert cycle(room_graph(modules(_PACKAGE))) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycle(module_graph(modules(_PACKAGE))) == []


def test_the_table_itself_has_no_circle() -> None:
    graph = {room: set(row) - {_EVERYTHING} for room, row in _ROWS.items()}
    assert cycle(graph) == []
    assert all(room not in reach(room) for room in _ROWS)


def test_every_room_of_the_code_has_a_row() -> None:
    assert {room_of(name) for name in modules(_PACKAGE)} <= {*_ROWS, ""}


@pytest.mark.parametrize(
    ("importer", "source", "told"),
    [
        ("nas.arch.spec", "import nas.space.decode", "arch may not import space"),
        ("nas.arch.spec", "from nas.cost import base", "arch may not import cost.base"),
        ("nas.arch.spec", "from nas.cost.base import Cost", "arch may not import cost.base"),
        (
            "nas.space.schema",
            "def late() -> None:\n    from nas.cost.analytic import cost",
            "space may not import cost",
        ),
        ("nas.space.schema", "if TYPE_CHECKING:\n    import nas.search.loop", "space may not import search"),
        ("nas.objective", "from nas.cost.analytic import MACS", "objective may not import cost"),
        ("nas.objective", "from nas.evaluate.train import Trained", "objective may not import evaluate"),
        ("nas.search.loop", "from nas.cost.analytic import MACS", "search may not import cost"),
        ("nas.search.loop", "import nas.report.frame", "search may not import report"),
        ("nas.report.frame", "from nas.search.loop import run", "report may not import search"),
        ("nas.report.frame", "from nas.models.build import build_model", "report may not import models"),
        ("nas.data.load", "import nas.models.build", "data may not import models"),
        (
            "nas.models.build",
            "import importlib\nimportlib.import_module('nas.data.load')",
            "models may not import data",
        ),
        ("nas.models.build", "from importlib import import_module\nimport_module('nas.data')", "may not import data"),
        ("nas.errors", "from nas.arch import spec", "errors may not import arch"),
        ("nas", "from nas.arch.spec import Stage", "the root may not import arch"),
        ("nas.cli.main", "import nas", "imports the package's root"),
        ("nas.cli.main", "from nas import __version__", "imports the package's root"),
        ("nas.arch.spec", "from . import layers", "a name that is not whole"),
        ("nas.arch.spec", "import nas.helpers", "a room without a row"),
        ("nas.helpers", "import nas.errors", "a room without a row"),
        ("nas.cost.measured", "import torch.nn", "imports torch"),
        ("nas.space.decode", "def late() -> None:\n    from torch import nn", "imports torch"),
        ("nas.evaluate.base", "import torch", "imports torch"),
        ("nas.cli.search", "import optuna", "imports optuna"),
        ("nas.report.frame", "from optuna.trial import FrozenTrial", "imports optuna"),
        ("nas.cli.search", "import sqlalchemy.engine", "imports sqlalchemy"),
        ("nas.search.storage", "import pandas as pd", "imports pandas"),
        ("nas.evaluate.function", "import pandas", "imports pandas"),
        ("nas.evaluate.table", "import torch", "imports torch"),
        ("nas.evaluate.zero_cost", "import torch", "imports torch"),
        ("nas.evaluate.zero_cost", "from nas.evaluate.train import find_device", "may not import evaluate"),
        ("nas.evaluate.naswot", "from nas.cost.analytic import cost", "evaluate may not import cost"),
        ("nas.cli.pareto", "from plotly import graph_objects", "imports plotly"),
        ("nas.cost.measured", "import onnx", "imports onnx"),
        ("nas.graph.build", "import onnxruntime", "imports onnxruntime"),
        ("nas.search.loop", "def late() -> None:\n    import_module('ray')", "imports ray"),
    ],
)
def test_a_made_up_bad_import_is_caught(importer: str, source: str, told: str) -> None:
    said = complaints({**dict.fromkeys(_KNOWN, ast.parse("")), importer: ast.parse(source)})
    assert len(said) == 1
    assert told in said[0]


_KNOWN = ("nas.arch.spec", "nas.cost.base", "nas.arch", "nas.cost", "nas.data")


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("nas", "from nas.version import __version__"),
        ("nas.arch.spec", "from nas.errors import ArchitectureError"),
        ("nas.space.decode", "from nas.errors import SpaceError\nfrom nas.arch import spec"),
        ("nas.objective", "from nas.cost.base import Target\nfrom nas.evaluate import base\nimport nas.version"),
        ("nas.search.loop", "from nas.cost import base\nimport nas.evaluate.base\nimport optuna\nimport sqlalchemy"),
        ("nas.report.frame", "from nas.search.storage import open_study\nimport pandas, plotly"),
        ("nas.evaluate.train", "import torch\nimport nas.models.build\nimport nas.data.load"),
        ("nas.evaluate.table", "import pandas\nimport nas.space.decode"),
        ("nas.scaling.fit", "import nas.search.loop"),
        ("nas.search.ray_cluster", "import_module('ray')"),
        ("nas.cli.search", "import nas.search.loop\nimport nas.data.load\nimport click"),
    ],
)
def test_a_made_up_good_import_is_let_through(importer: str, source: str) -> None:
    known = ("nas.arch.spec", "nas.cost.base", "nas.evaluate.base")
    assert complaints({**dict.fromkeys(known, ast.parse("")), importer: ast.parse(source)}) == []


@pytest.mark.parametrize(
    ("a", "b"), [("nas.arch.x", "nas.space.y"), ("nas.cost.base", "nas.cost.analytic"), ("nas.cli.a", "nas.search.b")]
)
def test_a_made_up_circle_is_caught(a: str, b: str) -> None:
    trees = {a: ast.parse(f"import {b}"), b: ast.parse(f"def late() -> None:\n    from {a} import thing")}
    assert cycle(room_graph(trees)) == sorted({room_of(a), room_of(b)})
    assert cycle(module_graph(trees)) == sorted([a, b])


def test_the_modules_are_really_read() -> None:
    trees = modules(_PACKAGE)
    assert {"nas", "nas.arch.spec", "nas.cost.base", "nas.search.storage"} <= trees.keys()
    assert ("nas.cost.base", "nas.arch.layers") in edges(trees)


def loaded_by(statement: str) -> set[str]:
    """Packages that a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=_PACKAGE.parent
    )
    return set(found.stdout.split())


@pytest.mark.parametrize("module", ["nas", "nas.cli.main"])
def test_the_package_and_its_command_load_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert "nas" in loaded
    assert loaded.isdisjoint({*_HEAVY, "numpy", "datasets", "PIL", "sklearn"})


def test_architectures_costs_and_searches_need_no_torch() -> None:
    loaded = loaded_by("import nas.arch.presets, nas.cost.target, nas.space.files, nas.search.loop, nas.objective")
    assert "optuna" in loaded
    assert loaded.isdisjoint({"torch", "plotly", "pandas", "ray"})


def test_ray_is_loaded_by_those_alone_who_use_a_cluster() -> None:
    loaded = loaded_by("import nas.search.ray_workers")
    assert "psutil" in loaded
    assert loaded.isdisjoint({"ray", "torch"})


def test_tables_and_functions_score_without_torch() -> None:
    loaded = loaded_by("import nas.evaluate.table, nas.evaluate.function")
    assert "pandas" in loaded
    assert loaded.isdisjoint({*_HEAVY} - {"pandas"})


def test_what_is_counted_scores_without_torch() -> None:
    loaded = loaded_by("import nas.evaluate.zero_cost")
    assert "numpy" in loaded
    assert loaded.isdisjoint(_HEAVY)


def test_graphs_are_built_and_weights_folded_without_torch() -> None:
    loaded = loaded_by("import nas.graph.build, nas.graph.weights")
    assert "onnx" in loaded
    assert loaded.isdisjoint({*_HEAVY} - {"onnx"})


def test_an_agent_needs_no_torch_and_a_client_no_runtime() -> None:
    assert {"onnx", "onnxruntime"} <= loaded_by("import nas.device.agent")
    assert loaded_by("import nas.device.agent").isdisjoint({"torch", "optuna", "pandas", "plotly", "sqlalchemy"})
    assert loaded_by("import nas.device.client").isdisjoint(_HEAVY)


def test_a_preset_needs_no_numpy() -> None:
    assert loaded_by(f"from nas.arch.presets import preset\npreset({preset_names()[0]!r})").isdisjoint(
        {*_HEAVY, "numpy"}
    )
