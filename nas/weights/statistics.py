"""Statistics of a network on images: those of the batch normalization, and the mean values of gates."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.errors import DataError


@torch.no_grad()
def re_estimate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set all running batch-norm statistics to the mean of the statistics of the batches, in place.

    The statistics of a network with inherited weights belong to another network; Yu & Huang call the statistics that
    are computed afterwards post-statistics (arXiv 1903.05134). The result is the one of
    `torch.optim.swa_utils.update_bn`, but dropout and stochastic depth are off meanwhile, because they would distort
    the statistics. Weights, the momentum of the batch normalization and the mode of every module do not change.

    Args:
        model: Model to change.
        batches: Normalized images `(N, C, H, W)`, with more than one image in each batch. All batches have the same
            weight.

    Raises:
        DataError: There is no batch.

    >>> from nas.models.blocks import Conv, ConvNorm
    >>> from nas.arch.spec import Norm
    >>> model = ConvNorm(Conv(1, 1), Norm())
    >>> _ = nn.init.ones_(model.conv.weight)
    >>> re_estimate(model, [torch.full((2, 1, 2, 2), 1.0), torch.full((2, 1, 2, 2), 3.0)])
    >>> model.norm.running_mean
    tensor([2.])
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise DataError("there is no batch of images to estimate batch-norm statistics from", "give at least one batch")
    with _estimating(model):
        for images in chain([first], batches):
            model(images)


def spread_batches(images: int, most: int, size: int) -> tuple[Tensor, ...]:
    """Return indices `(B,)` of batches for `re_estimate`, which are spread evenly over a split.

    Every batch has images of the whole split: the images of a folder are ordered by class, and a batch of one class has
    a smaller variance. Batches differ by at most one image, because all of them have the same weight.

    Args:
        images: Number of images of the split.
        most: Largest number of images in all batches.
        size: Number of images of a batch; batches may be larger, so that none has a single image.

    >>> spread_batches(images=12, most=6, size=3)
    (tensor([0, 4, 8]), tensor([ 2,  6, 10]))
    """
    count = min(most, images)
    chosen, batches = torch.arange(count) * images // count, max(1, count // size)
    return tuple(chosen[first::batches] for first in range(batches))


@contextmanager
def _estimating(model: nn.Module) -> Iterator[None]:
    """Let the batch normalizations of a model take the mean over batches, while everything else is in its eval mode."""
    modes = [(module, module.training) for module in model.modules()]
    norms = [(module, module.momentum) for module in model.modules() if isinstance(module, _BatchNorm)]
    model.eval()
    try:
        for norm, _ in norms:
            norm.reset_running_stats()
            # torch takes the unweighted mean over all batches if the momentum is None.
            norm.momentum = None
            norm.train()
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
        for module, training in modes:
            module.training = training


@torch.no_grad()
def gate_means(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the mean value of every channel of each gate of a model, by the name of the layer.

    Args:
        model: Model in evaluation mode.
        batches: Normalized images `(N, C, H, W)`.

    Returns:
        Tensors of shape `(C,)` under names such as "stages.0.1", as `nas.weights.inheritance.inherit` takes them.
    """
    sums: dict[str, Tensor] = {}
    images_seen = 0

    def hook(layer: str) -> "torch.utils.hooks.RemovableHandle":
        def add(_module: nn.Module, _inputs: object, factors: Tensor) -> None:
            sums[layer] = sums.get(layer, 0.0) + factors.sum((0, 2, 3))

        return model.get_submodule(f"{layer}.se_gate").register_forward_hook(add)

    names = [name.removesuffix(".se_gate") for name, _ in model.named_modules() if name.endswith(".se_gate")]
    hooks = [hook(name) for name in names]
    try:
        for images in batches:
            model(images)
            images_seen += len(images)
    finally:
        for one in hooks:
            one.remove()
    return {name: total / images_seen for name, total in sums.items()}
