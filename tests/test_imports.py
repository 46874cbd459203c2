"""The table of allowed imports and the sizes of packages, compared with the code; and what `import nas` loads.

A package here is a package or module directly below `nas`; a module with a row of its own counts as one too. A package
may import what its row names and whatever those may import in turn.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from nas.arch.presets import preset_names

_PACKAGE = Path(__file__).parent.parent / "nas"
_EVERYTHING, _ALL_BUT_CLI = "everything", "everything but cli"

_ROWS: Mapping[str, tuple[str, ...]] = {
    "version": (),
    "errors": (),
    "files": ("errors",),
    "processes": (),
    "output_kinds": ("errors", "files"),
    "noise": (),
    "outlook": (),
    "arch": ("errors",),
    "space": ("arch",),
    "models": ("arch",),
    "weights": ("arch", "models"),
    "graph": ("arch",),
    "device": ("errors", "arch", "graph"),
    "zoo": ("errors", "arch", "graph", "cost"),
    "cost.base": ("arch",),
    "cost": ("cost.base", "arch", "graph", "device"),
    "data": ("errors",),
    "train.defaults": (),
    "train": ("train.defaults", "arch", "models", "weights", "data"),
    "evaluate.base": ("arch",),
    "evaluate": ("evaluate.base", "arch", "space", "models", "weights", "data", "train", "processes"),
    "evaluate.zero_cost": ("evaluate", "cost"),
    "objective": ("evaluate.base", "cost.base"),
    "optuna_private": (),
    "samplers.defaults": (),
    "samplers": ("samplers.defaults", "optuna_private", "space", "cost.base", "objective"),
    "studies.defaults": (),
    "studies": ("studies.defaults", "optuna_private", "arch", "objective"),
    "workers": ("errors", "evaluate.base", "processes"),
    "search.defaults": (),
    "search": ("search.defaults", "samplers", "studies", "workers"),
    "scaling.rules": ("arch",),
    "scaling": ("scaling.rules", "arch", "cost.base"),
    "scaling.fit": ("scaling", "search"),
    "scaling.compare": ("scaling", "search"),
    "fidelity": ("search", "evaluate.base"),
    "export": ("models", "weights", "data", "graph", "device"),
    "report": ("studies", "cost", "scaling.rules"),
    "api": (_ALL_BUT_CLI,),
    "cli": (_EVERYTHING,),
    "__main__": ("cli",),
    "callable": (),
    "": ("api", "errors"),  # the root, `nas/__init__.py`
}
# Leaves that say nothing of any package.
_ANYWHERE = frozenset({"version", "files", "output_kinds", "noise", "outlook", "callable"})

# Heavy packages and the packages or modules where they may be imported.
_HEAVY: Mapping[str, tuple[str, ...]] = {
    "torch": ("models", "weights", "data", "train", "evaluate", "export", "api.networks"),
    "optuna": ("optuna_private", "search", "samplers", "studies"),
    "sqlalchemy": ("optuna_private", "search", "studies"),
    "plotly": ("report",),
    "pandas": ("report", "evaluate.table", "api.study"),
    "onnx": ("graph", "device", "zoo", "export", "api.networks"),
    "onnxruntime": ("device", "export"),
    "ray": ("workers.ray_cluster",),
    "captum": ("train",),
    "tensorboard": ("train",),
    "mlflow": ("train",),
}
# Modules of packages that may import torch which do without it.
_WITHOUT_TORCH = (
    "nas.train.defaults",
    "nas.train.assessment.prediction",
    "nas.evaluate",
    "nas.evaluate.base",
    "nas.evaluate.table",
    "nas.evaluate.function",
    "nas.evaluate.function_process",
    "nas.evaluate.isolated_function",
    "nas.evaluate.seeded_evaluators",
    "nas.evaluate.zero_cost.evaluator",
    "nas.evaluate.zero_cost.scale",
    "nas.evaluate.zero_cost.scores",
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


def package_of(module: str) -> str:
    """Return the package that a module belongs to, "" for the package's root."""
    inside = module.removeprefix("nas").removeprefix(".")
    parts = inside.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
    return next((name for name in names if name in _ROWS), parts[0])


