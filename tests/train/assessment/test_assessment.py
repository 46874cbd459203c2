"""Assessments of logits, compared with scikit-learn, scipy, torchmetrics and closed forms."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from nas.data.base import Images
from nas.errors import DataError, WeightsError
from nas.noise import wilson
from nas.train.assessment.assessment import BINS, Assessment, assess_logits
from nas.train.assessment.classifiers import with_labels_of
from nas.train.assessment.intervals import bootstrap, mean_share_of, share

CLASSES = ("ant", "bee", "cat", "dog")


def answers(count: int = 300) -> tuple[Tensor, Tensor]:
    """Logits that are often right, and labels; no image is a dog."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count,), generator=generator)
    logits = 2 * torch.randn(count, 4, generator=generator)
    logits[torch.arange(count), labels] += 2
    return logits, labels


@pytest.fixture(name="found", scope="module")
def _found() -> Assessment:
    return assess_logits(*answers(), CLASSES)


@given(st.integers(1, 5000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_intervals_of_shares_are_those_of_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    low, high = wilson(*counts)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert low <= counts[0] / counts[1] <= high


def test_classes_agree_with_scikit_learn(found: Assessment) -> None:
    logits, labels = answers()
    precision, recall, f1, support = precision_recall_fscore_support(labels, logits.argmax(1), labels=range(3))
    for number, each in enumerate(found.classes[:3]):
        assert each.precision is not None
        assert each.recall is not None
        assert each.f1 is not None
        assert each.precision.value == pytest.approx(precision[number])
        assert each.recall.value == pytest.approx(recall[number])
        assert each.f1.value == pytest.approx(f1[number])
        assert each.f1.low < each.f1.value < each.f1.high
        assert each.images == support[number]
    assert found.confusion == tuple(map(tuple, confusion_matrix(labels, logits.argmax(1), labels=range(4)).tolist()))


def test_a_class_without_images_is_unknown_and_not_zero(found: Assessment) -> None:
    dog = found.classes[3]
    assert dog.predicted > 0
    assert (dog.images, dog.precision, dog.recall, dog.f1) == (0, None, None, None)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    logits = torch.tensor([[2.0, 0], [2, 0], [2, 0]])
    found = assess_logits(logits, torch.tensor([0, 0, 1]), ("ant", "bee"))
    bee = found.classes[1]
    assert bee.precision is None
    assert bee.recall is not None
    assert bee.recall.value == 0 < bee.recall.high
    assert bee.f1 is not None
    assert bee.f1.value == 0


def test_accuracy_calibration_and_likelihood(found: Assessment) -> None:
    logits, labels = answers()
    correct = int((logits.argmax(1) == labels).sum())
    expected = binomtest(correct, 300).proportion_ci(0.95, method="wilson")
    assert found.accuracy.value == correct / 300
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((expected.low, expected.high))
    error = float(multiclass_calibration_error(logits.softmax(1), labels, num_classes=4, n_bins=BINS))
    assert found.calibration_error.value == pytest.approx(error, abs=1e-6)
    assert found.calibration_error.low <= error <= found.calibration_error.high
    likelihood = found.negative_log_likelihood
    assert likelihood.value == pytest.approx(log_loss(labels, logits.double().softmax(1), labels=range(4)))
    each = -logits.double().log_softmax(1)[torch.arange(300), labels].numpy()
    assert likelihood.high - likelihood.value == pytest.approx(1.96 * each.std(ddof=1) / math.sqrt(300), rel=1e-3)


def test_the_bins_hold_all_images_and_give_the_calibration_error(found: Assessment) -> None:
    assert sum(each.images for each in found.bins) == 300
    used = [each for each in found.bins if each.accuracy is not None and each.confidence is not None]
    assert all(each.low <= each.confidence <= each.high for each in used if each.confidence is not None)
    error = sum(
        each.images * abs(each.accuracy.value - each.confidence)
        for each in used
        if each.accuracy is not None and each.confidence is not None
    )
    assert error / 300 == pytest.approx(found.calibration_error.value)
    assert all(each.accuracy is None for each in found.bins if not each.images)


def test_the_pairs_are_the_largest_counts_beside_the_diagonal(found: Assessment) -> None:
    counts = np.array(found.confusion)
    np.fill_diagonal(counts, 0)
    assert [pair.images for pair in found.pairs] == sorted(counts[counts > 0], reverse=True)[:10]
    first = found.pairs[0]
    assert counts[CLASSES.index(first.label), CLASSES.index(first.predicted)] == first.images
    assert all(pair.label != "dog" for pair in found.pairs)


def test_the_json_values_are_plain_and_are_read_back(found: Assessment) -> None:
    text = json.dumps(found.as_json(), allow_nan=False)
    assert Assessment.parse(json.loads(text)) == found


@pytest.mark.parametrize("values", [{}, {"images": 3}, {"images": "many"}])
def test_other_values_are_no_assessment(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="not those of an assessment"):
        Assessment.parse(values)


def test_one_image_and_infinite_logits_are_errors() -> None:
    with pytest.raises(DataError, match="images to assess is 1"):
        assess_logits(torch.zeros(1, 2), torch.tensor([0]), ("ant", "bee"))
    with pytest.raises(WeightsError, match="finite"):
        assess_logits(torch.tensor([[0, math.nan], [0, 1]]), torch.tensor([0, 1]), ("ant", "bee"))


def test_the_interval_of_a_mean_over_conditions_counts_images_and_not_conditions() -> None:
    row = np.arange(100) < 30
    one, five = mean_share_of([row]), mean_share_of([row] * 5)
    assert one == five
    # The standard error of a share of 30% of 100 images, with one image more and one less.
    assert one.high - one.value == pytest.approx(1.96 * math.sqrt(100 * 0.3 * 0.7 + 1) / 100, rel=1e-3)


def test_the_bootstrap_of_a_mean_agrees_with_its_normal_interval() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap(lambda some: float(values[some].mean()), 400, float(values.mean()))
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_a_share_of_nothing_is_unknown() -> None:
    assert share(0, 0) is None


class TestLabels:
    images = Images(torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 2]))

    def test_classes_in_another_order_are_mapped(self) -> None:
        found = with_labels_of(self.images, ("a", "b", "c"), ("c", "a", "b"), 3)
        assert found.labels.tolist() == [1, 2, 0]

    @pytest.mark.parametrize(
        ("data", "network", "word"),
        [
            (("a", "b", "x"), ("a", "b"), "does not know: x"),
            (("a", "b"), ("a", "b", "y", "z"), "lacks: y, z"),
        ],
    )
    def test_classes_that_differ_are_named(self, data: tuple[str, ...], network: tuple[str, ...], word: str) -> None:
        with pytest.raises(DataError, match=word):
            with_labels_of(self.images, data, network, len(network))

    def test_without_names_the_numbers_of_classes_must_agree(self) -> None:
        assert with_labels_of(self.images, ("a", "b", "c"), None, 3) is self.images
        with pytest.raises(DataError, match="3 classes, and the network has 5"):
            with_labels_of(self.images, ("a", "b", "c"), None, 5)
