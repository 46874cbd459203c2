"""Contract tests of evaluators, which run for every evaluator."""

import json
import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from itertools import islice
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

from nas.arch.canonical import canonical
from nas.arch.code import parse_text
from nas.arch.spec import Architecture
from nas.evaluate.base import Evaluator, HasMetadata, Limited, Sendable, Validating

SMALL = parse_text("net resolution=32 classes=1000\nstem conv k3 s2 c8\nconv k3 s1 c8\nhead pool")
OTHER = parse_text("net resolution=32 classes=1000\nstem conv k3 s2 c8\nmbconv k3 s2 e2 c12\nhead conv c16")


def ready(evaluator: Evaluator) -> Evaluator:
    """Return the evaluator in the form that can be sent to another process."""
    return evaluator.to_send() if isinstance(evaluator, Sendable) else evaluator


def sent(evaluator: Evaluator) -> Evaluator:
    """Return the evaluator after it was pickled and unpickled, as another process receives it."""
    arrived: Evaluator = pickle.loads(ForkingPickler.dumps(ready(evaluator)))  # noqa: S301 -- our own
    return arrived


def told(evaluator: Evaluator, arch: Architecture) -> tuple[list[float], Mapping[str, Any]]:
    """Return the accuracies and the metadata of an evaluation with a budget of 2 epochs."""
    accuracies = list(evaluator.evaluate(arch, 2))
    return accuracies, evaluator.metadata(arch) if isinstance(evaluator, HasMetadata) else {}


class EvaluatorContract:
    """Test an evaluator. A subclass defines `evaluator`, which returns a new but equal evaluator on each call.

    Attributes:
        epochs: Largest number of accuracies, or None if there is one for every epoch of the budget.
    """

    epochs: int | None = None

    def evaluator(self) -> Evaluator:
        raise NotImplementedError

    def architectures(self) -> Sequence[Architecture]:
        """Return at least two architectures that the evaluator can evaluate."""
        return SMALL, OTHER

    @pytest.mark.parametrize("budget", [1, 2, 3])
    def test_there_is_an_accuracy_for_every_epoch(self, budget: int) -> None:
        for arch in self.architectures():
            accuracies = list(self.evaluator().evaluate(arch, budget))
            assert len(accuracies) == (budget if self.epochs is None else min(budget, self.epochs)) >= 1
            assert all(type(accuracy) is float and 0 <= accuracy <= 1 for accuracy in accuracies)

    def test_the_same_architecture_gets_the_same_accuracies(self) -> None:
        arch, other = self.architectures()[:2]
        evaluator = self.evaluator()
        first = list(evaluator.evaluate(arch, 2))
        list(evaluator.evaluate(other, 1))
        assert list(evaluator.evaluate(arch, 2)) == first
        assert list(self.evaluator().evaluate(arch, 2)) == first

    def test_stopping_early_changes_nothing(self) -> None:
        arch, other = self.architectures()[:2]
        untouched = list(self.evaluator().evaluate(other, 2))
        evaluator = self.evaluator()
        whole = list(evaluator.evaluate(arch, 3))
        assert list(islice(evaluator.evaluate(arch, 3), 2)) == whole[:2]
        never_begun = evaluator.evaluate(arch, 3)
        assert iter(never_begun) is never_begun
        assert list(evaluator.evaluate(other, 2)) == untouched

    def test_its_description_is_plain_json(self) -> None:
        described = self.evaluator().describe()
        assert described
        assert json.loads(json.dumps(described, allow_nan=False)) == described
        assert isinstance(described.get("environment", {}), Mapping)

    def test_equal_evaluators_describe_themselves_alike_before_and_after(self) -> None:
        evaluator = self.evaluator()
        before = dict(evaluator.describe())
        list(evaluator.evaluate(self.architectures()[0], 1))
        assert evaluator.describe() == before
        assert self.evaluator().describe() == before

    def test_its_remarks_are_plain_json_and_the_same_again(self) -> None:
        evaluator = self.evaluator()
        if not isinstance(evaluator, HasMetadata):
            return
        for arch in self.architectures():
            list(evaluator.evaluate(arch, 1))
            metadata = evaluator.metadata(arch)
            assert json.loads(json.dumps(metadata, allow_nan=False)) == metadata == evaluator.metadata(arch)
            assert all(isinstance(name, str) for name in metadata)

    def test_the_correct_images_are_those_of_the_last_accuracy(self) -> None:
        evaluator = self.evaluator()
        if not isinstance(evaluator, Validating):
            return
        split = evaluator.validation_split()
        again = self.evaluator()
        assert isinstance(again, Validating)
        assert again.validation_split() == split
        assert 0 < split.chance <= 1
        assert 0 < split.effective <= split.images
        for arch in self.architectures():
            last = list(evaluator.evaluate(arch, 2))[-1]
            correct = evaluator.correct(arch)
            assert correct is not None
            assert (correct.dtype, correct.shape) == (np.dtype(bool), (split.images,))
            assert float(correct.mean()) == pytest.approx(last, abs=1e-12)
            assert evaluator.correct(arch) is None  # an evaluation's images are not those of another one

    def test_all_that_a_limited_one_names_can_be_scored(self) -> None:
        evaluator = self.evaluator()
        if not isinstance(evaluator, Limited):
            return
        named = list(evaluator.architectures())
        assert named == [canonical(arch) for arch in named] == list(evaluator.architectures())
        assert len(set(named)) == len(named)
        assert {canonical(arch) for arch in self.architectures()} <= set(named)
        assert all(list(evaluator.evaluate(arch, 1)) for arch in named)

    def test_what_is_sent_scores_the_same(self) -> None:
        evaluator = self.evaluator()
        copy = sent(evaluator)
        assert copy.describe() == evaluator.describe()
        for arch in self.architectures():
            assert told(copy, arch) == told(evaluator, arch)

    @pytest.mark.slow
    def test_it_scores_the_same_in_another_process(self, elsewhere: Executor) -> None:
        evaluator = self.evaluator()
        made_ready = ready(evaluator)
        for arch in self.architectures()[:2]:
            assert elsewhere.submit(told, made_ready, arch).result() == told(evaluator, arch)
