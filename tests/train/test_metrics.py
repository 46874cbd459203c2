"""The metrics, compared with those of scikit-learn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from nas.errors import NasError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.defaults import METRIC_NAMES
from nas.train.loop import TrainingRun
from nas.train.metrics import METRICS
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH, make_data

_PREDICTIONS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label", "ignore:The number of unique")
@given(_PREDICTIONS)
def test_both_metrics_are_equal_to_those_of_scikit_learn(predictions: list[tuple[int, int]]) -> None:
    labels, predicted = torch.tensor(predictions).unbind(1)
    expected = {"accuracy": accuracy_score(labels, predicted), "balanced": balanced_accuracy_score(labels, predicted)}
    for name in METRIC_NAMES:
        assert METRICS[name](predicted == labels, labels) == pytest.approx(expected[name])


def test_a_training_run_is_scored_by_the_named_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data()
    # All 10 images of the first class are classified correctly, and 1 image of the second class.
    correct = (data.val.labels == 0) | (torch.arange(30) == 1)
    monkeypatch.setattr(TrainingRun, "correct", lambda _self, batch: correct[batch])
    data.val.labels[29] = 1  # now the second class has 11 images and the third has 9
    plain, balanced = (TrainEvaluator(data, recipe=Recipe(batch_size=8), metric=metric) for metric in METRIC_NAMES)
    assert list(plain.evaluate(ARCH, 1)) == pytest.approx([11 / 30])
    assert list(balanced.evaluate(ARCH, 1)) == pytest.approx([(1 + 1 / 11) / 3])
    assert (plain.describe()["metric"], balanced.describe()["metric"]) == METRIC_NAMES


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(NasError, match="unknown metric 'recall'\n  use one of accuracy, balanced"):
        TrainEvaluator(make_data(), metric="recall")
