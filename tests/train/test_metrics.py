"""Metrics against scikit-learn's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from nas.errors import NasError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.defaults import METRIC_NAMES
from nas.train.loop import Training
from nas.train.metrics import METRICS
from nas.train.recipe import Recipe
from tests.evaluate.colours import ARCH, make_data

_ANSWERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label", "ignore:The number of unique")
@given(_ANSWERS)
def test_both_are_those_of_scikit_learn(answers: list[tuple[int, int]]) -> None:
    labels, told = torch.tensor(answers).unbind(1)
    expected = {"accuracy": accuracy_score(labels, told), "balanced": balanced_accuracy_score(labels, told)}
    for name in METRIC_NAMES:
        assert METRICS[name](told == labels, labels) == pytest.approx(expected[name])


def test_a_training_is_scored_by_the_metric_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data()
    # All of the first class are told right and one of the second: 10 and 1 of 10, 10 and 10.
    right = (data.val.labels == 0) | (torch.arange(30) == 1)
    monkeypatch.setattr(Training, "right", lambda _self, batch: right[batch])
    data.val.labels[29] = 1  # 11 of the second class, 9 of the third
    plain, balanced = (TrainEvaluator(data, recipe=Recipe(batch_size=8), metric=metric) for metric in METRIC_NAMES)
    assert list(plain.evaluate(ARCH, 1)) == pytest.approx([11 / 30])
    assert list(balanced.evaluate(ARCH, 1)) == pytest.approx([(1 + 1 / 11) / 3])
    assert (plain.describe()["metric"], balanced.describe()["metric"]) == METRIC_NAMES


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(NasError, match="unknown metric 'recall'\n  use one of accuracy, balanced"):
        TrainEvaluator(make_data(), metric="recall")
