"""What `import nas` loads, and that its names are loaded one by one."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import nas
from tests.api.interpreter import ROOT, fresh

HEAVY = {"torch", "optuna", "onnxruntime", "onnx", "pandas", "plotly", "sqlalchemy", "scipy"}


def loaded(statement: str) -> set[str]:
    """Packages that a fresh interpreter has loaded after a statement."""
    packages = fresh(f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})")
    return set(packages.split())


def test_importing_the_package_loads_no_other_package() -> None:
    here = set(fresh("import sys\nprint(*{name.partition('.')[0] for name in sys.modules})").split())
    others = loaded("import nas") - here - {"nas"}
    assert others.isdisjoint({*HEAVY, "numpy", "attrs", "attr", "click", "rich", "yaml"})


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("NasError", set()),
        ("search", set()),
        ("cost", set()),
        ("Architecture", set()),
        ("load_architecture", set()),
        ("ArchitectureCost", set()),
        ("scale", set()),
        ("ScaledArchitecture", set()),
        ("measure_latency", set()),
        ("to_torch", set()),
        ("to_onnx", set()),
        ("Study", set()),
        ("open_study", set()),
        ("load_space", {"numpy", "scipy"}),
    ],
)
def test_a_public_name_loads_nothing_heavy_before_it_is_used(name: str, allowed: set[str]) -> None:
    assert loaded(f"import nas; nas.{name}").isdisjoint({*HEAVY, "numpy"} - allowed)


@pytest.mark.parametrize(
    ("statement", "needed", "absent"),
    [
        ("nas.cost(nas.load_architecture('mnasnet-a1'))", "numpy", HEAVY - {"scipy"}),
        ("nas.scale(nas.load_architecture('mnasnet-a1'), 1)", "attr", HEAVY - {"scipy"}),
        ("nas.to_torch(nas.load_architecture('mnasnet-a1'))", "torch", HEAVY - {"torch", "scipy"}),
        ("nas.to_onnx(nas.load_architecture('mnasnet-a1'))", "onnx", HEAVY - {"onnx", "scipy"}),
    ],
)
def test_a_function_loads_what_it_needs(statement: str, needed: str, absent: set[str]) -> None:
    found = loaded(f"import nas; {statement}")
    assert needed in found
    assert found.isdisjoint(absent)


def test_all_public_names_exist_and_are_listed() -> None:
    assert fresh("import nas; print(all(name in dir(nas) for name in nas.__all__))") == "True"
    program = "import nas; print(sum(getattr(nas, name) is not None for name in nas.__all__))"
    assert fresh(program) == str(len(nas.__all__))
    assert (
        fresh("from nas import *; print(callable(search), callable(cost), to_torch.__name__)") == "True True to_torch"
    )


def test_names_of_types_and_names_of_the_interpreter_agree() -> None:
    text = (ROOT / "nas" / "__init__.py").read_text(encoding="utf-8")
    for_types, _, for_python = text.partition("\nelse:\n")
    for name in set(nas.__all__) - {"__version__"}:
        assert f" {name}" in for_types
        assert f'"{name}"' in for_python.partition("def __getattr__")[0]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'nas' has no attribute 'serach'"):
        getattr(nas, "serach")  # noqa: B009 -- mypy would know better


# `nas.search` and `nas.cost` are packages, too.

USE = "assert callable(nas.search) and callable(nas.cost) and nas.search is before; "
ORDERS = {
    "nas alone": "import nas; before = nas.search; ",
    "a module of the package first": "import nas.search.run, nas; before = nas.search; ",
    "a module of the package later": "import nas; before = nas.search; import nas.search.run, nas.cost.analytic; ",
    "from the package": "from nas.search import run; import nas; before = nas.search; assert run.run; ",
    "from the root": "from nas import search, cost; import nas; before = search; ",
    "by the command line": "import nas; before = nas.search; import nas.cli.search.command; ",
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_package_can_be_called_after_any_order_of_imports(order: str) -> None:
    call = "print(nas.cost(nas.load_architecture('efficientnet-b0')).params)"
    assert fresh(ORDERS[order] + USE + call) == "5288548"
    inside = "import nas.search.run; from nas.cost import analytic; print(nas.search.run.__name__, analytic.__name__)"
    assert fresh(ORDERS[order] + USE + inside) == "nas.search.run nas.cost.analytic"


def test_a_package_is_the_same_object_before_and_after_a_call(tmp_path: Path) -> None:
    program = """
import sys, nas
before = nas.search, nas.cost
nas.cost(nas.load_architecture("mnasnet-a1"))
nas.search("mnasnet", target="flops=100M", trials=1, evaluator="zero-cost:depth")
print(before == (nas.search, nas.cost), sys.modules["nas.search"] is nas.search)
"""
    assert fresh(program, tmp_path) == "True True"


def test_a_module_of_a_callable_package_can_be_replaced_in_tests() -> None:
    program = """
from unittest import mock
with mock.patch("nas.search.run.run") as replaced:
    from nas.search import run
    assert run.run is replaced
assert run.run is not replaced
import nas.search
with mock.patch.object(nas.search.run, "run") as again:
    assert nas.search.run.run is again
print(callable(nas.search))
"""
    assert fresh(program) == "True"


def test_a_callable_package_shows_the_documentation_of_its_function() -> None:
    program = """
import inspect, pydoc, nas
from nas.api.costs import cost
assert inspect.signature(nas.cost) == inspect.signature(cost)
assert inspect.unwrap(nas.cost) is cost
assert "precision" in inspect.signature(nas.cost).parameters
print(pydoc.render_doc(nas.cost, renderer=pydoc.plaintext))
"""
    said = fresh(program)
    assert "cost(arch: 'Architecture', *, precision: str = 'fp32')" in said
    assert "Count what an architecture costs, without torch." in said


def test_callable_packages_can_be_sent_to_other_processes() -> None:
    """They are pickled by their names, for example by `ProcessPoolExecutor.map(nas.cost, architectures)`."""
    for package in (nas.cost, nas.search):
        assert pickle.loads(pickle.dumps(package)) is package  # noqa: S301 -- made in this line
        assert copy.deepcopy(package) is package
    archs = [nas.load_architecture(name) for name in ("mobilenetv2", "efficientnet-b0")]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert [round(cost.macs / 1e6, 2) for cost in pool.map(nas.cost, archs)] == [300.77, 385.81]
