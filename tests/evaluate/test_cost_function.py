"""Functions of a user that give costs: what they may return, in this process and in one of their own."""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import EvaluationError, NasError
from nas.evaluate.cost_function import CostFunction, check_parameters
from nas.evaluate.isolated_function import load_cost
from tests.contracts.evaluator import SMALL

MODULE = """
import os, sys, time

def by_stages(arch):
    print("called")
    return 2.5 * len(arch.stages)

def of_a_file(path):
    return os.path.getsize(path)

def harmful(what):
    if what == "exit":
        sys.exit(3)
    if what == "end":
        os._exit(7)
    if what == "wait":
        time.sleep(600)
    if what == "raise":
        raise ValueError("no meter\\nis there")
    return 1

def two(arch, budget):
    return 1

constant = 3
"""
REASONS = {
    "exit": "own_costs:harmful raised SystemExit: 3",
    "end": "own_costs:harmful ended the process (exit status 7)",
    "wait": "own_costs:harmful took longer than 1.5 s",
    "raise": "own_costs:harmful raised ValueError: no meter is there",
}


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_costs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("value", [3, 0.25, np.float32(1.5), np.int64(7), Fraction(1, 4), 1e300])
def test_a_number_above_zero_is_a_cost(value: Any) -> None:
    cost = CostFunction(lambda _arch: value, "mine:cost").result(SMALL)
    assert type(cost) is float
    assert cost == value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "returned nan; a cost is a finite number above 0"),
        (math.inf, "returned inf; a cost"),
        (0, "returned 0; a cost"),
        (-2.5, "returned -2.5; a cost"),
        (10**400, "returned inf; a cost"),
        ("12mJ", "returned '12mJ' (str), which is not a number"),
        (None, "returned None (NoneType), which is not a number"),
        (True, "returned True (bool), which is not a number"),
        (1 + 2j, "(complex), which is not a number"),
        (Decimal(3), "(Decimal), which is not a number"),
        (np.ones(1), "(ndarray), which is not a number"),
        ((1.0, {}), "(tuple), which is not a number"),
    ],
)
def test_everything_else_is_one_error_with_the_rule(value: object, problem: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        CostFunction(lambda _arch: value, "mine:cost").result(SMALL)
    assert problem in caught.value.problem
    assert "finite number above 0" in caught.value.remedy


@pytest.mark.slow  # the import of torch
def test_a_tensor_is_no_number() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(EvaluationError, match="Tensor"):
        CostFunction(lambda _arch: torch.tensor(3.0), "mine:cost").result(SMALL)


def test_a_process_gives_costs_and_survives_what_the_function_does() -> None:
    call, sha256 = load_cost("own_costs:harmful", limit_s=1.5)
    assert len(sha256) == 12
    for what, reason in REASONS.items():
        with pytest.raises(EvaluationError) as caught:
            call(what)
        assert caught.value.problem == reason
        assert call("") == 1.0


def test_architectures_and_paths_are_passed_as_they_are(tmp_path: Path) -> None:
    assert load_cost("own_costs:by_stages")[0](SMALL) == 2.5 * len(SMALL.stages)
    file = tmp_path / "network.onnx"
    file.write_bytes(b"12345")
    assert load_cost("own_costs:of_a_file")[0](str(file)) == 5.0


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("own_costs:two", "cannot be called with one argument: missing a required argument: 'budget'"),
        ("own_costs:missing", "module own_costs has no missing"),
        ("own_costs:constant", "own_costs:constant is 3 (int), which is not a function"),
        ("no_such_module:cost", "module no_such_module cannot be imported"),
        ("own_costs", "is not MODULE:FUNCTION"),
    ],
)
def test_what_cannot_be_called_is_an_error_before_any_call(name: str, problem: str) -> None:
    with pytest.raises(NasError) as caught:
        load_cost(name)
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_functions_whose_parameters_python_does_not_know_are_accepted() -> None:
    check_parameters(len, "builtins:len")
    check_parameters(dict, "builtins:dict")
    with pytest.raises(NasError, match="too many positional arguments"):
        check_parameters(lambda: 1, "mine:none")
