"""The evaluator that calls a function of the user: what the function may return, and the errors for all else."""

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.arch.spec import Architecture
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Evaluator, HasMetadata, Limited, Timed
from nas.evaluate.function import FunctionEvaluator
from nas.evaluate.isolated_function import load_function
from tests.contracts.evaluator import OTHER, SMALL, EvaluatorContract


def by_layers(arch: Architecture) -> float:
    return 1 - 0.5 ** len(arch.stages)


def with_metadata(arch: Architecture) -> tuple[float, dict[str, Any]]:
    return by_layers(arch), {"stages": len(arch.stages), "nested": {"of": [1, None, "x"]}}


def returning(result: object) -> FunctionEvaluator:
    return FunctionEvaluator(lambda _arch: result, "mine:accuracy")


def accuracy_of(evaluator: Evaluator) -> float:
    (accuracy,) = evaluator.evaluate(SMALL, 5)
    return accuracy


class TestFunctionThatReturnsANumber(EvaluatorContract):
    epochs = 1

    def evaluator(self) -> Evaluator:
        return FunctionEvaluator(by_layers, "tests:by_layers")


class TestFunctionThatReturnsAPair(EvaluatorContract):
    epochs = 1

    def evaluator(self) -> Evaluator:
        return FunctionEvaluator(with_metadata, "tests:with_metadata")


@given(st.floats(0, 1) | st.sampled_from([0, 1, np.float32(0.5), np.float64(0.25), np.int8(1), Fraction(1, 4)]))
def test_real_numbers_from_0_to_1_are_accuracies(result: Any) -> None:
    assert accuracy_of(returning(result)) == float(result)
    assert returning(result).metadata(SMALL) == {}
    assert accuracy_of(returning((result, {}))) == float(result)


def test_metadata_is_that_of_the_last_call_for_an_architecture() -> None:
    results: Iterator[object] = iter([(0.5, {"run": 1, "of": (1, 2)}), (0.5, {"run": 2}), 0.5, (0.5, {"run": 3}), None])
    evaluator = FunctionEvaluator(lambda _arch: next(results), "mine:accuracy")
    list(evaluator.evaluate(SMALL, 1))
    list(evaluator.evaluate(OTHER, 1))
    assert (evaluator.metadata(SMALL), evaluator.metadata(OTHER)) == ({"run": 1, "of": [1, 2]}, {"run": 2})
    list(evaluator.evaluate(SMALL, 1))
    list(evaluator.evaluate(OTHER, 1))
    assert (evaluator.metadata(SMALL), evaluator.metadata(OTHER)) == ({}, {"run": 3})
    with pytest.raises(EvaluationError):
        list(evaluator.evaluate(OTHER, 1))
    assert evaluator.metadata(OTHER) == {}


def test_metadata_is_a_copy_of_what_the_function_returned() -> None:
    returned = {"seeds": [1]}
    evaluator = returning((0.5, returned))
    accuracy_of(evaluator)
    returned["seeds"].append(2)
    assert evaluator.metadata(SMALL) == {"seeds": [1]}


LOOP: dict[str, Any] = {}
LOOP["self"] = LOOP

