"""The modules of single nodes.

Tensors have the shape `(N, C, H, W)`. The modules read sizes from the tensors, so they work at any resolution.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.arch.layers import same_padding
from nas.arch.spec import Norm


class Conv(nn.Conv2d):
    """Apply a padded convolution, whose output has sides of ceil(side / stride).

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        kernel: Height and width of the kernel, an odd number.
        stride: Stride of both dimensions.
        groups: Number of groups; `in_channels` groups make a depthwise convolution.
        bias: Whether there is a bias.
        same: Whether to pad as TensorFlow does, where an odd number of pixels puts the additional one on the right and
            below. Otherwise the padding is (kernel - 1) / 2 pixels on every side.

    >>> Conv(3, 8, kernel=3, stride=2)(torch.zeros(1, 3, 75, 75)).shape
    torch.Size([1, 8, 38, 38])
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
        # With stride 1 and an odd kernel, both paddings are equal for every size.
        self.same = same and stride > 1

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, sqrt(2 / fan_out)) and set the biases to 0 (He et al., arXiv 1502.01852).

        fan_out is the area of the kernel times the output channels divided by the groups, as in the torch
        implementations of EfficientNet.
        """
        fan_out = self.kernel_size[0] * self.kernel_size[1] * self.out_channels / self.groups
        nn.init.normal_(self.weight, 0.0, math.sqrt(2.0 / fan_out))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Convolve `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`."""
        largest_side, exporting = max(input.shape[2:]), torch.compiler.is_exporting()
        if largest_side == 1 and not exporting:
            return self._convolve_one_pixel(input)
        if self.same:
            return self._convolve_same(input)
        radius = self.kernel_size[0] // 2
        return self._convolve_center(input, radius if exporting else min(radius, largest_side - 1))

    def _convolve_same(self, values: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        below, right = (same_padding(side, kernel, stride) for side in values.shape[2:])
        padded = functional.pad(values, (right // 2, right - right // 2, below // 2, below - below // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)

    # With small images, the last feature maps are smaller than the kernel, so most weights are multiplied only by the
    # zeros of the padding. On a CPU these multiplications would take half of a training step. The two methods below
    # leave them out, which does not change the result. An exported graph contains the complete convolution.

    def _convolve_center(self, values: Tensor, radius: int) -> Tensor:
        """Convolve with only the weights at a distance of at most `radius` from the center of the kernel."""
        center = self.kernel_size[0] // 2
        kept = slice(center - radius, center + radius + 1)
        weight = self.weight if radius == center else self.weight[:, :, kept, kept]
        return functional.conv2d(values, weight, self.bias, self.stride, radius, groups=self.groups)

    def _convolve_one_pixel(self, values: Tensor) -> Tensor:
        if self.groups == 1:
            center = self.weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2]
            return functional.linear(values.flatten(1), center, self.bias)[:, :, None, None]
        return self._convolve_center(values, 0)


class ConvNorm(nn.Module):
    """Apply a convolution and batch normalization."""

    def __init__(self, conv: Conv, norm: Norm) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, eps=norm.eps, momentum=norm.momentum)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve and normalize `(N, in_channels, H, W)`; the output has the shape of the convolution's output."""
        normed: Tensor = self.norm(self.conv(values))
        return normed


class Classifier(nn.Linear):
    """Map `(N, C, 1, 1)` or `(N, C)` to `(N, classes)`.

    The linear layer before the classifier of `MlpHead` is also built as a `Classifier`.
    """

    def reset_parameters(self) -> None:
        """Draw the weights uniformly from -1 / sqrt(classes) to 1 / sqrt(classes), and set the biases to 0.

        This is the initialization of EfficientNet's code.
        """
        bound = 1.0 / math.sqrt(self.out_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Return the logits, of shape `(N, classes)`."""
        return super().forward(input.flatten(1))


class Mean(nn.Module):
    """Apply global average pooling."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the mean of each channel: `(N, C, H, W)` to `(N, C, 1, 1)`."""
        return values.mean((2, 3), keepdim=True)


class Scale(nn.Module):
    """Multiply each channel by the factor of a gate."""

    def forward(self, values: Tensor, factors: Tensor) -> Tensor:
        """Multiply `values` of shape `(N, C, H, W)` by `factors` of shape `(N, C, 1, 1)`."""
        return values * factors


class Resize(nn.Module):
    """Cut channels or add channels of zeros.

    Args:
        channels: Number of channels of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, values: Tensor) -> Tensor:
        """Resize `(N, C, H, W)` to `(N, channels, H, W)`."""
        missing = self.channels - values.shape[1]
        return values[:, : self.channels] if missing <= 0 else functional.pad(values, (0, 0, 0, 0, 0, missing))


class Add(nn.Module):
    """Add a branch to its skip, with stochastic depth in training (Huang et al., arXiv 1603.09382).

    Args:
        rate: Probability that an image is processed without the branch in training.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor, skip: Tensor) -> Tensor:
        """Return the sum of two tensors of shape `(N, C, H, W)`.

        In training, the branches that are not dropped are scaled by 1 / (1 - rate), which keeps the expected value.
        """
        if not self.training or not self.rate:
            return branch + skip
        keep = 1.0 - self.rate
        kept = torch.empty(len(branch), 1, 1, 1, dtype=branch.dtype, device=branch.device).bernoulli_(keep)
        return torch.addcmul(skip, branch, kept, value=1.0 / keep)


# The modules of activations and of the functions of gates, by name.
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
# The activations whose gradient can be computed from their output. For the others torch keeps a copy of the input, so
# working in place would save no memory.
IN_PLACE = frozenset({"relu", "relu6"})


def activation(name: str) -> nn.Module:
    """Return the module of an activation; it works in place if that saves memory.

    >>> activation("relu"), activation("silu")
    (ReLU(inplace=True), SiLU())
    """
    return ACTIVATIONS[name](inplace=True) if name in IN_PLACE else ACTIVATIONS[name]()
