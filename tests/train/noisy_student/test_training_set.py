"""The training set of a student: the order of its images and targets, and its fingerprint."""

import torch

from nas.train.noisy_student.selection import select
from nas.train.noisy_student.training_set import student_set
from tests.evaluate.colors import make_data


def test_unlabeled_images_follow_the_labeled_ones() -> None:
    data = make_data()
    classes, count = data.num_classes, len(data.train)
    unlabeled = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, *data.train.images.shape[1:]).contiguous()
    probabilities = torch.full((4, classes), 0.1 / (classes - 1))
    probabilities[torch.arange(4), torch.tensor([0, 1, 1, 1])] = 0.9
    selection = select(probabilities, 0.5, per_class=2)
    found = student_set(data, unlabeled, selection)
    train = found.data.train
    assert torch.equal(train.images[:count], data.train.images)
    assert train.images[count:, 0, 0, 0].tolist() == [0, 0, 1, 2]
    assert train.labels[count:].tolist() == [0, 0, 1, 1]
    assert torch.equal(found.targets[:count].argmax(1), data.train.labels)
    assert found.targets[:count].sum(1).tolist() == [1.0] * count
    assert torch.equal(found.targets[count:], probabilities[[0, 0, 1, 2]])
    assert found.data.val is data.val


def test_the_fingerprint_changes_with_the_soft_labels() -> None:
    data = make_data()
    unlabeled = data.train.images[:2]
    rows = ([0.9, 0.1], [0.8, 0.2])
    padding = [0.0] * (data.num_classes - 2)
    found = [
        student_set(data, unlabeled, select(torch.tensor([[*row, *padding], [0.9, 0.1, *padding]]), 0.5)).data
        for row in rows
    ]
    assert len({data.fingerprint, *(each.fingerprint for each in found)}) == 3
    assert len(found[0].fingerprint) == len(data.fingerprint)