def is_inside(module: str) -> bool:
    return module == "nas" or module.startswith(("nas.", "."))


def reach(package: str) -> set[str]:
    """Return all packages that a package may import."""
    found: set[str] = set()
    waiting = list(_ROWS.get(package, ()))
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
    here = package_of(importer)
    if not is_inside(other):
        return _heavy_complaint(importer, other)
    there, allowed = package_of(other), reach(here)
    if not there:
        return f"{importer} imports the package's root"
    if there not in _ROWS or (here and here not in _ROWS):
        return f"{importer} imports {other}: a package without a row"
    if there == here or there in _ANYWHERE or here == "cli" or there in allowed:
        return ""
    if here == "api" and there != "cli":
        return ""
    if other.removeprefix("nas.") in allowed:
        return ""
    return f"{importer} imports {other}: {here or 'the root'} may not import {there}"


def _heavy_complaint(importer: str, other: str) -> str:
    heavy = other.partition(".")[0]
    places = _HEAVY.get(heavy)
    if places is None or (_is_below(importer, places) and not (heavy == "torch" and _is_torch_free(importer))):
        return ""
    return f"{importer} imports {heavy}, which belongs to {', '.join(places)}"


def _is_below(importer: str, places: Iterable[str]) -> bool:
    return any(f"{importer}.".startswith(f"nas.{place}.") for place in places)


def _is_torch_free(importer: str) -> bool:
    return importer in _WITHOUT_TORCH or importer.startswith("nas.evaluate.table.")