# For each case, the value that the function returns and a phrase of the message.
INVALID: Mapping[str, tuple[object, str]] = {
    "nothing": (None, "returned None (NoneType) as the accuracy, which is not a number"),
    "text": ("0.5", "returned '0.5' (str)"),
    "a bool": (True, "returned True (bool)"),
    "a bool of numpy": (np.bool_(True), "(bool"),
    "an array": (np.zeros(2), "(ndarray)"),
    "a list": ([0.5, {}], "(list)"),
    "a complex number": (0.5j, "(complex)"),
    "not a number": (math.nan, "returned the accuracy nan"),
    "infinite": (math.inf, "returned the accuracy inf"),
    "negative": (-0.1, "returned the accuracy -0.1"),
    "a percentage": (93.1, "returned the accuracy 93.1"),
    "an empty tuple": ((), "returned a tuple of 0 values: ()"),
    "a tuple of one": ((0.5,), "returned a tuple of 1"),
    "a tuple of three": ((0.5, {}, {}), "returned a tuple of 3"),
    "metadata before the accuracy": (({}, 0.5), "returned {} (dict) as the accuracy"),
    "two numbers": ((0.5, 0.5), "returned 0.5 (float) as metadata, which is not a dict"),
    "metadata with numbers as keys": (
        (0.5, {1: 2}),
        "returned {1: 2} (dict) as metadata, which is not a dict with text keys",
    ),
    "an array in the metadata": (
        (0.5, {"a": np.zeros(2)}),
        "metadata that JSON cannot hold: TypeError: Object of type ndarray",
    ),
    "a set in the metadata": ((0.5, {"a": {1}}), "metadata that JSON cannot hold: TypeError: Object of type set"),
    "nan in the metadata": ((0.5, {"a": math.nan}), "metadata that JSON cannot hold: ValueError: Out of range float"),
    "metadata that contains itself": ((0.5, LOOP), "metadata that JSON cannot hold: ValueError: Circular reference"),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_result_without_an_accuracy_is_an_error(case: str) -> None:
    result, phrase = INVALID[case]
    evaluator = returning(result)
    with pytest.raises(EvaluationError) as caught:
        accuracy_of(evaluator)
    assert phrase in caught.value.problem
    assert caught.value.problem.startswith("mine:accuracy returned")
    assert "\n" not in caught.value.problem
    assert caught.value.remedy.startswith(
        "return a number from 0 to 1, or a pair of that number and a dict of plain JSON values"
    )
    assert evaluator.metadata(SMALL) == {}


def test_an_error_of_the_function_is_raised_when_the_accuracy_is_requested() -> None:
    def broken(_arch: Architecture) -> float:
        raise ZeroDivisionError("mine")

    accuracies = FunctionEvaluator(broken, "mine:broken").evaluate(SMALL, 1)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(accuracies)


@pytest.fixture(name="import_from")
def _import_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Evaluator]:
    """Return a function that writes a module into the working directory and loads a function from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def load(name: str, text: str) -> Evaluator:
        (tmp_path / "own_module.py").write_text(text)
        return load_function(name)

    return load


def test_a_module_of_the_working_directory_is_imported(
    import_from: Callable[[str, str], Evaluator], tmp_path: Path
) -> None:
    text = "def score(arch):\n    from own_other import half\n    return half, {'stages': len(arch.stages)}\n"
    evaluator = import_from("own_module:score", text)
    (tmp_path / "own_other.py").write_text("half = 0.5\n")
    assert accuracy_of(evaluator) == 0.5
    assert isinstance(evaluator, HasMetadata)
    assert not isinstance(evaluator, Limited)
    assert not isinstance(evaluator, Timed)
    assert evaluator.metadata(SMALL) == {"stages": 1}
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert evaluator.describe() == {
        "evaluator": "python",
        "function": "own_module:score",
        "environment": {"sha256": digest},
    }


@pytest.mark.parametrize("name", ["builtins:len", "own_module:instance"])
def test_a_callable_without_a_source_file_has_no_digest(
    import_from: Callable[[str, str], Evaluator], name: str
) -> None:
    text = "class Scorer:\n    def __call__(self, arch):\n        return 0.5\ninstance = Scorer()\n"
    assert import_from(name, text).describe() == {"evaluator": "python", "function": name, "environment": {}}


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("own_module", "", "'own_module' is not MODULE:FUNCTION"),
        ("own_module:", "", "is not MODULE:FUNCTION"),
        (":score", "", "is not MODULE:FUNCTION"),
        ("own_module.py:score()", "", "is not MODULE:FUNCTION"),
        ("folder/own_module:score", "", "is not MODULE:FUNCTION"),
        (".own_module:score", "", "is not MODULE:FUNCTION"),
        ("absent_module:score", "", "cannot be imported: ModuleNotFoundError: No module named 'absent_module'"),
        ("own_module:score", "import absent_module", "own_module cannot be imported: ModuleNotFoundError: No module"),
        ("own_module:score", "def score(:\n", "own_module cannot be imported: SyntaxError: invalid syntax"),
        ("own_module:score", "1 / 0\n", "own_module cannot be imported: ZeroDivisionError: division by zero"),
        ("own_module:score", "raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
        ("own_module:score", "import sys; sys.exit(3)", "own_module cannot be imported: SystemExit: 3"),
        ("own_module:score", "other = 1", "module own_module has no score"),
        ("own_module:score", "score = 0.5", "own_module:score is 0.5 (float), which is not a function"),
        ("own_module:score", "score = None", "own_module:score is None (NoneType), which is not a function"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_an_error_in_one_line(
    import_from: Callable[[str, str], Evaluator], name: str, text: str, phrase: str
) -> None:
    with pytest.raises(NasError) as caught:
        import_from(name, text)
    assert phrase in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.remedy
