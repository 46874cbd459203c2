"""How much of its accuracy a classifier keeps on corrupted, perturbed and recombined images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from attr import asdict  # that of `attrs` keeps tuples, which JSON does not have
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from nas.data.backgrounds import BACKGROUNDS, RANDOM, SAME, Masked, with_background
from nas.data.base import Images
from nas.data.corruptions.kinds import KINDS, corrupt
from nas.data.corruptions.severities import SEVERITIES
from nas.data.perturbations import PERTURBATIONS, perturb
from nas.noise import Correct
from nas.train.assessment.classifiers import Classifier
from nas.train.assessment.intervals import Interval, accuracy_of, bootstrap, difference_of, mean_share_of

Predictions = NDArray[np.int64]
Say = Callable[[str], None]
# Images that are corrupted at a time. The random numbers of a corruption are drawn for a block, so that this number
# belongs to the definition of the corrupted images.
_BLOCK = 100


@frozen
class Subject:
    """Hold a classifier to measure, and the labels of the images as indices of its logits.

    Attributes:
        name: Name for people.
        classifier: The classifier.
        labels: Labels `(N,)` in the order of its logits.
    """

    name: str
    classifier: Classifier
    labels: Tensor

    def predictions(self, images: Tensor) -> Predictions:
        """Return the predicted class of each image."""
        found: Predictions = self.classifier.logits(Images(images, self.labels[: len(images)])).argmax(1).numpy()
        return found


@frozen
class Corrupted:
    """Hold the accuracy on images of one corruption and severity."""

    kind: str
    severity: int
    accuracy: Interval


@frozen
class Perturbed:
    """Hold the share of images whose predicted class a perturbation does not change."""

    perturbation: str
    same: Interval


@frozen
class OnBackground:
    """Hold the accuracy on the images with masks, with another background."""

    background: str
    accuracy: Interval


@frozen
class NetworkRobustness:
    """Hold the robustness of one classifier; all intervals are 95% confidence intervals over the images.

    Attributes:
        name: Name of the classifier.
        clean: Accuracy on the same images without a corruption.
        mean_corruption_error: Share of wrong images, as the mean over all corruptions and severities.
        corruptions: Accuracy for each corruption and severity.
        perturbations: Stability under each perturbation.
        backgrounds: Accuracy for each background; empty where no image has a mask.
        background_gap: Accuracy on backgrounds of the same class minus that on backgrounds of any image, on the same
            images; None where no image has a mask.
    """

    name: str
    clean: Interval
    mean_corruption_error: Interval
    corruptions: tuple[Corrupted, ...]
    perturbations: tuple[Perturbed, ...]
    backgrounds: tuple[OnBackground, ...] = ()
    background_gap: Interval | None = None


@frozen
class AgainstBaseline:
    """Compare a classifier with a baseline on the same corrupted images.

    Attributes:
        error_difference: Mean corruption error minus that of the baseline; negative where the classifier is better.
        relative_error: Error of each corruption, as a share of that of the baseline, as the mean over the corruptions
            (Hendrycks and Dietterich 2019); None where the baseline has no error under a corruption.
    """

    error_difference: Interval
    relative_error: Interval | None


@frozen
class Robustness:
    """Hold the robustness of a classifier and of a baseline.

    Attributes:
        images: Number of images.
        side: Height and width at which the images were corrupted, in pixels, before they were resized for a classifier.
        seed: Seed of the corruptions.
        masks: Origin of the masks: "given", "approximated" or "none".
        masked: Number of images with a mask.
        network: Robustness of the classifier.
        baseline: Robustness of the baseline; None without one.
        against: Comparison of the two; None without a baseline.
    """

    images: int
    side: int
    seed: int
    masks: str
    masked: int
    network: NetworkRobustness
    baseline: NetworkRobustness | None = None
    against: AgainstBaseline | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self, retain_collection_types=False)


@frozen(eq=False)
class _Found:
    """Hold the predictions of one subject by condition, and whether they are correct."""

    subject: Subject
    predictions: Mapping[str, Predictions]
    labels: NDArray[np.int64]

    def correct(self, condition: str) -> Correct:
        found: Correct = self.predictions[condition] == self.labels
        return found


def measure_robustness(
    subjects: Sequence[Subject],
    images: Tensor,
    masked: Masked | None = None,
    *,
    masks: str = "none",
    seed: int = 0,
    say: Say = lambda _message: None,
) -> Robustness:
    """Return the robustness of a classifier, and of a baseline beside it.

    Args:
        subjects: The classifier, and the baseline if there is one.
        images: uint8 images `(N, C, H, W)` with 1 or 3 channels, at the size at which they are corrupted.
        masked: The images that have masks; None where none has.
        masks: Origin of the masks.
        seed: Seed of the corruptions.
        say: Function that is called with a sentence after each corruption.

    Raises:
        DataError: The images have another number of channels.
    """
    found = _predict(subjects, _conditions(images, seed, say))
    results = [_describe(each) for each in found]
    if masked is not None:
        on_masked = _predict(_restricted(subjects, masked), _on_backgrounds(masked, seed))
        results = [_with_backgrounds(result, each) for result, each in zip(results, on_masked, strict=True)]
    return Robustness(
        images=len(images),
        side=images.shape[-1],
        seed=seed,
        masks=masks,
        masked=0 if masked is None else len(masked.images),
        network=results[0],
        baseline=results[1] if len(results) > 1 else None,
        against=_compare(*found) if len(found) > 1 else None,
    )


def _predict(subjects: Sequence[Subject], conditions: Iterator[tuple[str, Tensor]]) -> list[_Found]:
    """Return the predictions of all subjects, which see the same images of each condition."""
    predictions: list[dict[str, Predictions]] = [{} for _ in subjects]
    for condition, images in conditions:
        for subject, own in zip(subjects, predictions, strict=True):
            own[condition] = subject.predictions(images)
    pairs = zip(subjects, predictions, strict=True)
    return [_Found(subject, own, subject.labels.numpy()) for subject, own in pairs]


def _key(kind: str, severity: int) -> str:
    return f"{kind} {severity}"


_CLEAN = "clean"
_KEYS = tuple(_key(kind, severity) for kind in KINDS for severity in SEVERITIES)


def _conditions(images: Tensor, seed: int, say: Say) -> Iterator[tuple[str, Tensor]]:
    yield _CLEAN, images
    for number, kind in enumerate(KINDS, 1):
        for severity in SEVERITIES:
            blocks = enumerate(torch.split(images, _BLOCK))
            corrupted = [corrupt(block, kind, severity, seed * len(images) + place) for place, block in blocks]
            yield _key(kind, severity), torch.cat(corrupted)
        say(f"corruption {number} of {len(KINDS)}: {kind.replace('_', ' ')}")
    for name in PERTURBATIONS:
        yield name, perturb(images, name)


def _on_backgrounds(masked: Masked, seed: int) -> Iterator[tuple[str, Tensor]]:
    return ((name, with_background(masked, name, seed)) for name in BACKGROUNDS)


def _restricted(subjects: Sequence[Subject], masked: Masked) -> list[Subject]:
    return [attrs.evolve(subject, labels=subject.labels[masked.indices]) for subject in subjects]


def _describe(found: _Found) -> NetworkRobustness:
    clean = found.predictions[_CLEAN]
    return NetworkRobustness(
        name=found.subject.name,
        clean=accuracy_of(found.correct(_CLEAN)),
        mean_corruption_error=mean_share_of([~found.correct(key) for key in _KEYS]),
        corruptions=tuple(
            Corrupted(kind, severity, accuracy_of(found.correct(_key(kind, severity))))
            for kind in KINDS
            for severity in SEVERITIES
        ),
        perturbations=tuple(Perturbed(name, accuracy_of(found.predictions[name] == clean)) for name in PERTURBATIONS),
    )


def _with_backgrounds(result: NetworkRobustness, found: _Found) -> NetworkRobustness:
    return attrs.evolve(
        result,
        backgrounds=tuple(OnBackground(name, accuracy_of(found.correct(name))) for name in BACKGROUNDS),
        background_gap=difference_of([found.correct(SAME)], [found.correct(RANDOM)]),
    )


def _compare(network: _Found, baseline: _Found) -> AgainstBaseline:
    wrong, theirs = ([~found.correct(key) for key in _KEYS] for found in (network, baseline))
    own, others = (np.reshape(rows, (len(KINDS), len(SEVERITIES), -1)).mean(1) for rows in (wrong, theirs))
    relative = None
    if others.any(1).all():
        images = len(network.labels)
        relative = bootstrap(lambda some: _relative(own[:, some], others[:, some]), images, _relative(own, others))
    return AgainstBaseline(difference_of(wrong, theirs), relative)


def _relative(own: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the mean over kinds of the error, as a share of that of the baseline; not a number where that has none.

    Args:
        own: Share of the severities at which each image is wrong, by kind, `(kinds, N)`.
        others: The same of the baseline.
    """
    return float((own.mean(1) / others.mean(1)).mean()) if others.any(1).all() else float("nan")
