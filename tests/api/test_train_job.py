"""What a training run says about its images."""

import attrs

from nas.api.train_job import _describe_classes
from nas.data.base import Images
from tests.evaluate.colors import make_data


def test_a_class_that_a_split_lacks_is_named() -> None:
    data = make_data()
    assert list(_describe_classes(data)) == []
    part = Images(data.val.images[data.val.labels != 1], data.val.labels[data.val.labels != 1])
    assert list(_describe_classes(attrs.evolve(data, test=part))) == [
        "the test split has no image of green, so its accuracy says nothing about them"
    ]
