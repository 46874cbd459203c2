"""The modules of single nodes. Tensors are `(N, C, H, W)`; sizes are read off the tensor, so any resolution works."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.arch.layers import same_padding
from nas.arch.spec import Norm


class Conv(nn.Conv2d):
    """A convolution to sides of ceil(side / stride), drawn from N(0, sqrt(2 / fan_out)).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: side of the kernel, odd.
        stride: of both sides.
        groups: `in_channels` makes it depthwise.
        bias: starts at 0.
        same: TensorFlow's padding, where an odd pixel goes right and below; otherwise (kernel-1)/2 on every side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        same: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        # With stride 1 and an odd kernel both paddings are the same, whatever the size.
        self.same = same and stride > 1

    def reset_parameters(self) -> None:
        """Fan out is kernel area times output channels over groups (arXiv 1502.01852, as in EfficientNet's ports)."""
        fan_out = self.kernel_size[0] * self.kernel_size[1] * self.out_channels / self.groups
        nn.init.normal_(self.weight, 0.0, math.sqrt(2.0 / fan_out))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """`(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`."""
        largest, whole = max(input.shape[2:]), torch.compiler.is_exporting()
        if largest == 1 and not whole:
            return self._on_one_pixel(input)
        if self.same:
            return self._padded(input)
        reach = self.kernel_size[0] // 2
        return self._within(input, reach if whole else min(reach, largest - 1))

    def _padded(self, values: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        below, right = (same_padding(side, kernel, stride) for side in values.shape[2:])
        padded = functional.pad(values, (right // 2, right - right // 2, below // 2, below - below // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)

    # Small images end in maps smaller than the kernel, where most weights meet nothing but padding; on a CPU those
    # would take half of a training step. What is left out below is multiplied by zeros, so the results are the same;
    # an exported graph has the convolution as it is.

    def _within(self, values: Tensor, reach: int) -> Tensor:
        """The convolution with the weights at most `reach` from the middle."""
        middle = self.kernel_size[0] // 2
        near = slice(middle - reach, middle + reach + 1)
        weight = self.weight if reach == middle else self.weight[:, :, near, near]
        return functional.conv2d(values, weight, self.bias, self.stride, reach, groups=self.groups)

    def _on_one_pixel(self, values: Tensor) -> Tensor:
        if self.groups == 1:
            middle = self.weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2]
            return functional.linear(values.flatten(1), middle, self.bias)[:, :, None, None]
        return self._within(values, 0)


class ConvNorm(nn.Module):
    """A convolution and its batch normalisation."""

    def __init__(self, conv: Conv, norm: Norm) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, eps=norm.eps, momentum=norm.momentum)

    def forward(self, values: Tensor) -> Tensor:
        """As the convolution."""
        normed: Tensor = self.norm(self.conv(values))
        return normed


class Classifier(nn.Linear):
    """`(N, C, 1, 1)` or `(N, C)` to `(N, classes)`; weights start uniform within 1 / sqrt(classes), biases at 0.

    A head's matrix before its last one is such a classifier too, of features.
    """

    def reset_parameters(self) -> None:
        """As in EfficientNet's code."""
        bound = 1.0 / math.sqrt(self.out_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Logits."""
        return super().forward(input.flatten(1))


class Mean(nn.Module):
    """Global average pooling to `(N, C, 1, 1)`."""

    def forward(self, values: Tensor) -> Tensor:
        """One number a channel."""
        return values.mean((2, 3), keepdim=True)


class Scale(nn.Module):
    """Each channel times its factor."""

    def forward(self, values: Tensor, factors: Tensor) -> Tensor:
        """`(N, C, H, W)` times `(N, C, 1, 1)`."""
        return values * factors


class Resize(nn.Module):
    """Channels cut, or filled up with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, values: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, channels, H, W)`."""
        missing = self.channels - values.shape[1]
        return values[:, : self.channels] if missing <= 0 else functional.pad(values, (0, 0, 0, 0, 0, missing))


class Add(nn.Module):
    """A branch added to its skip; in training a share `rate` of the images goes without it (arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor, skip: Tensor) -> Tensor:
        """The branches that are kept are scaled by 1 / (1 - rate), which keeps the expectation."""
        if not self.training or not self.rate:
            return branch + skip
        keep = 1.0 - self.rate
        kept = torch.empty(len(branch), 1, 1, 1, dtype=branch.dtype, device=branch.device).bernoulli_(keep)
        return torch.addcmul(skip, branch, kept, value=1.0 / keep)


# Each takes `inplace`. A gate's factors are made by the same table.
ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "silu": nn.SiLU,
        "hard_swish": nn.Hardswish,
        "hard_sigmoid": nn.Hardsigmoid,
        "sigmoid": nn.Sigmoid,
    }
)
# Those whose gradient is read off the result; torch copies the input of the others, so in place saves nothing there.
IN_PLACE = frozenset({"relu", "relu6"})


def activation(name: str) -> nn.Module:
    """The activation of that name; the safe ones write over their input."""
    return ACTIVATIONS[name](inplace=True) if name in IN_PLACE else ACTIVATIONS[name]()
