"""Mixup and CutMix: images of a batch that are mixed in pairs, together with their targets."""

import torch
from torch import Tensor

from nas.train.augmentation import load_kornia
from nas.train.recipes.schema import TrainingRecipe


def soft(targets: Tensor, classes: int) -> Tensor:
    """Return targets as probabilities `(N, classes)`, given labels `(N,)` or probabilities.

    >>> soft(torch.tensor([1]), 3)
    tensor([[0., 1., 0.]])
    """
    return torch.nn.functional.one_hot(targets, classes).float() if targets.ndim == 1 else targets


def mix(images: Tensor, targets: Tensor, recipe: TrainingRecipe, classes: int) -> tuple[Tensor, Tensor]:
    """Return images that are mixed as a recipe asks for, and their targets.

    With both mixup and CutMix, each batch is mixed by one of them, with probability one half.

    Args:
        images: Normalized images `(N, C, H, W)`.
        targets: Labels `(N,)` or probabilities `(N, classes)`.
        recipe: Recipe of the training run.
        classes: Number of classes.
    """
    if not recipe.mixup and not recipe.cutmix:
        return images, targets
    uses_mixup = recipe.mixup and (not recipe.cutmix or float(torch.rand(())) < 0.5)
    images, partners, shares = mixup(images, recipe.mixup) if uses_mixup else cutmix(images, recipe.cutmix)
    probabilities = soft(targets, classes)
    return images, probabilities[partners].lerp(probabilities, shares[:, None])


def mixup(images: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return images that are mixed pixel by pixel (arXiv 1710.09412), their partners, and the share of each image.

    kornia draws the shares from a uniform distribution only.

    Args:
        images: Images `(N, C, H, W)`.
        alpha: Parameter of the distribution Beta(α, α), from which one share is drawn for all images.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().to(images.device)
    partners = torch.randperm(len(images)).to(images.device)
    return images[partners].lerp(images, share), partners, share.expand(len(images))


def cutmix(images: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return images with a rectangle of another image (arXiv 1905.04899), their partners, and the share of each image.

    Args:
        images: Images `(N, C, H, W)`.
        beta: Parameter of the distribution Beta(α, α) of the area that is kept.
    """
    cut = load_kornia().RandomCutMixV2(p=1.0, beta=beta, data_keys=["input", "class"], use_correct_lambda=True)
    # The places of the images take the place of labels, so that the targets may be probabilities.
    mixed, rows = cut(images, torch.arange(len(images), device=images.device))
    return mixed, rows[0, :, 1].long(), rows[0, :, 2]