def complaints(trees: Mapping[str, ast.Module]) -> list[str]:
    return [said for importer, other in edges(trees) if (said := complaint(importer, other))]


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes that no order of importing can put in line; empty where there is no cycle."""
    left = {name: set(others) for name, others in graph.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def package_graph(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {package_of(name): set() for name in trees}
    for importer, other in edges(trees):
        if is_inside(other) and package_of(importer) != package_of(other):
            graph[package_of(importer)].add(package_of(other))
    return graph


def module_graph(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for importer, other in edges(trees):
        graph[importer].add(other)
    return graph


def test_every_import_is_allowed() -> None:
    assert "\n".join(complaints(modules(_PACKAGE))) == ""


def test_no_packages_import_each_other_in_a_circle() -> None:
    assert cycle(package_graph(modules(_PACKAGE))) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycle(module_graph(modules(_PACKAGE))) == []


def test_the_table_itself_has_no_circle() -> None:
    graph = {package: set(row) - {_EVERYTHING, _ALL_BUT_CLI} for package, row in _ROWS.items()}
    assert cycle(graph) == []
    assert all(package not in reach(package) for package in _ROWS)


def test_every_package_of_the_code_has_a_row() -> None:
    assert {package_of(name) for name in modules(_PACKAGE)} <= {*_ROWS, ""}


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
        ("nas.space.schema", "if TYPE_CHECKING:\n    import nas.search.run", "space may not import search"),
        ("nas.objective", "from nas.cost.analytic import MACS", "objective may not import cost"),
        (
            "nas.objective",
            "from nas.evaluate.short_training.evaluator import Trained",
            "objective may not import evaluate",
        ),
        ("nas.search.run", "from nas.cost.analytic import MACS", "search may not import cost"),
        ("nas.search.run", "import nas.report.frame", "search may not import report"),
        ("nas.report.frame", "from nas.search.run import run", "report may not import search"),
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
        ("nas", "from nas.cli.main import main", "the root may not import cli"),
        ("nas.api.search", "from nas.cli.shared import options", "api may not import cli"),
        ("nas.api.search", "import nas", "imports the package's root"),
        ("nas.api.search", "import torch", "imports torch"),
        ("nas.api.networks", "import pandas", "imports pandas"),
        ("nas.search.run", "from nas.api.search import search", "search may not import api"),
        ("nas.callable", "from nas.errors import NasError", "callable may not import errors"),
        ("nas.cli.main", "import nas", "imports the package's root"),
        ("nas.cli.main", "from nas import __version__", "imports the package's root"),
        ("nas.arch.spec", "from . import layers", "a name that is not whole"),
        ("nas.arch.spec", "import nas.helpers", "a package without a row"),
        ("nas.helpers", "import nas.errors", "a package without a row"),
        ("nas.cost.measured", "import torch.nn", "imports torch"),
        ("nas.space.decode", "def late() -> None:\n    from torch import nn", "imports torch"),
        ("nas.evaluate.base", "import torch", "imports torch"),
        ("nas.cli.search.command", "import optuna", "imports optuna"),
        ("nas.report.frame", "from optuna.trial import FrozenTrial", "imports optuna"),
        ("nas.cli.search.command", "import sqlalchemy.engine", "imports sqlalchemy"),
        ("nas.studies.study", "import pandas as pd", "imports pandas"),
        ("nas.evaluate.function", "import pandas", "imports pandas"),
        ("nas.evaluate.table.evaluator", "import torch", "imports torch"),
        ("nas.evaluate.zero_cost.evaluator", "import torch", "imports torch"),
        ("nas.evaluate.base", "import nas.evaluate.function", "evaluate.base may not import evaluate"),
        (
            "nas.evaluate.short_training.evaluator",
            "from nas.cost.analytic import cost",
            "evaluate may not import cost",
        ),
        ("nas.cli.pareto.command", "from plotly import graph_objects", "imports plotly"),
        ("nas.cost.measured", "import onnx", "imports onnx"),
        ("nas.graph.build", "import onnxruntime", "imports onnxruntime"),
        ("nas.search.run", "def late() -> None:\n    import_module('ray')", "imports ray"),
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
        ("nas.search.run", "from nas.cost import base\nimport nas.evaluate.base\nimport optuna\nimport sqlalchemy"),
        ("nas.report.frame", "from nas.studies.study import open_study\nimport pandas, plotly"),
        ("nas.evaluate.short_training.evaluator", "import torch\nimport nas.models.build\nimport nas.data.load"),
        ("nas.evaluate.table.evaluator", "import pandas\nimport nas.space.decode"),
        ("nas", "from nas.api.search import search\nfrom nas.errors import NasError"),
        ("nas.api.search", "import nas.search.run, nas.report.frame, nas.device.client"),
        ("nas.api.networks", "import torch, onnx"),
        ("nas.cost", "from nas.callable import make_callable"),
        ("nas.cli.search.command", "import nas.api.search"),
        ("nas.scaling.fit", "import nas.search.run"),
        ("nas.workers.ray_cluster", "import_module('ray')"),
        ("nas.cli.search.command", "import nas.search.run\nimport nas.data.load\nimport click"),
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
    assert cycle(package_graph(trees)) == sorted({package_of(a), package_of(b)})
    assert cycle(module_graph(trees)) == sorted([a, b])


def test_the_modules_are_really_read() -> None:
    trees = modules(_PACKAGE)
    assert {"nas", "nas.arch.spec", "nas.cost.base", "nas.studies.study"} <= trees.keys()
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
    loaded = loaded_by("import nas.arch.presets, nas.cost.target, nas.space.files, nas.search.run, nas.objective")
    assert "optuna" in loaded
    assert loaded.isdisjoint({"torch", "plotly", "pandas", "ray"})


def test_ray_is_loaded_by_those_alone_who_use_a_cluster() -> None:
    loaded = loaded_by("import nas.workers.ray_workers")
    assert "psutil" in loaded
    assert loaded.isdisjoint({"ray", "torch"})


def test_tables_and_functions_score_without_torch() -> None:
    loaded = loaded_by("import nas.evaluate.table.evaluator, nas.evaluate.function")
    assert "pandas" in loaded
    assert loaded.isdisjoint({*_HEAVY} - {"pandas"})


def test_what_is_counted_scores_without_torch() -> None:
    loaded = loaded_by("import nas.evaluate.zero_cost.evaluator")
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


def test_no_package_holds_more_than_its_share() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _PACKAGE.rglob("*.py")}
    total = sum(lines.values())
    shares = {
        folder.name: sum(count for path, count in lines.items() if path.is_relative_to(folder)) / total
        for folder in _PACKAGE.iterdir()
        if folder.is_dir()
    }
    assert {name: share for name, share in shares.items() if share > (0.20 if name == "cli" else 0.15)} == {}
