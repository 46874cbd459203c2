"""The tensors of one node, made from those of the corresponding node."""

from math import prod

from attrs import frozen
from torch import Tensor
from torch.nn import functional


@frozen(eq=False)
class Channels:
    """Hold the channels that the weights of a node inherit.

    Attributes:
        rows: For each output channel the old output channel, or -1 for a new one.
        columns: For each input channel the old input channel, or -1 for a new one. A depthwise convolution has one.
    """

    rows: Tensor
    columns: Tensor


def transfer(old: Tensor, fresh: Tensor, channels: Channels) -> tuple[Tensor, int]:
    """Return a tensor of the shape of `fresh` that inherits the values of `old`, and how many values it inherits.

    A new output channel has the values of `fresh`. An old output channel has the weight 0 for a new input channel, so
    that it does not change; because the new channels are not 0 themselves, gradients reach these weights. Kernels are
    cropped to their center, or padded by zeros.

    Args:
        old: Tensor to inherit from: `(O, I, K, K)`, `(O, I)`, `(O,)` or `()`.
        fresh: Tensor with random weights, with the same number of dimensions.
        channels: Channels to inherit.

    >>> import torch
    >>> channels = Channels(torch.tensor([0, -1]), torch.tensor([1, 0, -1]))
    >>> transfer(torch.tensor([[1.0, 2.0]]), torch.full((2, 3), 9.0), channels)
    (tensor([[2., 1., 0.],
            [9., 9., 9.]]), 2)
    """
    if not old.ndim:
        return old.clone(), 1
    result = fresh.clone()
    rows, old_rows = _inherited(channels.rows)
    if old.ndim == 1:
        result[rows] = old[old_rows]
        return result, len(rows)
    columns, old_columns = _inherited(channels.columns)
    kernel = _center(old[old_rows][:, old_columns], fresh)
    block = fresh.new_zeros((len(rows), *fresh.shape[1:]))
    block[:, columns] = kernel
    result[rows] = block
    sides = zip(old.shape[2:], fresh.shape[2:], strict=True)
    return result, len(rows) * len(columns) * prod(min(side) for side in sides)


def _inherited(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the channels that are inherited, in the new and in the old tensor."""
    new = (channels >= 0).nonzero().flatten()
    return new, channels[new]


def _center(weight: Tensor, like: Tensor) -> Tensor:
    """Return a weight with the kernel size of another one; both sides are odd."""
    if weight.ndim == 2:
        return weight
    # A negative padding crops.
    return functional.pad(weight, [(like.shape[2] - weight.shape[2]) // 2] * 4)


def spread_image_channels(weight: Tensor, channels: int) -> Tensor:
    """Return the weight of the first convolution for images with another number of channels.

    The response to a gray image, whose channels are equal, does not change.

    Args:
        weight: Weight `(O, I, K, K)`.
        channels: New number of channels of the image.
    """
    return (weight.sum(1, keepdim=True) / channels).expand(-1, channels, -1, -1)
