"""The loss of a batch: cross-entropy or the squared loss, and the consistency of views."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional

from nas.train.mixing import soft
from nas.train.recipes.schema import TrainingRecipe

# Probabilities are bounded from below, so that their logarithm is finite, as in the code of AugMix.
_SMALLEST = 1e-7


@frozen
class Criterion:
    """Return the loss of a batch from logits and targets.

    Attributes:
        recipe: Recipe of the training run.
        classes: Number of classes.

    Example:
        >>> criterion = Criterion(TrainingRecipe(loss="squared", label_smoothing=0), classes=2)
        >>> criterion((torch.tensor([[0.0, 0.5]]),), torch.tensor([1]))  # the mean of 0² and (0.5 - 1)²
        tensor(0.1250)
    """

    recipe: TrainingRecipe
    classes: int

    def __call__(self, views: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            views: fp32 logits `(N, classes)` of each view of the images; the targets belong to the first one.
            targets: Labels `(N,)`, or probabilities `(N, classes)`.
        """
        loss = _LOSSES[self.recipe.loss](self, views[0], targets)
        if len(views) == 1:
            return loss
        return loss + self.recipe.augmix_weight * jensen_shannon(views)

    @property
    def guessing(self) -> float:
        """Return the loss of a network that learned nothing."""
        if self.recipe.loss == "squared":
            return self.recipe.squared_weight * self.recipe.squared_target**2 / self.classes
        return math.log(self.classes)

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy with smoothed targets."""
        return functional.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)

    def squared(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the rescaled squared loss of Hui and Belkin (arXiv 2006.07322, section 3), with smoothed targets.

        For the labels of a single class it is the mean over classes of k · (f - M)² for the true class and of f² for
        each other one; for probabilities p the weight is 1 + (k - 1) · p, and the target is M · p.
        """
        smoothing = self.recipe.label_smoothing
        probabilities = (1 - smoothing) * soft(targets, self.classes) + smoothing / self.classes
        weights = 1 + (self.recipe.squared_weight - 1) * probabilities
        return (weights * (logits - self.recipe.squared_target * probabilities).square()).mean()


_LOSSES: Mapping[str, Callable[[Criterion, Tensor, Tensor], Tensor]] = MappingProxyType(
    {"cross-entropy": Criterion.cross_entropy, "squared": Criterion.squared}
)


def jensen_shannon(views: tuple[Tensor, ...]) -> Tensor:
    """Return the Jensen–Shannon divergence of the probabilities of views, the mean over images (arXiv 1912.02781).

    Args:
        views: Logits `(N, classes)` of each view.

    >>> certain = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]])
    >>> round(jensen_shannon(certain).item(), 4)  # ln 2 for two certain views that disagree
    0.6931
    """
    probabilities = [logits.softmax(1) for logits in views]
    mixture = torch.stack(probabilities).mean(0).clamp(_SMALLEST, 1).log()
    divergences = [functional.kl_div(mixture, each, reduction="batchmean") for each in probabilities]
    return torch.stack(divergences).mean()
