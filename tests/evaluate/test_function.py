"""Functions of one's own as evaluators: what they may give, and what is said of everything else."""

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
from nas.evaluate.base import Evaluator, HasMetadata, Limited
from nas.evaluate.function import FunctionEvaluator, load_function
from tests.contracts.evaluator import OTHER, SMALL, EvaluatorContract


def by_layers(arch: Architecture) -> float:
    return 1 - 0.5 ** len(arch.stages)


def with_remarks(arch: Architecture) -> tuple[float, dict[str, Any]]:
    return by_layers(arch), {"stages": len(arch.stages), "nested": {"of": [1, None, "x"]}}


def giving(result: object) -> FunctionEvaluator:
    return FunctionEvaluator(lambda _arch: result, "mine:accuracy")


def evaluated(evaluator: Evaluator) -> float:
    (accuracy,) = evaluator.evaluate(SMALL, 5)
    return accuracy


class TestFunctionOfANumber(EvaluatorContract):
    epochs = 1

    def evaluator(self) -> Evaluator:
        return FunctionEvaluator(by_layers, "tests:by_layers")


class TestFunctionOfAPair(EvaluatorContract):
    epochs = 1

    def evaluator(self) -> Evaluator:
        return FunctionEvaluator(with_remarks, "tests:with_remarks")


@given(st.floats(0, 1) | st.sampled_from([0, 1, np.float32(0.5), np.float64(0.25), np.int8(1), Fraction(1, 4)]))
def test_real_numbers_from_0_to_1_are_taken(result: Any) -> None:
    assert evaluated(giving(result)) == float(result)
    assert giving(result).metadata(SMALL) == {}
    assert evaluated(giving((result, {}))) == float(result)


def test_remarks_are_those_of_the_last_call_for_an_architecture() -> None:
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


def test_what_is_kept_does_not_change_with_what_was_given() -> None:
    kept = {"seeds": [1]}
    evaluator = giving((0.5, kept))
    evaluated(evaluator)
    kept["seeds"].append(2)
    assert evaluator.metadata(SMALL) == {"seeds": [1]}


LOOP: dict[str, Any] = {}
LOOP["self"] = LOOP

# What a function gave ► words of the message.
REFUSED: Mapping[str, tuple[object, str]] = {
    "nothing": (None, "gave None (NoneType) as the accuracy, which is no number"),
    "text": ("0.5", "gave '0.5' (str)"),
    "truth": (True, "gave True (bool)"),
    "numpy's truth": (np.bool_(True), "(bool"),
    "an array": (np.zeros(2), "(ndarray)"),
    "a list": ([0.5, {}], "(list)"),
    "a complex number": (0.5j, "(complex)"),
    "not a number": (math.nan, "gave the accuracy nan"),
    "infinite": (math.inf, "gave the accuracy inf"),
    "negative": (-0.1, "gave the accuracy -0.1"),
    "percent": (93.1, "gave the accuracy 93.1"),
    "an empty tuple": ((), "gave a tuple of 0: ()"),
    "one": ((0.5,), "gave a tuple of 1"),
    "three": ((0.5, {}, {}), "gave a tuple of 3"),
    "the wrong way round": (({}, 0.5), "gave {} (dict) as the accuracy"),
    "two numbers": ((0.5, 0.5), "gave 0.5 (float) beside the accuracy, no dict"),
    "numbers as names": ((0.5, {1: 2}), "gave {1: 2} (dict) beside the accuracy, no dict by names"),
    "an array beside": ((0.5, {"a": np.zeros(2)}), "what JSON cannot hold: TypeError: Object of type ndarray"),
    "a set beside": ((0.5, {"a": {1}}), "what JSON cannot hold: TypeError: Object of type set"),
    "nan beside": ((0.5, {"a": math.nan}), "what JSON cannot hold: ValueError: Out of range float"),
    "a circle": ((0.5, LOOP), "what JSON cannot hold: ValueError: Circular reference"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_accuracy_is_told(case: str) -> None:
    result, words = REFUSED[case]
    evaluator = giving(result)
    with pytest.raises(EvaluationError) as caught:
        evaluated(evaluator)
    assert words in caught.value.problem
    assert caught.value.problem.startswith("mine:accuracy gave")
    assert "\n" not in caught.value.problem
    assert caught.value.remedy.startswith("return a number from 0 to 1, or that and a dict of plain JSON values")
    assert evaluator.metadata(SMALL) == {}


def test_what_the_function_raises_passes_through_when_it_is_asked() -> None:
    def broken(_arch: Architecture) -> float:
        raise ZeroDivisionError("mine")

    asked = FunctionEvaluator(broken, "mine:broken").evaluate(SMALL, 1)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(asked)


@pytest.fixture(name="import_from")
def _import_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], FunctionEvaluator]:
    """Loads a function of a module that lies in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def load(name: str, text: str) -> FunctionEvaluator:
        monkeypatch.delitem(sys.modules, "own_module", raising=False)
        (tmp_path / "own_module.py").write_text(text)
        return load_function(name)

    return load


def test_a_function_of_the_working_directory_is_found(
    import_from: Callable[[str, str], FunctionEvaluator], tmp_path: Path
) -> None:
    text = "def score(arch):\n    from own_other import half\n    return half, {'stages': len(arch.stages)}\n"
    evaluator = import_from("own_module:score", text)
    (tmp_path / "own_other.py").write_text("half = 0.5\n")
    assert evaluated(evaluator) == 0.5
    assert isinstance(evaluator, HasMetadata)
    assert not isinstance(evaluator, Limited)
    assert evaluator.metadata(SMALL) == {"stages": 1}
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert evaluator.describe() == {
        "evaluator": "python",
        "function": "own_module:score",
        "environment": {"sha256": digest},
    }


@pytest.mark.parametrize("name", ["builtins:len", "own_module:instance"])
def test_what_has_no_file_of_its_own_says_nothing_of_it(
    import_from: Callable[[str, str], FunctionEvaluator], name: str
) -> None:
    text = "class Scorer:\n    def __call__(self, arch):\n        return 0.5\ninstance = Scorer()\n"
    assert import_from(name, text).describe() == {"evaluator": "python", "function": name, "environment": {}}


@pytest.mark.parametrize(
    ("name", "text", "words"),
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
        ("own_module:score", "score = 0.5", "own_module:score is 0.5 (float), no function"),
        ("own_module:score", "score = None", "own_module:score is None (NoneType), no function"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(
    import_from: Callable[[str, str], FunctionEvaluator], name: str, text: str, words: str
) -> None:
    with pytest.raises(NasError) as caught:
        import_from(name, text)
    assert words in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.remedy
